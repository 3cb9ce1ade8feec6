"""Facts about transfers: points on their way from one holder to another."""

from decimal import Decimal

from ledger.facts.fact import Fact


class TransferFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    subject_kind = "transfer"

    transfer: str
    points: Decimal
    programme: str
    unit: str = "points"
    sender: str | None = None
    receiver: str | None = None

    @property
    def subject(self) -> str:
        return self.transfer


class TransferInitiated(TransferFact, frozen=True, kw_only=True, omit_defaults=True):
    """A customer sent points to another."""

    rank = 10


class TransferCompleted(TransferFact, frozen=True, kw_only=True, omit_defaults=True):
    """The sent points arrived."""

    rank = 20


FACTS: tuple[type[Fact], ...] = (
    TransferInitiated,
    TransferCompleted,
)
