"""Personal values in Capillary's payloads, and their persons.

- A customer's id is kept. It is a pseudonym, and the folds need it.
- Everything else that names a person is redacted: identifiers of channels, values of the brand's own fields, comments
  of staff.
- A card's number in `data.cardNumber` is kept, because it is the key of the card. As an identifier of a customer it is
  redacted.
"""

from collections.abc import Mapping
from typing import Any

from ledger.vendors.json_path import id_at
from ledger.vendors.personal_fields import ANYWHERE, COMMON_KEYS, PERSON_STRUCTURES, PersonalFields

CHANNELS = frozenset(
    (
        *("instore", "Instore", "INSTORE", "wechat", "web_engage", "webEngage", "line", "tmall", "jd", "martjack"),
        *("facebook", "website", "ecommerce", "taobao", "toabao", "mobile_app", "mobileApp", "instagram", "whatsapp"),
    )
)
FREE_STRUCTURES = frozenset(
    (
        *("customFields", "extendedFields", "currentCustomFields", "previousCustomFields", "currentExtendedFields"),
        *("previousExtendedFields", "updatedFields"),
    )
)
STATUS_FIELDS = frozenset({"status"})  # of updatedFields: the outcome of a request


def person(_key: str, structure: Mapping[str, Any]) -> str | None:
    """Return the customer that a structure names, directly or in its identifiers."""
    return id_at(structure, "customerId") or id_at(structure.get("customerIdentifiers"), "customerId")


PERSONAL = PersonalFields(
    keys={
        **COMMON_KEYS,
        **dict.fromkeys(("externalId", "external_id", "cardnumber", "cardNumber", "card_number"), CHANNELS),
        **dict.fromkeys(("cardNumbers", "cardexternalid", "cardExternalId", "cardExternalIds"), CHANNELS),
        **dict.fromkeys(("vendorId", "userId", "unionId", "openId"), CHANNELS),
        **dict.fromkeys(("identifierValue", "identifier_value", "accountId", "username"), ANYWHERE),
        **dict.fromkeys(("comments", "comment", "notes", "redemptionNotes", "customerName"), ANYWHERE),
        "name": PERSON_STRUCTURES,
    },
    person=person,
    person_keys=frozenset({"customerId", "customerIdentifiers"}),
    free_structures=FREE_STRUCTURES,
    is_exempt=lambda structure: str(structure.get("fieldName")) in STATUS_FIELDS,  # for any type of the value
)
