"""Spellings of the names of Voucherify's events.

The vendor's documents, OpenAPI files and dashboard spell a name in several ways: EVENTS.REDEMPTION.SUCCEEDED,
redemption.succeeded, "Redemption succeeded". So names are compared by their letters only. ALIASES lists other
differences; each is in some page of the vendor.
"""

from collections.abc import Iterable
from functools import cache, lru_cache

from ledger.vendors.fields import squeeze

NAME_CHARACTERS_MAX = 200
NAMES_CACHED_MAX = 1_000
PREFIX = "events"

# Misspellings in the list of a member's activities and in the enumerations of the OpenAPI files.
MISSPELLINGS = {"succceeded": "succeeded", "pointsaded": "pointsadded", "balanceaded": "balanceadded"}
VARIANTS = {"cancelled": "canceled"}

_CARD = ("transaction created", "points added", "points expired")
_PENDING = ("activated", "added", "canceled", "updated")

ALIASES: dict[str, str] = {
    # without the word "voucher"
    **{f"loyalty card {name}": f"voucher loyalty card {name}" for name in _CARD},
    **{f"loyalty card pending points {name}": f"voucher loyalty card pending points {name}" for name in _PENDING},
    **{f"customer loyalty card {name}": f"customer voucher loyalty card {name}" for name in _CARD[1:]},
    **{
        f"customer loyalty card pending points {name}": f"customer voucher loyalty card pending points {name}"
        for name in _PENDING
    },
    # names in the dashboard's distributions
    "voucher redeemed": "customer redemption succeeded",
    "voucher redemption rolled back": "customer redemption rollback succeeded",
    "loyalty points adjusted": "customer voucher loyalty card points added",
    "loyalty points expired": "customer voucher loyalty card points expired",
    "loyalty pending points adjusted": "customer voucher loyalty card pending points added",
    "loyalty pending points updated": "customer voucher loyalty card pending points updated",
    "loyalty pending points activated": "customer voucher loyalty card pending points activated",
    "loyalty pending points canceled": "customer voucher loyalty card pending points canceled",
    # with the word "voucher"
    "voucher redemption succeeded": "redemption succeeded",
    "voucher redemption rollback succeeded": "redemption rollback succeeded",
    "customer voucher redeemed": "customer redemption succeeded",
    "customer voucher redemption succeeded": "customer redemption succeeded",
    "customer voucher redemption rollback succeeded": "customer redemption rollback succeeded",
    "redemption rollback": "redemption rollback succeeded",
    "redemption rolled back": "redemption rollback succeeded",
    "customer voucher published": "customer publication succeeded",
    # names in the conditions of earning rules
    **{
        f"{prefix} {name}": f"customer loyalty tier {name}"
        for prefix in ("customer tier", "customer loyalty tier", "loyalty tier")
        for name in ("joined", "left", "prolonged", "upgraded", "downgraded")
    },
}


def canonical_name(name: str, known: Iterable[str]) -> str:
    """Return the name as the table of kinds spells it. An unknown name is returned in lower case without blanks."""
    letters = _letters(name[:NAME_CHARACTERS_MAX])
    found = _table(tuple(known)).get(letters)
    return found or squeeze(name).lower().removeprefix(f"{PREFIX}.")


@cache
def _table(known: tuple[str, ...]) -> dict[str, str]:
    """Return the known names by their letters, with all spellings of ALIASES."""
    table = {_letters(name): name for name in known}
    return {**{_letters(alias): table[_letters(name)] for alias, name in ALIASES.items()}, **table}


@lru_cache(NAMES_CACHED_MAX)
def _letters(name: str) -> str:
    letters = "".join(filter(str.isalpha, name.lower())).removeprefix(PREFIX)
    for wrong, right in (MISSPELLINGS | VARIANTS).items():
        letters = letters.replace(wrong, right)
    return letters
