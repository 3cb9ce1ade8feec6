"""Facts about redemption records: that a coupon or promotion was applied to an order."""

from ledger.facts.fact import Fact


class RedemptionRecordFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The vendor wrote down that a coupon or promotion was applied to an order; the details stay with the vendor."""

    subject_kind = "redemption_record"

    record: str
    of: str  # "coupon" or "promotion"
    status: str | None = None

    @property
    def subject(self) -> str:
        return self.record


class RedemptionRecordCreated(RedemptionRecordFact, frozen=True, kw_only=True, omit_defaults=True):
    rank = 10


class RedemptionRecordUpdated(RedemptionRecordFact, frozen=True, kw_only=True, omit_defaults=True):
    rank = 20


class RedemptionRecordDeleted(RedemptionRecordFact, frozen=True, kw_only=True, omit_defaults=True):
    """The record was taken away: read as "the redemption was undone", which the vendor does not say; flagged."""

    rank = 30


FACTS: tuple[type[Fact], ...] = (
    RedemptionRecordCreated,
    RedemptionRecordUpdated,
    RedemptionRecordDeleted,
)
