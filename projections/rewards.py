"""Rewards: the catalogue, current and in every version. The last publication counts.

1. A field that a publication leaves out keeps its value.
2. An update may come before the creation, or without it. The reward is then `incomplete`.
3. A reminder changes nothing. Its figures are shown beside ours, with a flag if they differ.
"""

from datetime import datetime
from decimal import Decimal
from itertools import zip_longest
from typing import NamedTuple

from msgspec import Struct, field

from ledger.facts import Occurrence
from ledger.facts.rewards import RewardClaimed, RewardCreated, RewardFact, RewardText, RewardUpdated
from projections.definition import Projection, Rows, State, Table


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
    position: int = 0


class RewardRow(NamedTuple):
    name: str | None  # in the first language published
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
    created_at: datetime | None
    updated_at: datetime | None
    versions_count: int
    claimed_at: datetime | None  # the last reminder
    claimed_ends_at: datetime | None
    claim_differs: bool
    incomplete: bool  # no creation was recorded
    last_position: int


class RewardVersionRow(NamedTuple):
    version: int
    valid_from: datetime
    valid_until: datetime | None  # None: the current version
    name: str | None
    reward_type: str | None
    enabled: bool | None
    starts_at: datetime | None
    ends_at: datetime | None
    points_cost: Decimal | None
    tier: str | None
    position: int


class RewardTextRow(NamedTuple):
    ordinal: int
    language: str | None
    name: str | None
    description: str | None


REWARDS_TABLE = Table(
    name="rewards",
    create="""
        CREATE TABLE rewards (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            name text, programme text, reward_type text, redemption_type text, enabled boolean,
            starts_at timestamptz, ends_at timestamptz, points_cost numeric, coupon_series text, priority text,
            tier text, reward_group text, label text, categories text[] NOT NULL, vendor text,
            created_at timestamptz, updated_at timestamptz, versions_count int NOT NULL,
            claimed_at timestamptz, claimed_ends_at timestamptz, claim_differs boolean NOT NULL,
            incomplete boolean NOT NULL, last_position bigint NOT NULL)
        """,
    index=(
        "ALTER TABLE rewards ADD PRIMARY KEY (ledger_id, subject)",
        "CREATE INDEX rewards_flagged ON rewards (ledger_id, subject) WHERE incomplete",
        "CREATE INDEX rewards_differ ON rewards (ledger_id, subject) WHERE claim_differs",
    ),
    columns=RewardRow._fields,
    key=(),
)

REWARD_VERSIONS_TABLE = Table(
    name="reward_versions",
    create="""
        CREATE TABLE reward_versions (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            version bigint NOT NULL, valid_from timestamptz NOT NULL, valid_until timestamptz,
            name text, reward_type text, enabled boolean, starts_at timestamptz, ends_at timestamptz,
            points_cost numeric, tier text, position bigint NOT NULL)
        """,
    index=("ALTER TABLE reward_versions ADD PRIMARY KEY (ledger_id, subject, version)",),
    columns=RewardVersionRow._fields,
    key=("version",),
)

REWARD_TEXTS_TABLE = Table(
    name="reward_texts",
    create="""
        CREATE TABLE reward_texts (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            ordinal bigint NOT NULL, language text, name text, description text)
        """,
    index=("ALTER TABLE reward_texts ADD PRIMARY KEY (ledger_id, subject, ordinal)",),
    columns=RewardTextRow._fields,
    key=("ordinal",),
)


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
    reward.position = max(reward.position, occurrence.position)


def reward_rows(_subject: str, reward: Reward) -> Rows:
    versions = reward.versions
    ends = [version.valid_from for version in versions[1:]]
    texts = versions[-1].texts if versions else ()
    return {
        "rewards": [_row(reward)],
        "reward_versions": [
            RewardVersionRow(
                version=number,
                valid_from=version.valid_from,
                valid_until=valid_until,
                name=version.name,
                reward_type=version.reward_type,
                enabled=version.enabled,
                starts_at=version.starts_at,
                ends_at=version.ends_at,
                points_cost=version.cost,
                tier=version.tier,
                position=version.position,
            )
            for number, (version, valid_until) in enumerate(zip_longest(versions, ends), 1)
        ],
        "reward_texts": [
            RewardTextRow(ordinal, text.language, text.name, text.description) for ordinal, text in enumerate(texts, 1)
        ],
    }


def _row(reward: Reward) -> RewardRow:
    versions = reward.versions
    current = versions[-1] if versions else RewardState()
    return RewardRow(
        name=current.name,
        programme=current.programme,
        reward_type=current.reward_type,
        redemption_type=current.redemption_type,
        enabled=current.enabled,
        starts_at=current.starts_at,
        ends_at=current.ends_at,
        points_cost=current.cost,
        coupon_series=current.series,
        priority=current.priority,
        tier=current.tier,
        reward_group=current.group,
        label=current.label,
        categories=list(current.categories),
        vendor=current.vendor,
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
    version=4,
    subject="reward",
    start=Reward,
    on={RewardCreated: create, RewardUpdated: publish, RewardClaimed: compare},
    rows=reward_rows,
    tables=(REWARDS_TABLE, REWARD_VERSIONS_TABLE, REWARD_TEXTS_TABLE),
    path="rewards",
    customers=(),
)
