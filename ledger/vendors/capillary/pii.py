"""What is personal in Capillary's payloads, and of whom.

A customer's id stays: it is a pseudonym, and the folds need it. Everything else that names a person goes: how each
channel knows them, what brands write into fields of their own, and what staff type as a comment. A card's own number
(`data.cardNumber`) stays, for it is the key of the card; a card named as an identifier of a customer goes.
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
STATUS_FIELDS = frozenset({"status"})  # of updatedFields: what became of a request


def person(_key: str, structure: Mapping[str, Any]) -> str | None:
    """A structure is about the customer it names, itself or by its identifiers."""
    return id_at(structure, "customerId") or id_at(structure, "customerIdentifiers.customerId")


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
    is_exempt=lambda structure: str(structure.get("fieldName")) in STATUS_FIELDS,  # whatever stands there
)
