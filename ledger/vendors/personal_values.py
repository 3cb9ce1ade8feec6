"""Recognition of personal values by their form, under any key.

- E-mail address: local part, "@" or "%40", domain with a dot. Example: `ann@example.com`.
- Telephone number: "+" or "%2B" and 9 to 15 digits. Example: `+91 98765 43210`.
- IBAN: the length of its country and valid check digits. Example: `DE89 3704 0044 0532 0130 00`.
- Payment card number: prefix and length of a brand, and a valid check digit. Example: `4111 1111 1111 1111`.

The rules are strict, so ids and codes are not mistaken for personal values. For example, `98765432100` has no country
code and is kept. All patterns are bounded: the time is linear in the length of the text.
"""

import re

from ledger.errors import RequestInvalid

MARKER_TEXT = "<personal>"  # replaces a removed value in a document
TEXT_CHARACTERS_MAX = 320  # of a whole e-mail address

_DOMAIN = re.compile(r"(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_BEFORE_AT = re.compile(r"[\w.+'~%-]\Z")
_AT = re.compile(r"@|%40")
_PHONE = re.compile(r"(?<![\w.])(?:\+|%2[Bb])[1-9](?:[ ().\-\u00a0]{0,2}[0-9]){8,14}(?![0-9])")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_CARD = re.compile(r"[0-9](?:[ -]?[0-9]){12,18}(?![\w-])")
_IBAN_COUNTRIES = {
    15: "NO", 16: "BE", 18: "DK FI FO GL NL", 19: "MK SI", 20: "AT BA EE KZ LT LU XK", 21: "CH CR HR LI LV",
    22: "BG BH DE GB GE IE ME RS", 23: "AE GI IL IQ TL", 24: "AD CZ ES MD PK RO SA SE SK TN VA VG", 25: "PT ST",
    26: "IS TR", 27: "FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU",
    31: "MT SC", 32: "LC",
}  # fmt: skip
IBAN_LENGTHS = {country: length for length, countries in _IBAN_COUNTRIES.items() for country in countries.split()}
_CARD_BRANDS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|(?:6011|64[4-9]\d|65\d\d|35(?:2[89]|[3-8]\d))\d{12}|62\d{14,17}"
)
CHARACTERS_MIN = 6  # of an e-mail address or a telephone number
CARD_DIGITS_MIN = 13
IBAN_DIGITS_MIN = 7  # of an IBAN with many letters
# One character for each class, without the separators of groups. A search for some of one class takes next to no time.
_SEPARATORS = b" -"
_CLASSES = bytes(
    b"0"[0] if 0x30 <= byte <= 0x39 else b"A"[0] if 0x41 <= byte <= 0x5A else b"."[0] for byte in range(256)
)
_IBAN_START = b"AA00"
_IBAN_CLASSES = re.compile(rb"AA00[A0]{8}")
_CARD_START = b"0" * CARD_DIGITS_MIN
_RUN = re.compile(rb"0++")
_CARD_BRAND_BYTES = re.compile(_CARD_BRANDS.pattern.encode())
_ENCODED_SIGN = re.compile(rb"%(?:40|2[Bb])")
_HIDING_ESCAPE = re.compile(rb"\\u00(?:2[05bBdD]|3[0-9]|4[0-9a-fA-F]|5[0-9aA]|62)")
_PHONE_START = re.compile(rb"\+[1-9]")


def is_personal_value(text: str) -> bool:
    """Return True if a text contains an e-mail address, a telephone number, an IBAN or a payment card number."""
    if len(text) < CHARACTERS_MIN:
        return False
    if ("@" in text or "%" in text) and _contains_email(text):
        return True
    if ("+" in text or "%" in text) and _PHONE.search(text) is not None:
        return True
    if len(text) < CARD_DIGITS_MIN:
        return False
    classes = text.encode("ascii", "replace").translate(_CLASSES, _SEPARATORS)
    if _IBAN_START in classes and classes.count(b"0") >= IBAN_DIGITS_MIN and _contains_iban(text):
        return True
    return _CARD_START in classes and _contains_card_number(text)


def may_hold_personal_value(json_text: bytes) -> bool:
    """Return True if a string of a JSON text may be personal by its form. False is exact; True is only a suspicion.

    An escape of a digit, a capital, a sign, a separator or the b of %2b is suspicious, because it may be a part of the
    value. Other escapes can only stand beside a value.
    """
    if b"@" in json_text:
        return True
    if b"%" in json_text and _ENCODED_SIGN.search(json_text) is not None:
        return True
    if b"+" in json_text and _PHONE_START.search(json_text) is not None:
        return True
    has_escapes = b"\\" in json_text
    if has_escapes and _HIDING_ESCAPE.search(json_text) is not None:
        return True
    classes = json_text.translate(_CLASSES, _SEPARATORS)
    if (
        _IBAN_START in classes
        and _IBAN_CLASSES.search(classes) is not None
        and (has_escapes or _contains_iban(json_text.decode()))  # the letter of an escape may precede the number
    ):
        return True
    return _CARD_START in classes and _may_hold_card_number(json_text.translate(None, _SEPARATORS), classes)


def _may_hold_card_number(text: bytes, classes: bytes) -> bool:
    """Return True if a run of digits contains a number of a card's brand and length.

    `text` is without separators. `classes` has the same offsets.
    """
    start = classes.find(_CARD_START)
    while start >= 0:
        end = _RUN.match(classes, start).end()  # type: ignore[union-attr]  # it matches at least _CARD_START
        if _CARD_BRAND_BYTES.search(text, start, end):
            return True
        start = classes.find(_CARD_START, end)
    return False


def refuse_personal_value(name: str, text: str) -> str:
    """Return a text that will be stored in the clear. Raises RequestInvalid if it contains a personal value."""
    if is_personal_value(text):
        raise RequestInvalid(f"`{name}` must not hold personal data, because it is stored in the clear")
    return text


def identifier_kind_of_value(text: str) -> str | None:
    """Return "email" or "mobile" if the whole text is an e-mail address or a telephone number, else None."""
    if text.isalnum():
        return None
    text = text.strip()
    if len(text) > TEXT_CHARACTERS_MAX:
        return None
    if _PHONE.fullmatch(text):
        return "mobile"
    local, at, domain = text.partition("@")
    is_email = at and local and not local.split()[1:] and _BEFORE_AT.search(local) and _DOMAIN.fullmatch(domain)
    return "email" if is_email else None


def normalize_identifier(kind: str, value: str) -> str:
    """Return an identifier's form for look-ups: an e-mail address in lower case, a telephone number as digits."""
    if kind == "mobile":
        if value.isdecimal():
            return value
        return "".join(letter for letter in value if letter.isdigit())
    return value.strip().lower()


def _contains_email(text: str) -> bool:
    return any(
        _BEFORE_AT.match(text, at.start() - 1, at.start()) and _DOMAIN.match(text, at.end())
        for at in _AT.finditer(text)
        if at.start()
    )


def _contains_iban(text: str) -> bool:
    return any(
        _is_iban(found[0].replace(" ", ""))
        for found in _IBAN.finditer(text)
        if not found.start() or not text[found.start() - 1].isalnum()
    )


def _is_iban(text: str) -> bool:
    if IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    return int("".join(str(int(letter, 36)) for letter in text[4:] + text[:4])) % 97 == 1


def _contains_card_number(text: str) -> bool:
    return any(
        _is_card_number(found[0].replace(" ", "").replace("-", ""))
        for found in _CARD.finditer(text)
        if not found.start() or not (text[found.start() - 1].isalnum() or text[found.start() - 1] in "_.+-")
    )


def _is_card_number(digits: str) -> bool:
    if not _CARD_BRANDS.fullmatch(digits):
        return False
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0
