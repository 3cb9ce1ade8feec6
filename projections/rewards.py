"""Rewards: the catalogue, current and in every version. The last publication counts.

1. A field that a publication leaves out keeps its value.
2. An update may come before the creation, or without it. The reward is then `incomplete`.
3. A reminder changes nothing. Its figures are shown beside ours, with a flag if they differ.
"""

from datetime import datetime
from decimal import Decimal
from itertools import zip_longest
from typing import Annotated, NamedTuple

from msgspec import Struct, field

from ledger.facts import Occurrence
from ledger.facts.rewards import PaymentMode, RewardClaimed, RewardCreated, RewardFact, RewardText, RewardUpdated
from projections.definition import Projection, Rows, State
from projections.tables import Identifier, Position, SqlType, Table, row_from


class RewardState(Struct, kw_only=True):
    """Fields of a reward, as its facts name them."""

    programme: str | None = None
    reward_type: str | None = None
    redemption_type: str | None = None
    enabled: bool | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    cost: Decimal | None = None
    series: str | None = None
    priority: str | None = None
    tier: str | None = None
    group: str | None = None
    label: str | None = None
    categories: tuple[str, ...] = ()
    vendor: str | None = None
    texts: tuple[RewardText, ...] = ()
    payment_modes: tuple[PaymentMode, ...] = ()

    @property
    def name(self) -> str | None:
        return next((text.name for text in self.texts if text.name), None)


class RewardVersion(RewardState, kw_only=True):
    """State of a reward after one publication."""

    valid_from: datetime
    position: int


class Reward(State):
    versions: list[RewardVersion] = field(default_factory=list)
    created_at: datetime | None = None
    claimed_at: datetime | None = None
    claimed_ends_at: datetime | None = None
    claim_differs: bool = False
    claimed_payment_modes: tuple[PaymentMode, ...] = ()
    position: int = 0

    @property
    def payment_modes(self) -> tuple[PaymentMode, ...]:
        """The ways to pay, by the last publication that states them, else by the last reminder."""
        published = self.versions[-1].payment_modes if self.versions else ()
        return published or self.claimed_payment_modes


class RewardRow(NamedTuple):
    """The catalogue of rewards, as last reported: price, payment modes and conversion ratio, dates, tier."""

    name: Annotated[str | None, "in the first language published"]
    programme: str | None
    reward_type: str | None
    redemption_type: str | None
    enabled: bool | None
    starts_at: datetime | None
    ends_at: datetime | None
    points_cost: Decimal | None
    coupon_series: str | None
    priority: str | None
    tier: str | None
    reward_group: str | None
    label: str | None
    categories: list[str]
    vendor: str | None
    payment_modes: Annotated[list[str], "ways to pay; the single answer lists them with their ratios"]
    created_at: datetime | None
    updated_at: datetime | None
    versions_count: int
    claimed_at: Annotated[datetime | None, "the time of the vendor's last reminder"]
    claimed_ends_at: datetime | None
    claim_differs: bool
    incomplete: Annotated[bool, "no creation was recorded"]
    last_position: Position


class RewardVersionRow(NamedTuple):
    """Versions of rewards."""

    version: Annotated[int, SqlType("bigint")]
    valid_from: datetime
    valid_until: Annotated[datetime | None, "null: the current version"]
    name: str | None
    reward_type: str | None
    enabled: bool | None
    starts_at: datetime | None
    ends_at: datetime | None
    points_cost: Decimal | None
    tier: str | None
    position: Position


class RewardTextRow(NamedTuple):
    """Texts of rewards by language."""

    ordinal: Annotated[int, SqlType("bigint")]
    language: str | None
    name: str | None
    description: str | None


class RewardPaymentModeRow(NamedTuple):
    """Modes in which a reward may be paid."""

    mode: Identifier
    conversion_ratio: Annotated[Decimal | None, "worth of one point, if points pay a price in money"]


