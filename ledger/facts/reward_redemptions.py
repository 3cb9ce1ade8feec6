"""Facts about reward redemptions: a customer redeems a reward of the catalogue, and the outcome.

These facts move no points. The debit is an account fact; `debit` names it if the vendor does.
"""

from decimal import Decimal

from ledger.facts.fact import Fact


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
    debit: str | None = None  # the ref of the redemption that paid for the reward
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
    RewardRedemptionCreated,
    RewardRedemptionPending,
    RewardRedemptionCompleted,
    RewardRedemptionFailed,
    RewardRedemptionRolledBack,
)
