"""What is personal in Voucherify's payloads: what stands in a customer, wherever one is repeated, but for their id.

The merchant's own key of a customer (`source_id`, `tracking_id`) goes too: merchants put e-mail addresses there.
"""

from collections.abc import Mapping
from typing import Any

from ledger.vendors.json_path import id_at
from ledger.vendors.personal_fields import ANYWHERE, COMMON_KEYS, PersonalFields

CUSTOMERS = frozenset({"customer", "holder"})


def person(key: str, structure: Mapping[str, Any]) -> str | None:
    """A customer is about itself; anything else about the customer or holder in it."""
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
