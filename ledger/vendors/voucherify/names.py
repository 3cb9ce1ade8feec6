"""How Voucherify spells the names of its events, and which of them are one.

Its documents, its OpenAPI files and its dashboard spell one name in several ways: EVENTS.REDEMPTION.SUCCEEDED,
redemption.succeeded, "Redemption succeeded". So names are compared by their letters alone. Names that differ otherwise
stand in ALIASES, each as some page of the vendor has it.
"""

from collections.abc import Iterable
from functools import cache

from ledger.vendors.fields import squeeze

NAME_CHARACTERS_MAX = 200
PREFIX = "events"

# Spelt wrongly in a list of a member's activities and in the enumerations of the OpenAPI files.
MISSPELLINGS = {"succceeded": "succeeded", "pointsaded": "pointsadded", "balanceaded": "balanceadded"}
VARIANTS = {"cancelled": "canceled"}

_CARD = ("transaction created", "points added", "points expired")
_PENDING = ("activated", "added", "canceled", "updated")

ALIASES: dict[str, str] = {
    # without the voucher that the card is
    **{f"loyalty card {name}": f"voucher loyalty card {name}" for name in _CARD},
    **{f"loyalty card pending points {name}": f"voucher loyalty card pending points {name}" for name in _PENDING},
    **{f"customer loyalty card {name}": f"customer voucher loyalty card {name}" for name in _CARD[1:]},
    **{
        f"customer loyalty card pending points {name}": f"customer voucher loyalty card pending points {name}"
        for name in _PENDING
    },
    # as distributions name them in the dashboard
    "voucher redeemed": "customer redemption succeeded",
    "voucher redemption rolled back": "customer redemption rollback succeeded",
    "loyalty points adjusted": "customer voucher loyalty card points added",
    "loyalty points expired": "customer voucher loyalty card points expired",
    "loyalty pending points adjusted": "customer voucher loyalty card pending points added",
    "loyalty pending points updated": "customer voucher loyalty card pending points updated",
    "loyalty pending points activated": "customer voucher loyalty card pending points activated",
    "loyalty pending points canceled": "customer voucher loyalty card pending points canceled",
    # with the voucher that is redeemed
    "voucher redemption succeeded": "redemption succeeded",
    "voucher redemption rollback succeeded": "redemption rollback succeeded",
    "customer voucher redeemed": "customer redemption succeeded",
    "customer voucher redemption succeeded": "customer redemption succeeded",
    "customer voucher redemption rollback succeeded": "customer redemption rollback succeeded",
    "redemption rollback": "redemption rollback succeeded",
    "redemption rolled back": "redemption rollback succeeded",
    "customer voucher published": "customer publication succeeded",
    # tiers, as the conditions of earning rules name them
    **{
        f"{prefix} {name}": f"customer loyalty tier {name}"
        for prefix in ("customer tier", "customer loyalty tier", "loyalty tier")
        for name in ("joined", "left", "prolonged", "upgraded", "downgraded")
    },
}


def canonical_name(name: str, known: Iterable[str]) -> str:
    """Return the name as the table of kinds has it; a name that is not there in lower case, without blanks."""
    letters = _letters(name)
    found = _table(tuple(known)).get(letters)
    return found or squeeze(name).lower().removeprefix(f"{PREFIX}.")


@cache
def _table(known: tuple[str, ...]) -> dict[str, str]:
    """Index the known names by their letters, with all spellings of ALIASES."""
    table = {_letters(name): name for name in known}
    return {**{_letters(alias): table[_letters(name)] for alias, name in ALIASES.items()}, **table}


def _letters(name: str) -> str:
    letters = "".join(filter(str.isalpha, name[:NAME_CHARACTERS_MAX].lower())).removeprefix(PREFIX)
    for wrong, right in (MISSPELLINGS | VARIANTS).items():
        letters = letters.replace(wrong, right)
    return letters
