"""Repair of keys that copying damaged: blanks inside names that the vendor's models know (domain §1.2).

For example, `"total PointsIssued"` is read as `"totalPointsIssued"`. Keys inside free maps are never changed, because
each brand invents its own. Stored bytes are never changed.
"""

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from ledger.vendors.fields import VendorModel, squeeze

FREE_MAPS = frozenset({"customFields", "metadata", "extendedFields", "traceAttributes"})


class RepairRules(NamedTuple):
    """The kinds of damage that occur in a vendor's documents. See ledger/vendors/repair_report.py.

    - `known_keys`: field names. A blank in one of them is damage.
    - `event_aliases`: other names of events, in lower case, and the kind of each.
    - `known_words`: enumeration values in capitals. A blank in one of them is damage. In other texts a blank may be
      intended.
    - `other_models`: models that no kind refers to, such as envelopes.
    """

    known_keys: frozenset[str] = frozenset()
    event_aliases: Mapping[str, str] = {}
    known_words: frozenset[str] = frozenset()
    other_models: tuple[type[VendorModel], ...] = ()


NO_REPAIRS = RepairRules()  # for a vendor whose documents were never copied by hand


def repair_keys(value: Any, known_keys: frozenset[str]) -> Any:
    """Return the document without blanks in known keys. If nothing was damaged, return the same object.

    If a damaged and an undamaged spelling of a key are both present, the undamaged one is kept.
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
    """Return the names of all fields of these models and of the models inside them."""
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
