"""Facts about reward redemptions: a customer takes a reward out of the catalogue, and what became of it.

The facts move no points: the debit is an account fact of its own, named by `debit` where the vendor names it.
"""

from decimal import Decimal

from ledger.facts.fact import Fact


class RewardRedemptionFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one redemption of one reward. Fields that the vendor leaves out are None and take nothing back."""

    subject_kind = "reward_redemption"

    reward_redemption: str
    reward: str | None = None  # the reward's ref in the catalogue
    reward_name: str | None = None
    customer: str | None = None
    points: Decimal | None = None  # what the reward costs, all of its `quantity`
    quantity: int | None = None
    coupon: str | None = None  # the ref of the coupon that was issued, where its id is told
    coupon_code: str | None = None
    debit: str | None = None  # the ref of the redemption that paid
    request: str | None = None  # the vendor's id of the request; a debit may carry the same
    errors: tuple[str, ...] = ()  # "code: message"

    @property
    def subject(self) -> str:
        return self.reward_redemption


class RewardRedemptionCreated(RewardRedemptionFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer asked for the reward."""

    rank = 10


class RewardRedemptionPending(RewardRedemptionFact, frozen=True, kw_only=True, omit_defaults=True):
    """The reward waits for something before it is given."""

    rank = 20


class RewardRedemptionCompleted(RewardRedemptionFact, frozen=True, kw_only=True, omit_defaults=True):
    """The reward was given."""

    rank = 30


class RewardRedemptionFailed(RewardRedemptionFact, frozen=True, kw_only=True, omit_defaults=True):
    """The reward was not given; points that were taken for it are due back."""

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
