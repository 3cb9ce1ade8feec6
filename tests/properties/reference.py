"""Reference model of points, written from docs/domain.md. It is slow and simple on purpose.

1. Each single point is an object in one state: open, lapsed, expired, returned, or spent by a debit.
2. A debt is a list of owed points, each with the debit that spent it. The model keeps no sums that could be wrong.
3. Points are whole numbers and times are whole days. A lot lapses at the end of its day.
"""

from collections import Counter
from dataclasses import dataclass, field

NEVER = 10**9


@dataclass(eq=False)
class Lot:
    """Points earned together. `order` is the time earned; `number` separates lots of one time."""

    origin: str
    bill: str | None
    day: int  # last day of validity; NEVER
    order: int
    number: tuple[int, int]
    asserted: bool = False
    named: str | None = None  # the bill, if no promise for it is known
    promotion: str | None = None
    points: list["Point"] = field(default_factory=list)

    def sort_key(self) -> tuple[int, int, tuple[int, int]]:
        return (self.day, self.order, self.number)


@dataclass(eq=False)
class Point:
    """One point of a lot: "open", "lapsed", "expired", "returned", or "spent" by a debit."""

    lot: Lot
    where: str = "open"
    debit: str | None = None
    early: bool = False  # spent by the debit that had given it back before


@dataclass
class Debit:
    """A redemption, transfer or removal: its kind, its points, and the points given back."""

    way: str  # redeemed, sent, removed
    points: int = 0
    given_back: int = 0


@dataclass
class Promise:
    """Promised points: to come, converted (some returned since), or cancelled."""

    bill: str | None
    converts: int
    number: int
    ahead: int
    converted: int = 0
    cancelled: int = 0
    returned: int = 0


