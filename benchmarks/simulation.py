"""The state of the vendors while a history is generated: the time, balances and recent events."""

from array import array
from dataclasses import dataclass
from datetime import UTC, date, datetime
from heapq import heappush
from random import Random
from typing import NamedTuple

START_DAY = date(2024, 1, 1)
START_MS = 1_704_067_200_000
DAY_MS = 86_400_000
RECENT_MAX = 4_096  # recent issues, and recent redemptions, that later events can refer to
CUSTOMER_ID_FIRST = 10_000_000


@dataclass(frozen=True, slots=True)
class Mix:
    """The parameters of a history. Shares are of all deliveries."""

    seed: int = 1
    customers: int = 20_000
    skew: float = 2.0  # 1 is even; at 2, one in a hundred customers has a tenth of the deliveries
    step_ms: int = 4_000  # between two deliveries, on average
    late: float = 0.02  # delayed by up to `late_by` deliveries
    late_by: int = 2_000
    duplicates: float = 0.01
    conflicts: float = 0.0002  # sent again with different contents


class SentDelivery(NamedTuple):
    """The body of one delivery, and its source."""

    source: str
    body: bytes


class VendorSimulation:
    """The simulated vendors: time, balances in thousandths of a point, and recent events."""

    def __init__(self, mix: Mix) -> None:
        self.random = Random(mix.seed).random
        self.seed, self.customers, self.skew = mix.seed, mix.customers, mix.skew
        self.n = 0  # number of the delivery
        self.now_ms = START_MS
        self.balances = array("q", bytes(8 * mix.customers))
        self.lifetimes = array("q", bytes(8 * mix.customers))
        self.issues: list[tuple[int, int, int]] = []  # (bill, customer, points)
        self.redemptions: list[tuple[int, int, int]] = []
        self.delayed: list[tuple[int, int, SentDelivery]] = []  # a heap of (due, order, delivery)

    def customer(self) -> int:
        """Draw a customer. Some are drawn far more often than others."""
        return int(self.customers * self.random() ** self.skew)

    def fields(self, customer: int) -> dict[str, object]:
        """Return the fields of every delivery."""
        return {"n": f"{self.seed}{self.n:09d}", "customer": CUSTOMER_ID_FIRST + customer, "at": self.now_ms}

    def earn(self, customer: int, points: int) -> None:
        self.balances[customer] += points
        self.lifetimes[customer] += points

    def claimed_balances(self, customer: int) -> dict[str, object]:
        """Return the customer's balances as the vendor claims them now."""
        return {"available": self.balances[customer] / 1000, "lifetime": self.lifetimes[customer] / 1000}

    def day(self, days: int) -> str:
        """Return the day `days` days from now, in ISO 8601."""
        return date.fromordinal(START_DAY.toordinal() + (self.now_ms - START_MS) // DAY_MS + days).isoformat()

    def iso(self) -> str:
        return datetime.fromtimestamp(self.now_ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"

    def add_recent(self, lately: list[tuple[int, int, int]], customer: int, points: int) -> None:
        if len(lately) < RECENT_MAX:
            lately.append((self.n, customer, points))
        else:
            lately[self.n % RECENT_MAX] = (self.n, customer, points)

    def draw_recent(self, lately: list[tuple[int, int, int]]) -> tuple[int, int, int]:
        return lately[int(len(lately) * self.random())] if lately else (0, 0, 1_000)

    def delay(self, sent: SentDelivery, within: int) -> None:
        """Let a delivery arrive up to `within` deliveries later."""
        heappush(self.delayed, (self.n + 1 + int(within * self.random()), len(self.delayed), sent))
