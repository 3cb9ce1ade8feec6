"""Undo copying damage in keys: blanks inside names that the vendor's shapes know (domain §1.2).

Keys of free maps belong to whoever filled them in and stay as they are. The bytes in the ledger are never changed.
"""

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from ledger.vendors.fields import VendorModel, squeeze

FREE_MAPS = frozenset({"customFields", "metadata", "extendedFields", "traceAttributes"})


class RepairRules(NamedTuple):
    """How a vendor's documents may be spoilt: see ledger/vendors/repair_report.py."""

    known_keys: frozenset[str] = frozenset()  # names of keys in which blanks are damage
    event_aliases: Mapping[str, str] = {}  # what else an event is called, in lower case, and its kind
    known_words: frozenset[str] = frozenset()  # in capitals; in others, blanks may be meant
    other_models: tuple[
        type[VendorModel], ...
    ] = ()  # beside those of its kinds: envelopes, and what is read in two steps


NO_REPAIRS = RepairRules()  # a vendor whose documents nobody copied


def repair_keys(value: Any, known_keys: frozenset[str]) -> Any:
    """Give the document with blanks removed from known keys; the same object where nothing was damaged.

    Where the spoilt and the unspoilt key both stand, the unspoilt one wins.
    """
    if type(value) is dict:
        damaged = False
        repaired = {}
        for key, child in value.items():
            repaired_child = child
            if (type(child) is dict or type(child) is list) and key not in FREE_MAPS:
                repaired_child = repair_keys(child, known_keys)
                damaged = damaged or repaired_child is not child
            if " " in key and (name := squeeze(key)) in known_keys:
                damaged = True
                if name in value:
                    continue
                key = name
            repaired[key] = repaired_child
        return repaired if damaged else value
    if type(value) is list:
        items = [repair_keys(item, known_keys) for item in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    return value


def field_names(models: Iterable[type[VendorModel]]) -> set[str]:
    """Collect the names of all fields of these shapes, and of the shapes inside them."""
    names: set[str] = set()
    pending, seen = list(models), set[type[VendorModel]]()
    while pending:
        model = pending.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, field in model.model_fields.items():
            names.add(field.alias or name)
            pending += _models_in(field.annotation)
    return names


def _models_in(annotation: Any) -> list[type[VendorModel]]:
    if isinstance(annotation, type) and issubclass(annotation, VendorModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, list, tuple, dict, Annotated):
        return [model for part in get_args(annotation) for model in _models_in(part)]
    return []