class Model:
    """One account. Facts are applied in order of occurrence. `now` is the day; `event` counts facts."""

    def __init__(self) -> None:
        self.now = self.event = 0  # number of facts so far: the order of lots
        self.lots: list[Lot] = []
        self.owed: list[str | None] = []  # debit name of each owed point; None if no debit explains it
        self.debits: dict[str, Debit] = {}
        self.promises: list[Promise] = []
        self.early: dict[str, list[Lot]] = {}  # points given back before their debit
        self.early_points: Counter[str] = Counter()
        self.returned_of: Counter[str] = Counter()  # by bill
        self.in_transit = self.lifetime = self.awaited = 0  # awaited: converted before the promise

    def standing(self, where: str) -> list[Point]:
        """Points in a state, in the order of use (docs/domain.md §4.1)."""
        return [point for lot in sorted(self.lots, key=Lot.sort_key) for point in lot.points if point.where == where]

    @property
    def available(self) -> int:
        return len(self.standing("open")) - len(self.owed)

    @property
    def promised(self) -> int:
        return sum(promise.ahead for promise in self.promises)

    def show(self) -> list[tuple[object, ...]]:
        """Return every lot as (origin, bill, day, points, remaining, redeemed, sent, removed, expired, returned)."""
        return sorted((self.show_lot(lot) for lot in self.lots), key=str)

    def show_lot(self, lot: Lot) -> tuple[object, ...]:
        def count(where: str, way: str | None = None) -> int:
            found = [one for one in lot.points if one.where == where]
            return sum(way is None or self.debits[one.debit or ""].way == way for one in found)

        spent = [count("spent", way) for way in ("redeemed", "sent", "removed")]
        remaining = count("open") + count("lapsed")
        return (lot.origin, lot.bill, lot.day, len(lot.points), remaining, *spent, count("expired"), count("returned"))

    def pass_to(self, day: int, event: int) -> None:
        """Lapse the lots whose day ended. No job runs (docs/architecture.md)."""
        self.now, self.event = day, event
        for point in self.standing("open"):
            if point.lot.day < day:
                point.where = "lapsed"

    def credit(self, count: int, origin: str, bill: str | None = None, day: int = NEVER, asserted: bool = False) -> Lot:
        """Add a lot. It settles a debt first (docs/domain.md §4.6), unless its day ended already."""
        lot = Lot(origin, bill, day, self.event, (self.event, len(self.lots)), asserted)
        lot.points = [Point(lot) for _ in range(count)]
        self.lots.append(lot)
        for point in lot.points:
            self.open_or_lapse(point)
        return lot

    def open_or_lapse(self, point: Point) -> None:
        point.where = "lapsed" if point.lot.day < self.now else "open"
        if point.where == "open":
            self.settle(point)

    def settle(self, point: Point) -> None:
        """Settle owed points with an open point, oldest debit first. A debt without a debit counts as returned."""
        age = {name: place for place, name in enumerate(self.debits)}
        if self.owed:
            name = min(self.owed, key=lambda one: NEVER if one is None else age[one])
            self.owed.remove(name)
            point.where, point.debit = ("returned" if name is None else "spent"), name

    def earn(
        self, count: int, origin: str, bill: str | None = None, day: int = NEVER, promotion: str | None = None
    ) -> Lot:
        self.lifetime += count
        lot = self.credit(count, origin, bill, day)
        lot.promotion = promotion
        return lot

    def promise(self, count: int, bill: str | None, converts: int = NEVER) -> None:
        early = min(self.awaited, count)
        self.awaited -= early
        self.promises.append(Promise(bill, converts, self.event, count - early, converted=early))

    def convert(self, count: int, bill: str | None) -> None:
        """Convert promises of the bill first, then those with the earliest conversion day. The rest is awaited.

        The new lot belongs to a bill only if all its points were promised for that bill.
        """
        bills: list[str | None] = []
        for _ in range(count):
            ahead = [one for one in self.promises if one.ahead]
            ahead.sort(key=lambda one: (bill is None or one.bill != bill, one.converts, one.number))
            self.awaited += not ahead
            for promise in ahead[:1]:
                promise.ahead, promise.converted = promise.ahead - 1, promise.converted + 1
            bills.append(ahead[0].bill if ahead else None)
        self.earn(count, "converted", bills[0] if len(set(bills)) == 1 else None).named = bill

    def spend(self, count: int, name: str, way: str = "redeemed") -> None:
        """Spend points: earliest day first, then oldest. Points given back by an early reversal are used before.

        Missing points prove unseen points, because nobody can spend beyond the balance, least of all in debt.
        """
        debit = self.debits.setdefault(name, Debit(way))
        debit.points += count
        debit.given_back += min(self.early_points.pop(name, 0), count)
        ours = [one for lot in self.early.pop(name, []) for one in lot.points if one.where == "open"]
        others = [one for one in self.standing("open") if one not in ours]
        paying = [*ours, *others][:count]
        if len(paying) < count:
            unseen = self.credit(count - len(paying) + len(self.owed), "unseen", asserted=True)
            paying += [one for one in unseen.points if one.where == "open"]
        for point in paying:
            point.where, point.debit = "spent", name
            point.early = point in ours

    def give_back(self, count: int, name: str, available: int | None = None, expired: int | None = None) -> None:
        """Give points of a debit back: debt first, then lots in reverse order of use. Never more than was spent.

        If the vendor states no expired points, those of lapsed lots lapse. If it gives back more than lapsed lots
        allow, those points become a new lot (docs/domain.md, traps 5 and 6).
        """
        if expired is None and available is not None:
            expired = max(0, count - available)
        debit = self.debits.get(name)
        if debit is None:
            self.early_points[name] += count
            if count > (expired or 0):
                lot = self.credit(count - (expired or 0), "reversal", asserted=True)
                self.early.setdefault(name, []).append(lot)
            return
        count = min(count, debit.points - debit.given_back)
        debit.given_back += count
        owed = [one for one in self.owed if one == name][:count]
        for one in owed:
            self.owed.remove(one)
        spent = [one for one in self.standing("spent") if one.debit == name and not one.early]
        back = spent[::-1][: count - len(owed)]
        late = [one for one in back if one.lot.day < self.now]
        rest = [one for one in back if one not in late]
        gone = len(late) if expired is None else min(expired, count)
        beyond = max(0, gone - len(late))
        for point in [*late, *rest[:beyond]]:
            point.where = "expired"
        alive = [point.lot for point in late[gone:]]
        for lot in dict.fromkeys(alive):
            self.credit(alive.count(lot), "reversal")
        for point in rest[beyond:]:
            self.open_or_lapse(point)

    def take_back(
        self, count: int | None, bill: str, promised: int = 0, total: int = 0, given: tuple[str, int] | None = None
    ) -> None:
        """Take points back from the lots of a bill, in this order:

        1. unspent points
        2. spent points: the spend moves to other points, or becomes debt
        3. lapsed points, which change no balance

        For an unknown bill any point is used, then debt. If promotions are stated, their points are taken first. The
        rest is taken first from points of no promotion.
        """
        count = max(0, total - self.returned_of[bill]) if count is None else count
        self.returned_of[bill] += count
        of_promotion = min(given[1], count) if given else 0
        regular = count - of_promotion
        count += self.take_back_promised(promised, bill)
        lots = [lot for lot in self.lots if (lot.bill or lot.named) == bill]
        if given is not None:
            count -= self.take_from([lot for lot in lots if lot.promotion == given[0]], of_promotion)
            count -= self.take_from([lot for lot in lots if lot.promotion is None], regular)
        count -= self.take_from(lots, count)
        for _ in range(count):
            self.lifetime -= 1
            others = self.standing("open")
            self.owed += [] if others else [None]
            for one in others[:1]:
                one.where = "returned"

    def take_from(self, lots: list[Lot], count: int) -> int:
        """Take points back from these lots only. Returns their number."""
        ours, wanted = [point for lot in lots for point in lot.points], count
        newest = {name: -place for place, name in enumerate(self.debits)}
        order = {id(lot): place for place, lot in enumerate(self.lots)}
        spent = [point for point in ours if point.where == "spent"]
        spent.sort(key=lambda point: (order[id(point.lot)], newest[point.debit or ""]))
        unspent = [point for point in ours if point.where == "open"]
        lapsed = [point for point in ours if point.where in ("lapsed", "expired")]
        lapsed.sort(key=lambda point: (order[id(point.lot)], point.where == "expired"))
        for point in [*unspent, *spent, *lapsed][:count]:
            count -= 1
            name, where = point.debit, point.where
            point.where, point.debit = "returned", None
            if where == "spent":
                instead = self.standing("open")
                self.owed += [] if instead else [name]
                for one in instead[:1]:
                    one.where, one.debit = "spent", name
            self.lifetime -= where in ("open", "spent")
        return wanted - count

    def take_back_promised(self, count: int, bill: str) -> int:
        """Cancel promises of the bill, or of any bill if it has none. Returns the number converted already."""
        ours = [promise for promise in self.promises if promise.bill == bill]
        for promise in ours or self.promises:
            while promise.ahead and count:
                promise.ahead, promise.cancelled, count = promise.ahead - 1, promise.cancelled + 1, count - 1
        before = sum(promise.returned for promise in ours)
        for promise in ours:
            while promise.returned < promise.converted and count:
                promise.returned, count = promise.returned + 1, count - 1
        return sum(promise.returned for promise in ours) - before

    def expire(self, count: int) -> None:
        """Expire lapsed points, then points without a day, then the earliest ones, then unseen points."""
        still = sorted(self.standing("open"), key=lambda point: point.lot.day != NEVER)
        for point in [*self.standing("lapsed"), *still][:count]:
            point.where = "expired"
            count -= 1
        if count:
            unseen = self.credit(count + len(self.owed), "unseen", asserted=True)
            for point in unseen.points:
                point.where = "expired" if point.where == "open" else point.where

    def move(self, count: int, old: int, new: int) -> None:
        """Move points of the old day, then of no day, then unseen points. No balance changes (docs/domain.md, trap 7).

        The fact names no promotion, so lots of no promotion come first.
        """
        here = [*self.standing("open"), *self.standing("lapsed")] if old != new else []
        dated = [point for point in here if point.lot.day == old]
        undated = [point for point in here if point.lot.day == NEVER]
        dated.sort(key=lambda p: (p.lot.promotion is not None, p.lot.origin != "regular", p.lot.sort_key()))
        undated.sort(key=lambda point: (not point.lot.asserted, point.lot.sort_key()))
        moving = [*dated, *undated][:count]
        for lot in dict.fromkeys(point.lot for point in moving):
            self.move_lot(lot, [point for point in moving if point.lot is lot], new)
        if len(moving) < count and old != new:
            self.credit(count - len(moving), "regular", day=new, asserted=True)

    def move_lot(self, lot: Lot, ours: list[Point], new: int) -> None:
        if len(ours) == len(lot.points):
            lot.day = new
        else:
            moved = Lot(
                lot.origin,
                lot.bill,
                new,
                lot.order,
                (self.event, len(self.lots)),
                lot.asserted,
                lot.named,
                lot.promotion,
                ours,
            )
            lot.points = [point for point in lot.points if point not in ours]
            self.lots.append(moved)
            for point in ours:
                point.lot = moved
        for point in ours:
            self.open_or_lapse(point)

    def merge(self, victim: "Model") -> None:
        """Move everything of the victim. Then settle the debt."""
        self.lots += victim.lots
        self.owed += victim.owed
        for name, debit in victim.debits.items():
            both = self.debits.setdefault(name, Debit(debit.way))
            both.points += debit.points
            both.given_back += debit.given_back
        self.promises += victim.promises
        self.awaited += victim.awaited
        for name, lots in victim.early.items():
            self.early.setdefault(name, []).extend(lots)
        self.early_points += victim.early_points
        self.returned_of += victim.returned_of
        self.in_transit += victim.in_transit
        self.lifetime += victim.lifetime
        for point in self.standing("open"):
            self.settle(point)
        victim.__init__()  # type: ignore[misc]
