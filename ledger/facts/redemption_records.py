"""Facts about redemption records: a coupon or promotion was applied to an order."""

from msgspec import field

from ledger.facts.fact import Fact


class RedemptionRecordFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The vendor's record that a coupon or promotion was applied to an order. The vendor keeps the details."""

    subject_kind = "redemption_record"

    record: str
    record_type: str = field(name="of")  # "coupon" or "promotion"
    status: str | None = None

    @property
    def subject(self) -> str:
        return self.record


class RedemptionRecordCreated(RedemptionRecordFact, frozen=True, kw_only=True, omit_defaults=True):
    rank = 10


class RedemptionRecordUpdated(RedemptionRecordFact, frozen=True, kw_only=True, omit_defaults=True):
    rank = 20


class RedemptionRecordDeleted(RedemptionRecordFact, frozen=True, kw_only=True, omit_defaults=True):
    """The record was deleted. We read this as an undone redemption. The vendor does not state it, so it is flagged."""

    rank = 30


FACTS: tuple[type[Fact], ...] = (
    RedemptionRecordCreated,
    RedemptionRecordUpdated,
    RedemptionRecordDeleted,
)
