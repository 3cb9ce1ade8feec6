"""Facts about rewards: the catalogue of rewards that a programme offers for points, and customers' redemptions of them.

Redemption facts move no points. The debit is an account fact; `points_redemption` names it if the vendor does.
"""

from datetime import date, datetime
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class RewardText(msgspec.Struct, frozen=True, omit_defaults=True):
    """Name and description of a reward in one language."""

    language: str | None = None
    name: str | None = None
    description: str | None = None


class PaymentMode(msgspec.Struct, frozen=True, omit_defaults=True):
    """A way to pay for a reward. `conversion_ratio` is the worth of one point, if points pay a price in money."""

    mode: str
    conversion_ratio: Decimal | None = None


class RewardFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A reward's entry in the catalogue. It concerns no customer. A field is None if the vendor does not state it."""

    subject_kind = "reward"

    reward: str
    programme: str | None = None
    reward_type: str | None = None
    redemption_type: str | None = None
    enabled: bool | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    cost: Decimal | None = None  # in points
    series: str | None = None  # series of the coupons that the reward gives
    priority: str | None = None
    tier: str | None = None
    group: str | None = None
    label: str | None = None
    categories: tuple[str, ...] = ()
    vendor: str | None = None
    texts: tuple[RewardText, ...] = ()
    payment_modes: tuple[PaymentMode, ...] = ()

    @property
    def subject(self) -> str:
        return self.reward


class RewardCreated(RewardFact, frozen=True, kw_only=True, omit_defaults=True):
    """The reward was added to the catalogue."""

    rank = 10


class RewardUpdated(RewardFact, frozen=True, kw_only=True, omit_defaults=True):
    """The reward was published again. The event that created it may not be reported yet."""

    rank = 20


class RewardClaimed(RewardFact, frozen=True, kw_only=True, omit_defaults=True):
    """The vendor states the current entry of the reward and its end. The fact changes nothing; it is compared with the
    catalogue.
    """

    rank = 90


class RewardRedemptionFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one redemption of one reward. A field that is None leaves the earlier value unchanged."""

    subject_kind = "reward_redemption"

    reward_redemption: str
    reward: str | None = None  # the reward's ref in the catalogue
    reward_name: str | None = None
    customer: str | None = None
    points: Decimal | None = None  # the cost of the whole `quantity`
    quantity: int | None = None
    coupon: str | None = None  # the ref of the issued coupon, if its id is reported
    coupon_code: str | None = None
    issued: str | None = None  # the thing that was issued: "coupon", "vendor_voucher" or "product"
    issued_until: datetime | None = None  # the end of its validity
    issued_through: date | None = None
    reward_type: str | None = None
    redemption_type: str | None = None
    tier: str | None = None
    starts_at: datetime | None = None  # of the reward's entry in the catalogue
    ends_at: datetime | None = None
    points_redemption: str | None = msgspec.field(
        default=None, name="debit"
    )  # the ref of the redemption that paid for the reward
    request: str | None = None  # the vendor's id of the request; a debit may have the same
    errors: tuple[str, ...] = ()  # "code: message"

    @property
    def subject(self) -> str:
        return self.reward_redemption


class RewardRedemptionCreated(RewardRedemptionFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer asked for the reward."""

    rank = 10


class RewardRedemptionPending(RewardRedemptionFact, frozen=True, kw_only=True, omit_defaults=True):
    """The reward is pending."""

    rank = 20


class RewardRedemptionCompleted(RewardRedemptionFact, frozen=True, kw_only=True, omit_defaults=True):
    """The reward was given."""

    rank = 30


class RewardRedemptionFailed(RewardRedemptionFact, frozen=True, kw_only=True, omit_defaults=True):
    """The reward was not given. Points that were taken for it are due back."""

    rank = 40


class RewardRedemptionRolledBack(RewardRedemptionFact, frozen=True, kw_only=True, omit_defaults=True):
    """The reward was taken back."""

    rank = 50


FACTS: tuple[type[Fact], ...] = (
    RewardCreated,
    RewardUpdated,
    RewardClaimed,
    RewardRedemptionCreated,
    RewardRedemptionPending,
    RewardRedemptionCompleted,
    RewardRedemptionFailed,
    RewardRedemptionRolledBack,
)
