"""Personal values in a vendor's documents: their keys, their structures, and the persons that they belong to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ANYWHERE: frozenset[str] = frozenset()
Structures = frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class PersonalFields:
    """The keys of personal values in a vendor's documents, and the person that a structure is about.

    - `keys`: each key with the structures in which it is personal, at any depth. ANYWHERE: in every structure.
    - `person(key, structure)`: return the id of the person that the structure is about. `key` is the key of the
      structure. None: the person of the surrounding structure.
    - `person_keys`: a structure without any of these keys names no person, so `person` is not called.
    - `free_structures`: structures whose fields the brand invents. All values in them are personal, except labels.
    - `is_exempt(structure)`: return True if the values of this structure are not personal.
    - `person_is_ref`: `person` returns refs instead of ids.
    """

    keys: Mapping[str, Structures]
    person: Callable[[str, Mapping[str, Any]], str | None]
    person_keys: frozenset[str]
    free_structures: frozenset[str] = frozenset()
    is_exempt: Callable[[Mapping[str, Any]], bool] = lambda _structure: False
    person_is_ref: bool = False


LABELS = frozenset({"name", "fieldName", "key", "label", "type"})  # keys of labels
VALUES = frozenset({"value", "values", "fieldValue", "val"})  # keys of labelled values

# Names of personal values in any payload, as separate words. `spellings` derives the keys.
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
# Structures that hold a person's name under "name", in any payload.
PERSON_STRUCTURES = frozenset(
    (
        *("customer", "member", "user", "holder", "contact", "recipient", "beneficiary", "cardholder", "guest"),
        *("enteredBy", "entered_by", "createdBy", "created_by", "updatedBy", "updated_by", "approvedBy", "approved_by"),
        *("customerDetails", "customer_details", "memberDetails", "member_details", "Customer", "Member", "User"),
    )
)


def spellings(words: str) -> set[str]:
    """Return the spellings of a name in payloads: mobileNo, MobileNo, mobile_no, mobile-no, mobileno, in capitals."""
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
    """Return None: the structure is about no particular person."""


def has_impersonal_label(structure: Mapping[str, Any]) -> bool:
    """Return True if a labelled value is not personal, for example {"key": "billId", "value": …}."""
    label = next((structure[name] for name in sorted(LABELS) if isinstance(structure.get(name), str)), None)
    return "value" in structure and label is not None and label not in COMMON_KEYS


# For an unknown source or envelope.
UNKNOWN_VENDOR = PersonalFields(
    {**COMMON_KEYS, "value": frozenset({"identifiers"})},
    no_person,
    person_keys=frozenset(),
    is_exempt=has_impersonal_label,
)
