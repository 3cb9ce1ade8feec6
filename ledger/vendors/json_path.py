"""Reach into a document before it is judged: whatever is missing or of another type counts as none."""

from typing import Any

from ledger.vendors.fields import as_id


def value_at(document: Any, path: str) -> Any:
    """Find what stands at a dotted path ("order_item.id"), None where the path breaks off."""
    for name in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def id_at(document: Any, path: str) -> str | None:
    """Find the id at a dotted path, None where there is none or something that is no id."""
    try:
        return as_id(value_at(document, path))
    except ValueError:
        return None
