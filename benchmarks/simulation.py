"""What the vendors know while a history is made up: the time, who holds what, and what happened lately."""

from array import array
from dataclasses import dataclass
from datetime import UTC, date, datetime
from heapq import heappush
from random import Random
from typing import NamedTuple

BEGINNING = date(2024, 1, 1)
BEGINNING_MS = 1_704_067_200_000
DAY_MS = 86_400_000
REMEMBERED = 4_096  # issues, and redemptions, that something may still happen to
CUSTOMER_ID_FIRST = 10_000_000


@dataclass(frozen=True, slots=True)
class Mix:
    """What a history is made of; shares are of all deliveries."""

    seed: int = 1
    customers: int = 20_000
    skew: float = 2.0  # 1 is even; at 2, one in a hundred customers has a tenth of the deliveries
    step_ms: int = 4_000  # between two deliveries, on average
    late: float = 0.02  # held back, by up to `late_by` deliveries
    late_by: int = 2_000
    duplicates: float = 0.01
    conflicts: float = 0.0002  # told again with other content


class Sent(NamedTuple):
    """One delivery: the body that a source sent."""

    source: str
    body: bytes


class World:
    """What the vendors know: time, balances in thousandths of a point, and what happened lately."""

    def __init__(self, mix: Mix) -> None:
        self.random = Random(mix.seed).random
        self.seed, self.customers, self.skew = mix.seed, mix.customers, mix.skew
        self.n = 0  # of the delivery
        self.now_ms = BEGINNING_MS
        self.balances = array("q", bytes(8 * mix.customers))
        self.lifetimes = array("q", bytes(8 * mix.customers))
        self.issues: list[tuple[int, int, int]] = []  # (bill, customer, points)
        self.redemptions: list[tuple[int, int, int]] = []
        self.held: list[tuple[int, int, Sent]] = []  # a heap of (when due, order, delivery)

    def customer(self) -> int:
        """Draw a customer, some far more often than others."""
        return int(self.customers * self.random() ** self.skew)

    def fields(self, customer: int) -> dict[str, object]:
        """Give what every delivery says."""
        return {"n": f"{self.seed}{self.n:09d}", "customer": CUSTOMER_ID_FIRST + customer, "at": self.now_ms}

    def earn(self, customer: int, points: int) -> None:
        self.balances[customer] += points
        self.lifetimes[customer] += points

    def claims(self, customer: int) -> dict[str, object]:
        """Give what the vendor says the customer holds now."""
        return {"available": self.balances[customer] / 1000, "lifetime": self.lifetimes[customer] / 1000}

    def day(self, days: int) -> str:
        """Name the day that many days from now."""
        return date.fromordinal(BEGINNING.toordinal() + (self.now_ms - BEGINNING_MS) // DAY_MS + days).isoformat()

    def iso(self) -> str:
        return datetime.fromtimestamp(self.now_ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"

    def remember(self, lately: list[tuple[int, int, int]], customer: int, points: int) -> None:
        if len(lately) < REMEMBERED:
            lately.append((self.n, customer, points))
        else:
            lately[self.n % REMEMBERED] = (self.n, customer, points)

    def recall(self, lately: list[tuple[int, int, int]]) -> tuple[int, int, int]:
        return lately[int(len(lately) * self.random())] if lately else (0, 0, 1_000)

    def hold(self, sent: Sent, within: int) -> None:
        """Let a delivery arrive some deliveries later."""
        heappush(self.held, (self.n + 1 + int(within * self.random()), len(self.held), sent))
