"""What is personal in a vendor's documents: the keys, where they must stand, and of whom a structure is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ANYWHERE: frozenset[str] = frozenset()
Structures = frozenset[
    str
]  # names of structures that a key must stand in, at any depth, to be personal; ANYWHERE: none


@dataclass(frozen=True, slots=True, eq=False)
class PersonalFields:
    """What is personal in a vendor's documents, and of whom."""

    keys: Mapping[str, Structures]
    # (the key it stands under, a structure) -> the vendor's id of whom it is about, None: of whom what is around it is.
    person: Callable[[str, Mapping[str, Any]], str | None]
    person_keys: frozenset[str]  # keys of which one at least stands in a structure for which `person` gives anybody
    free_structures: frozenset[str] = (
        frozenset()
    )  # structures that others fill in: every value in them is personal, its label not
    is_exempt: Callable[[Mapping[str, Any]], bool] = lambda _structure: (
        False
    )  # a structure whose values are not, for once
    person_is_ref: bool = False  # `person` gives refs, not ids of this source


LABELS = frozenset({"name", "fieldName", "key", "label", "type"})  # of values in a free structure
VALUES = frozenset({"value", "values", "fieldValue", "val"})  # what a label beside it names

# Obvious in any payload, whoever sends it and however it spells its names: word by word.
COMMON_NAMES = (
    *("email", "e mail", "email id", "email address", "customer email", "member email", "user email", "contact email"),
    *("mobile", "mobile no", "mobile number", "mobile phone", "customer mobile", "member mobile", "cell phone"),
    *("phone", "phone no", "phone number", "telephone", "telephone number", "msisdn", "whatsapp", "whatsapp number"),
    *("customer phone", "member phone", "contact number", "contact no", "contact phone", "cellphone"),
    *("first name", "last name", "middle name", "full name", "surname", "given name", "family name", "maiden name"),
    *("nick name", "display name", "customer name", "member name", "user full name", "contact name", "holder name"),
    *("cardholder name", "card holder name", "account holder name", "birthdate", "birthday", "birth date"),
    *("date of birth", "dob", "gender", "nationality", "address", "address1", "address2", "address3", "home address"),
    *("address line1", "address line2", "address line 1", "address line 2", "line_1", "line_2", "street"),
    *("postal address", "billing address", "shipping address", "street address", "postal code", "postcode", "zip"),
    *("zipcode", "zip code", "pin code", "passport", "passport number", "passport no", "national id", "aadhaar"),
    *("aadhaar number", "ssn", "tax id", "ip address", "client ip", "device id", "iban", "cardholder"),
    *("membership number", "membership no"),
)
# Whose names are people's, in any payload.
PERSON_STRUCTURES = frozenset(
    (
        *("customer", "member", "user", "holder", "contact", "recipient", "beneficiary", "cardholder", "guest"),
        *("enteredBy", "entered_by", "createdBy", "created_by", "updatedBy", "updated_by", "approvedBy", "approved_by"),
        *("customerDetails", "customer_details", "memberDetails", "member_details", "Customer", "Member", "User"),
    )
)


def spellings(words: str) -> set[str]:
    """Write a name in the ways that payloads do: mobileNo, MobileNo, mobile_no, mobile-no, mobileno, in capitals."""
    parts = words.split()
    camel = parts[0] + "".join(part.capitalize() for part in parts[1:])
    forms = {camel, "_".join(parts), "-".join(parts), "".join(parts)}
    return forms | {form[0].upper() + form[1:] for form in forms} | {form.upper() for form in forms}


COMMON_KEYS: dict[str, Structures] = {
    **dict.fromkeys((form for words in COMMON_NAMES for form in sorted(spellings(words))), ANYWHERE),
    "name": PERSON_STRUCTURES,
    "Name": PERSON_STRUCTURES,
}


def no_person(_key: str, _structure: Mapping[str, Any]) -> None:
    """Say that a structure is about nobody in particular."""


def has_impersonal_label(structure: Mapping[str, Any]) -> bool:
    """Say whether a labelled value is of something else than a person: {"key": "billId", "value": …}."""
    label = next((structure[name] for name in sorted(LABELS) if isinstance(structure.get(name), str)), None)
    return "value" in structure and label is not None and label not in COMMON_KEYS


# For a source or envelope that we do not know.
UNKNOWN_VENDOR = PersonalFields(
    {**COMMON_KEYS, "value": frozenset({"identifiers"})},
    no_person,
    person_keys=frozenset(),
    is_exempt=has_impersonal_label,
)
