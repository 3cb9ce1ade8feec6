"""Recognition of personal values by the names of their keys, in any spelling.

A name is compared in lower case, by its letters and digits only. A number or plural at the end is ignored. Up to
PREFIXES_MAX words such as "home" or "customer" at the beginning are ignored, too. So all of these are e-mail addresses:
`emailId`, `E-Mail`, `customer.email`, `primaryEmail2`, `e<TAB>mail`.
"""

import re
import unicodedata
from functools import lru_cache

# White space and invisible characters: no-break spaces, soft hyphens, direction marks, zero-width characters, a BOM.
BLANKS = re.compile(
    r"[\s\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufeff\uffa0]+"
)
KEY_CHARACTERS_MAX = 200  # a longer key, blanks aside, is never recognised
NAMES_CACHED_MAX = 10_000

EMAILS = ("mail", "email", "emailid", "emailaddress", "mailid", "mailaddress", "contactemail")
PHONES = (
    *("mobile", "mobileno", "mobilenumber", "mobilephone", "phone", "phoneno", "phonenumber", "telephone", "tel"),
    *(
        "telephonenumber",
        "telephoneno",
        "cellphone",
        "cell",
        "cellnumber",
        "contactno",
        "contactnumber",
        "contactphone",
    ),
    *("msisdn", "whatsapp", "whatsappnumber", "landline"),
)
OTHERS = (
    *("firstname", "lastname", "middlename", "fullname", "surname", "givenname", "familyname", "maidenname", "fname"),
    *("lname", "mname", "nickname", "displayname", "username", "customername", "membername", "contactname"),
    *("holdername", "cardholdername", "accountholdername", "accountholder", "cardholder", "receivername"),
    *("recipientname", "consigneename", "payeename", "beneficiaryname", "guestname", "billto", "shipto"),
    *("deliverto", "birthdate", "birthday", "dateofbirth", "dob", "gender", "nationality", "address", "homeaddress"),
    *("addressline", "streetaddress", "postaladdress", "mailingaddress", "line1", "line2", "street", "streetname"),
    *("city", "town", "house", "houseno", "housenumber", "flatno", "flatnumber", "landmark", "postalcode", "postcode"),
    *("zip", "zipcode", "pincode", "passport", "passportnumber", "passportno", "nationalid", "aadhaar", "aadhar"),
    *("aadhaarnumber", "ssn", "taxid", "pan", "panno", "pannumber", "vpa", "upiid", "ip", "ipaddress", "ipaddr"),
    *("clientip", "remoteip", "deviceid", "iban", "accountnumber", "accountno", "bankaccount", "bankaccountnumber"),
    *("membershipnumber", "membershipno"),
)
KINDS = {**dict.fromkeys(OTHERS, ""), **dict.fromkeys(EMAILS, "email"), **dict.fromkeys(PHONES, "mobile")}
PREFIXES = (
    *(
        "primary",
        "secondary",
        "alternate",
        "alternative",
        "preferred",
        "registered",
        "verified",
        "home",
        "work",
        "office",
    ),
    *("business", "personal", "private", "customer", "member", "user", "contact", "billing", "shipping", "delivery"),
    *("receiver", "recipient", "sender", "buyer", "guest", "holder", "cardholder", "old", "new", "current", "previous"),
)
PREFIXES_MAX = 2
_PREFIX = re.compile(f"(?:{'|'.join(PREFIXES)})(?=.)")  # no prefix begins with another one
_SEPARATORS = re.compile("[^a-z0-9]+")
# Ends of names of identifying values. Such a value is replaced by a pseudonym. If it were removed, different events or
# customers would look the same.
ID_ENDINGS = (
    "id",
    "ids",
    "key",
    "keys",
    "ref",
    "refs",
    "reference",
    "code",
    "codes",
    "number",
    "token",
    "uuid",
    "guid",
)


def without_blanks(key: str) -> str:
    """Return a key without white space and invisible characters."""
    return key if key.isalnum() else BLANKS.sub("", key)


def identifier_kind_of_name(key: str) -> str | None:
    """Return the kind of identifier that a key names: "email" or "mobile".

    "" means another personal value. None means that the key names no personal value.
    """
    return None if len(key) > KEY_CHARACTERS_MAX else _kind_of(key)


def is_id_name(key: str) -> bool:
    """Return True if a key names an id, a code or a reference."""
    return _ends_as_id(key[-KEY_CHARACTERS_MAX:])


@lru_cache(NAMES_CACHED_MAX)
def _ends_as_id(key: str) -> bool:
    return _letters_and_digits(key).endswith(ID_ENDINGS)


@lru_cache(NAMES_CACHED_MAX)
def _kind_of(key: str) -> str | None:
    name = _letters_and_digits(key)
    for _ in range(PREFIXES_MAX + 1):
        for form in (name, name.rstrip("0123456789"), *_singular_forms(name.rstrip("0123456789"))):
            if form in KINDS:
                return KINDS[form]
        prefix = _PREFIX.match(name)
        if prefix is None:
            return None
        name = name[prefix.end() :]
    return None


def _letters_and_digits(key: str) -> str:
    """Return a name in lower case, without separators and blanks. A name in ASCII costs a tenth of any other."""
    if key.isascii():
        name = key.lower()
        return name if name.isalnum() else _SEPARATORS.sub("", name)
    return "".join(letter for letter in unicodedata.normalize("NFKC", key).casefold() if letter.isalnum())


def _singular_forms(name: str) -> tuple[str, ...]:
    return (name.removesuffix("s"), name.removesuffix("es")) if name.endswith("s") else ()
