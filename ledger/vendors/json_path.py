"""Access to values in a document that no model has validated. Missing values and values of other types are None."""

from typing import Any

from ledger.vendors.fields import as_id


def value_at(document: Any, path: str) -> Any:
    """Return the value at a dotted path such as "order_item.id", None if the path does not exist."""
    if "." not in path:
        return document.get(path) if isinstance(document, dict) else None
    for name in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def id_at(document: Any, path: str) -> str | None:
    """Return the id at a dotted path, None if there is no value or no valid id."""
    try:
        return as_id(value_at(document, path))
    except ValueError:
        return None
