"""A vendor whose claims are true, told with one fault: what the reconciliation lists must not explain wrongly.

The vendor keeps the lots of two customers. Each operation changes its balance and gives one event, most of them with
the balance that it claims. Then one fault is planted: an event is withheld, told twice, told with another day or
amount, of another programme, and so on. What truly happened is known, so a named cause is either right or wrong.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

from tests.support import payloads as d

DAY = 86_400
OPERATIONS_MAX = 14
FAULTS = (
    "none",
    "missing",
    "doubled",
    "wrong expiry",
    "half transfer",
    "late claim",
    "wrong amount",
    "other programme",
    "untold merge",
    "adjustment of ours",
    "other content",
    "unread",
    "expiry in part",
)


@dataclass
class Lot:
    points: int
    day: date | None
    at: int
    bill: str


@dataclass
class Told:
    """One event: what it truly did to whom, and how it is told."""

    kind: str
    at: int
    customer: int
    change: int  # of the vendor's balance
    make: Callable[..., bytes]
    points: int
    claim: int | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def body(self, identifier: str, **changed: Any) -> bytes:
        claim = {} if self.claim is None else {"programCurrentPoints": self.claim}
        return self.make(identifier, **{"at": self.at, "points": self.points, **claim, **self.more, **changed})


@dataclass
class Story:
    """One history: its events as told, in order of arrival, and what is wrong with it."""

    number: int
    fault: str
    told: list[bytes]
    culprit: Told | None  # the event that is at fault
    shown: Told | None = None  # where the fault is in what is told beside it

    @property
    def customers(self) -> tuple[int, int]:
        return 2 * self.number + 1, 2 * self.number + 2


class Vendor:
    """Keeps lots, and writes down what it tells."""

    def __init__(self, random: Random, number: int) -> None:
        self.random = random
        self.customers = (2 * number + 1, 2 * number + 2)
        self.lots: dict[int, list[Lot]] = {customer: [] for customer in self.customers}
        self.spent: dict[int, list[tuple[str, list[tuple[Lot, int]], int]]] = {one: [] for one in self.customers}
        self.events: list[Told] = []
        self.now = 0
        self.names = 0

    def balance(self, customer: int) -> int:
        return sum(lot.points for lot in self.lots[customer])

    def name(self) -> str:
        self.names += 1
        return f"{self.customers[0]}x{self.names}"

    def wait(self, seconds: int) -> None:
        """Let time pass. The vendor lapses what is due in the night, before anything else, and reports it at one."""
        self.now += seconds
        today = datetime.fromtimestamp(d.START / 1000 + self.now, UTC).date()
        for customer in self.customers:
            due = [lot for lot in self.lots[customer] if lot.day is not None and lot.day < today and lot.points]
            for day in sorted({lot.day for lot in due if lot.day is not None}):
                points = sum(lot.points for lot in due if lot.day == day)
                midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
                at = int(midnight.timestamp()) - d.START // 1000 + 3_600
                if at >= self.now:
                    self.now = at + 60
                for lot in due:
                    lot.points = 0 if lot.day == day else lot.points
                self.tell(
                    "expired", customer, -points, lambda i, at, points, c=customer: d.expired(i, at, c, points), at
                )

    def tell(
        self, kind: str, customer: int, change: int, make: Callable[..., bytes], at: int | None = None, **more: Any
    ) -> None:
        claim = None
        if kind in ("issued", "redeemed") and (self.random.random() < 0.8 or not self.lots[customer]):
            claim = self.balance(customer)
        points = abs(change)
        self.events.append(
            Told(kind, self.now if at is None else at, customer, change, make, points, claim, dict(more))
        )

    def use(self, customer: int, points: int) -> list[tuple[Lot, int]]:
        used = []
        for lot in sorted(self.lots[customer], key=lambda lot: (lot.day or date.max, lot.at)):
            part = min(lot.points, points)
            if part:
                lot.points -= part
                points -= part
                used.append((lot, part))
        return used

    def issue(self, customer: int, *, claimed: bool = False) -> None:
        start = datetime.fromtimestamp(d.START / 1000 + self.now, UTC).date()
        day = self.random.choice((None, None, start + timedelta(days=self.random.randint(2, 12))))
        lot = Lot(self.random.randint(1, 400), day, self.now, self.name())
        self.lots[customer].append(lot)
        lapses = day.isoformat() if day else ""

        def make(identifier: str, at: int, points: int, lapses: str = lapses, **more: Any) -> bytes:
            return d.issued(identifier, at, customer, points, bill=lot.bill, lapses=lapses, **more)

        self.tell("issued", customer, lot.points, make)
        if claimed:
            self.events[-1].claim = self.balance(customer)

    def redeem(self, customer: int) -> None:
        available = self.balance(customer)
        if not available:
            return
        points, name = self.random.randint(1, available), self.name()
        self.spent[customer].append((name, self.use(customer, points), points))

        def make(identifier: str, at: int, points: int, redemption: str = name, **more: Any) -> bytes:
            return d.redeemed(identifier, at, customer, points, redemption, **more)

        self.tell("redeemed", customer, -points, make)

    def reverse(self, customer: int) -> None:
        today = datetime.fromtimestamp(d.START / 1000 + self.now, UTC).date()
        for name, used, points in self.spent[customer]:
            if all(lot.day is None or lot.day >= today for lot, _ in used):
                for lot, part in used:
                    lot.points += part
                self.spent[customer].remove((name, used, points))

                def make(identifier: str, at: int, points: int, redemption: str = name, **_: Any) -> bytes:
                    return d.redemption_reversed(identifier, at, customer, points, redemption)

                self.tell("reversed", customer, points, make)
                return

    def send(self, sender: int, receiver: int) -> None:
        available = self.balance(sender)
        if not available:
            return
        points, name = self.random.randint(1, available), f"T{self.name()}"
        self.use(sender, points)
        self.tell("sent", sender, -points, lambda i, at, points, **_: d.sent(i, at, sender, points, receiver, name))
        self.wait(60)
        self.lots[receiver].append(Lot(points, None, self.now, name))
        self.tell(
            "received", receiver, points, lambda i, at, points, **_: d.received(i, at, receiver, points, sender, name)
        )

    def live(self) -> None:
        for customer in self.customers:
            self.issue(customer, claimed=True)
            self.wait(60)
        for _ in range(self.random.randint(4, OPERATIONS_MAX)):
            self.wait(self.random.choice((60, 3_600, DAY, 3 * DAY)))
            customer = self.random.choice(self.customers)
            other = next(one for one in self.customers if one != customer)
            operations = (self.issue, self.issue, self.redeem, self.redeem, self.reverse)
            if self.random.random() < 0.15:
                self.send(customer, other)
            else:
                self.random.choice(operations)(customer)
        for customer in self.customers:  # a last word, so that most faults can be seen
            self.wait(3_600)
            self.issue(customer, claimed=True)


def story(number: int, fault: str, seed: int) -> Story:
    """Let a vendor live, and tell it with one fault."""
    random = Random(f"{seed} {number} {fault}")
    vendor = Vendor(random, number)
    vendor.live()
    events = sorted(vendor.events, key=lambda one: one.at)
    # All but the first and the last word of each customer may be at fault.
    inner = [one for one in events[2:-2] if one.at > 120]
    identifier = {id(one): f"{number}-{place}" for place, one in enumerate(events)}
    bodies = {id(one): [one.body(identifier[id(one)])] for one in events}
    culprit = _plant(random, fault, events, inner, identifier, bodies, number)
    told = [body for one in events for body in bodies[id(one)]]
    if random.random() < 0.3:
        random.shuffle(told)
    return Story(number, fault if culprit is not None else "none", told, culprit)


def _plant(
    random: Random,
    fault: str,
    events: list[Told],
    inner: list[Told],
    identifier: dict[int, str],
    bodies: dict[int, list[bytes]],
    number: int,
) -> Told | None:
    """Plant a fault into the bodies; give the event at fault, None where the history has none of its kind."""

    def one_of(*kinds: str) -> Told | None:
        fitting = [one for one in inner if one.kind in kinds]
        return random.choice(fitting) if fitting else None

    any_kind = ("issued", "redeemed", "reversed", "expired", "sent", "received")
    match fault:
        case "missing" | "unread":
            culprit = one_of(*any_kind)
        case "half transfer":
            culprit = one_of("sent", "received")
        case "doubled" | "wrong amount":
            culprit = one_of("issued", "redeemed")
        case "other programme" | "other content":
            culprit = one_of("issued")
        case "wrong expiry":
            culprit = one_of("issued")
        case "late claim":
            claiming = [one for one in [*inner, *events[-2:], *events[-2:]] if one.claim is not None]
            culprit = random.choice(claiming)
        case "expiry in part":
            culprit = one_of("expired")
        case "adjustment of ours" | "untold merge":
            culprit = random.choice(inner) if inner else None
        case _:
            culprit = None
    if culprit is None:
        return None
    key, name = id(culprit), identifier[id(culprit)]
    match fault:
        case "missing" | "half transfer":
            bodies[key] = []
        case "unread":
            bodies[key] = [bodies[key][0].replace(b'"eventName": "', b'"eventName": "unheardOf')]
        case "doubled":
            changed = {"redemption": f"again{name}"} if culprit.kind == "redeemed" else {}
            bodies[key].append(culprit.body(f"again-{name}", **{**changed, "at": culprit.at + random.choice((1, 40))}))
        case "wrong amount":
            bodies[key] = [culprit.body(name, points=culprit.points + random.randint(1, 50))]
        case "other content":
            bodies[key].insert(0, culprit.body(name, points=culprit.points + random.randint(1, 50)))
        case "other programme":
            wrong = json.loads(bodies[key][0])
            wrong["data"]["loyaltyProgramId"] = 78
            wrong["data"].pop("programCurrentPoints", None)
            bodies[key] = [json.dumps(wrong).encode()]
        case "wrong expiry":
            today = datetime.fromtimestamp(d.START / 1000 + culprit.at, UTC).date()
            day = (today + timedelta(days=random.randint(1, 14))).isoformat()
            bodies[key] = [culprit.body(name, lapses=day)]
        case "late claim":
            before = [one for one in events if one.customer == culprit.customer and one.at < culprit.at]
            steps = random.randint(0, min(3, len(before) - 1))
            stale = (culprit.claim or 0) - sum(one.change for one in [culprit, *before[len(before) - steps :]])
            if stale < 0:
                return None
            bodies[key] = [culprit.body(name, programCurrentPoints=stale)]
        case "expiry in part":
            if culprit.points < 2:
                return None
            bodies[key] = [culprit.body(name, points=random.randint(1, culprit.points - 1))]
        case "adjustment of ours":
            points = random.randint(1, 200)
            bodies[key].append(d.adjusted(f"adj-{number}", culprit.at + 1, culprit.customer, points))
        case "untold merge":
            _claim_more(random, culprit, events, identifier, bodies)
    return culprit


def _claim_more(
    random: Random,
    culprit: Told,
    events: list[Told],
    identifier: dict[int, str],
    bodies: dict[int, list[bytes]],
) -> None:
    """A third customer was merged into this one and no event told of it: claims from then on are higher."""
    taken_over = random.randint(1, 300)
    culprit.more["taken_over"] = taken_over
    for one in events:
        if one.customer == culprit.customer and one.at > culprit.at and one.claim is not None:
            bodies[id(one)] = [one.body(identifier[id(one)], programCurrentPoints=one.claim + taken_over)]