REWARDS_TABLE = Table(
    "rewards",
    RewardRow,
    {
        "programme": "(ledger_id, programme, subject)",
        "reward_type": "(ledger_id, reward_type, subject)",
        "enabled": "(ledger_id, subject) WHERE enabled IS TRUE",
        "flagged": "(ledger_id, subject) WHERE incomplete",
        "differ": "(ledger_id, subject) WHERE claim_differs",
    },
)
REWARD_VERSIONS_TABLE = Table("reward_versions", RewardVersionRow, key=("version",))

REWARD_TEXTS_TABLE = Table("reward_texts", RewardTextRow, key=("ordinal",))
REWARD_PAYMENT_MODES_TABLE = Table("reward_payment_modes", RewardPaymentModeRow, key=("mode",))


def create(reward: Reward, fact: RewardCreated, occurrence: Occurrence) -> None:
    """The reward was added to the catalogue."""
    reward.created_at = reward.created_at or occurrence.occurred_at
    publish(reward, fact, occurrence)


def publish(reward: Reward, fact: RewardFact, occurrence: Occurrence) -> None:
    """The reward was published. A new version is added; fields left out keep their values."""
    before = reward.versions[-1] if reward.versions else RewardState()
    fields = {}
    for name in RewardState.__struct_fields__:
        value = getattr(fact, name)
        fields[name] = getattr(before, name) if value is None or value == () else value
    reward.versions.append(RewardVersion(**fields, valid_from=occurrence.occurred_at, position=occurrence.position))
    reward.claim_differs = False  # the publication is newer than the reminder
    reward.position = max(reward.position, occurrence.position)


def compare(reward: Reward, fact: RewardClaimed, occurrence: Occurrence) -> None:
    """A reminder about the reward came. It is compared with the current version, if one is known."""
    known = reward.versions[-1] if reward.versions else None
    reward.claimed_at = occurrence.occurred_at
    reward.claimed_ends_at = fact.ends_at or reward.claimed_ends_at
    claimed = ((fact.ends_at, "ends_at"), (fact.enabled, "enabled"), (fact.cost, "cost"))
    reward.claim_differs = known is not None and any(
        value is not None and value != getattr(known, name) for value, name in claimed
    )
    reward.claimed_payment_modes = fact.payment_modes or reward.claimed_payment_modes
    reward.position = max(reward.position, occurrence.position)


def reward_rows(_subject: str, reward: Reward) -> Rows:
    versions = reward.versions
    ends = [version.valid_from for version in versions[1:]]
    texts = versions[-1].texts if versions else ()
    rows = [
        row_from(version, RewardVersionRow, version=number, valid_until=valid_until, points_cost=version.cost)
        for number, (version, valid_until) in enumerate(zip_longest(versions, ends), 1)
    ]
    text_rows = [row_from(text, RewardTextRow, ordinal=ordinal) for ordinal, text in enumerate(texts, 1)]
    modes = {mode.mode: row_from(mode, RewardPaymentModeRow) for mode in reward.payment_modes}
    return {
        "rewards": [_row(reward)],
        "reward_versions": rows,
        "reward_texts": text_rows,
        "reward_payment_modes": list(modes.values()),
    }


def _row(reward: Reward) -> RewardRow:
    versions = reward.versions
    current = versions[-1] if versions else RewardState()
    return row_from(
        current,
        RewardRow,
        points_cost=current.cost,
        coupon_series=current.series,
        reward_group=current.group,
        categories=list(current.categories),
        payment_modes=[mode.mode for mode in reward.payment_modes],
        created_at=reward.created_at,
        updated_at=versions[-1].valid_from if versions else None,
        versions_count=len(versions),
        claimed_at=reward.claimed_at,
        claimed_ends_at=reward.claimed_ends_at,
        claim_differs=reward.claim_differs,
        incomplete=reward.created_at is None,
        last_position=reward.position,
    )


REWARDS = Projection(
    name="rewards",
    version=5,
    subject="reward",
    start=Reward,
    on={RewardCreated: create, RewardUpdated: publish, RewardClaimed: compare},
    rows=reward_rows,
    tables=(REWARDS_TABLE, REWARD_VERSIONS_TABLE, REWARD_TEXTS_TABLE, REWARD_PAYMENT_MODES_TABLE),
    customers=(),
)
