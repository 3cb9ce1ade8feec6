"""Members of the simulated programme: names, habits, and the faults of the deliveries about them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from service.demo.vendor_bodies import Person
from service.demo.wallet import SimulatedWallet

CUSTOMER_FIRST = 500_001
FIRST_NAMES = (
    "Ada", "Bela", "Carl", "Dora", "Emil", "Freja", "Gustav", "Hanna", "Ivar", "Johanna", "Kaisa", "Lars", "Maja",
    "Nils", "Oda", "Per", "Runa", "Sten", "Tuva", "Viggo",
)  # fmt: skip
LAST_NAMES = (
    "Almgren", "Bergqvist", "Dahl", "Ekholm", "Falk", "Granlund", "Hedin", "Isaksen", "Jansson", "Krogh", "Lindgren",
    "Moberg", "Nordin", "Oberg", "Palm", "Rosen", "Sandell", "Thorsen",
)  # fmt: skip

# Faults by the number of a member, and the day on which they happen.
FAULTS = {
    "credit lost": {3: 150, 17: 210, 42: 260, 88: 330},  # the delivery never arrives
    "debit lost": {9: 240},
    "expiry waived": {5: 0, 31: 0},  # the vendor keeps the points that lapse, and does not report it
    "conflict": {12: 180, 50: 300},  # one event is sent twice with different points
}
MERGES = {7: 200, 21: 290, 60: 345}  # the day on which the member after this one is merged into it
TRANSFERS = ((0, 2, 60), (2, 0, 90), (14, 6, 160), (6, 14, 220), (0, 26, 250), (33, 0, 310), (0, 33, 341))
HALF_TRANSFERS = frozenset((250, 341))  # the receiver's half of these never arrives


class Member(NamedTuple):
    """A member, the day on which they join, and the share of days on which they buy."""

    number: int
    person: Person
    joins: int
    activity: float
    wallet: SimulatedWallet


@dataclass(slots=True)
class MemberState:
    """The changing values of a member."""

    bills: int = 0
    tier: int = 1
    tier_ends: int = 0
    last_bill_day: int = 0
    coupon: int | None = None
    is_merged: bool = False


def make_members(count: int, draw: Callable[[], float]) -> list[Member]:
    """Return the members. The first one buys often."""
    return [_make_member(number, draw) for number in range(count)]


def _make_member(number: int, draw: Callable[[], float]) -> Member:
    if number == 0:
        return Member(0, FIRST_MEMBER, 0, 0.30, SimulatedWallet())
    joins = int(300 * draw() ** 2)
    return Member(number, _make_person(number), joins, 0.004 + 0.05 * draw() ** 3, SimulatedWallet())


def _make_person(number: int) -> Person:
    """Return the person of a number. No two have one address."""
    names = len(FIRST_NAMES) * len(LAST_NAMES)
    first = FIRST_NAMES[number % len(FIRST_NAMES)]
    last = LAST_NAMES[(5 * number + number // len(FIRST_NAMES)) % len(LAST_NAMES)]
    suffix = number // names or ""
    return Person(CUSTOMER_FIRST + number, first, last, f"{first}.{last}{suffix}@example.com".lower())


FIRST_MEMBER = _make_person(0)  # has a statement of several pages
