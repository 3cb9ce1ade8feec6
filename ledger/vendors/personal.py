"""What is personal in a vendor's documents: the keys, where they must stand, and of whom a structure is."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

ANYWHERE: frozenset[str] = frozenset()
Where = frozenset[str]  # names of structures that a key must stand in, at any depth, to be personal; ANYWHERE: none


class Personal(NamedTuple):
    """What is personal in a vendor's documents, and of whom."""

    keys: Mapping[str, Where]
    # (the key it stands under, a structure) -> the vendor's id of whom it is about, None: of whom what is around it is.
    person: Callable[[str, Mapping[str, Any]], str | None]
    free: frozenset[str] = frozenset()  # structures that others fill in: every value in them is personal, its label not
    spared: Callable[[Mapping[str, Any]], bool] = lambda _structure: False  # a structure whose values are not, for once
    by_ref: bool = False  # `person` gives refs, not ids of this source


LABELS = frozenset({"name", "fieldName", "key", "label", "type"})  # of values in a free structure

# Obvious in any payload, whoever sends it, and however it begins its names.
OBVIOUS = (
    *("email", "emailId", "email_id", "emailAddress", "email_address", "mobile", "mobileNumber", "mobile_number"),
    *("phone", "phoneNumber", "phone_number", "telephone", "msisdn", "firstName", "first_name", "firstname"),
    *("lastName", "last_name", "lastname", "middleName", "middle_name", "fullName", "full_name", "surname"),
    *("birthdate", "birthday", "birth_date", "dateOfBirth", "date_of_birth", "dob", "gender", "nationality"),
    *("address", "address1", "address2", "addressLine1", "addressLine2", "address_line_1", "address_line_2"),
    *("line_1", "line_2", "street", "postalCode", "postal_code", "postcode", "zip", "zipcode", "zip_code"),
    *("passport", "passportNumber", "passport_number", "nationalId", "national_id", "ssn", "taxId", "tax_id"),
    *("ipAddress", "ip_address", "client_ip", "clientIp", "deviceId", "device_id", "iban", "cardholder"),
    *("membershipNumber", "membership_number"),
)
GENERAL: dict[str, Where] = dict.fromkeys(
    (*OBVIOUS, *(name[0].upper() + name[1:] for name in OBVIOUS), *(name.upper() for name in OBVIOUS)), ANYWHERE
)


def nobody(_key: str, _structure: Mapping[str, Any]) -> None:
    """Say that a structure is about nobody in particular."""


UNKNOWN = Personal(GENERAL, nobody)  # for a source or envelope that we do not know
