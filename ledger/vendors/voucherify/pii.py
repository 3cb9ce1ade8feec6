"""Personal values in Voucherify's payloads: all fields of a customer except the id. A payload may repeat the customer
in several places.

The merchant's key of a customer (`source_id`, `tracking_id`) is redacted, too, because merchants put e-mail addresses
there.
"""

from collections.abc import Mapping
from typing import Any

from ledger.vendors.json_path import id_at
from ledger.vendors.personal_fields import ANYWHERE, COMMON_KEYS, PersonalFields

CUSTOMERS = frozenset({"customer", "holder"})


def person(key: str, structure: Mapping[str, Any]) -> str | None:
    """Return the customer that a structure is, or that it contains as customer or holder."""
    if key in CUSTOMERS or structure.get("object") == "customer":
        return id_at(structure, "id")
    return id_at(structure, "customer.id") or id_at(structure, "holder.id")


PERSONAL = PersonalFields(
    keys={
        **COMMON_KEYS,
        **dict.fromkeys(("name", "source_id", "description", "metadata", "avatar", "assets"), CUSTOMERS),
        "tracking_id": ANYWHERE,
    },
    person=person,
    person_keys=CUSTOMERS | {"id"},
)
