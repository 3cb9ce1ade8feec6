"""The points of one simulated member, as the vendor counts them: the lots that lapse first are spent first."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

VALID_MONTHS = 6  # points lapse at the end of the sixth month after they were earned


@dataclass(slots=True)
class SimulatedLot:
    """Points that were earned together. `last_day` is their last valid day."""

    bill: str
    last_day: date
    points: Decimal
    left: Decimal


@dataclass(slots=True)
class SimulatedWallet:
    """The lots of a member."""

    lots: list[SimulatedLot] = field(default_factory=list)
    lifetime: Decimal = Decimal(0)

    @property
    def available(self) -> Decimal:
        return sum((lot.left for lot in self.lots), Decimal(0))

    def earn(self, bill: str, points: Decimal, day: date) -> SimulatedLot:
        """Add a lot that was earned on a day."""
        lot = SimulatedLot(bill, last_valid_day(day), points, points)
        self.lots.append(lot)
        self.lifetime += points
        return lot

    def receive(self, transfer: str, points: Decimal) -> None:
        """Add points of another member. They do not lapse."""
        self.lots.append(SimulatedLot(transfer, date.max, points, points))
        self.lifetime += points

    def spend(self, points: Decimal) -> None:
        """Take points from the lots that lapse first."""
        assert points <= self.available
        for lot in sorted(self.lots, key=lambda lot: lot.last_day):
            taken = min(lot.left, points)
            lot.left -= taken
            points -= taken
        self._remove_empty_lots()

    def take_back(self, bill: str) -> Decimal:
        """Take back the points of a bill if none of them were used. Return them, otherwise 0."""
        for lot in self.lots:
            if lot.bill == bill and lot.left == lot.points:
                lot.left = Decimal(0)
                self.lifetime -= lot.points
                self._remove_empty_lots()
                return lot.points
        return Decimal(0)

    def lapse(self, day: date) -> Decimal:
        """Remove the lots whose last day is before a day, and return their points."""
        due = [lot for lot in self.lots if lot.last_day < day]
        for lot in due:
            self.lots.remove(lot)
        return sum((lot.left for lot in due), Decimal(0))

    def merge(self, other: "SimulatedWallet") -> None:
        """Take over the lots of another member."""
        self.lots += other.lots
        self.lifetime += other.lifetime
        other.lots, other.lifetime = [], Decimal(0)

    def _remove_empty_lots(self) -> None:
        self.lots = [lot for lot in self.lots if lot.left]


def last_valid_day(earned: date) -> date:
    """Return the last day of the sixth month after the month of earning."""
    months = earned.year * 12 + earned.month - 1 + VALID_MONTHS + 1
    return date(months // 12, months % 12 + 1, 1) - timedelta(days=1)
