from decimal import Decimal
from typing import Any

from ledger.facts.rewards import RewardClaimed, RewardCreated, RewardText, RewardUpdated
from projections.rewards import REWARDS
from tests.support.fold_helpers import day, on, row_of, rows_of

REWARD = "capillary:1:5"


def created(**more: Any) -> RewardCreated:
    return RewardCreated(reward=REWARD, **more)


def updated(**more: Any) -> RewardUpdated:
    return RewardUpdated(reward=REWARD, **more)


def claimed(**more: Any) -> RewardClaimed:
    return RewardClaimed(reward=REWARD, **more)


def test_the_last_publication_counts() -> None:
    row = row_of(REWARDS, on(1, created(enabled=True, cost=Decimal(10))), on(2, updated(enabled=False)))

    assert (row.enabled, row.points_cost) == (False, Decimal(10))
    assert (row.created_at, row.updated_at, row.versions_count) == (day(1), day(2), 2)


def test_every_version_is_kept_with_the_time_it_stood() -> None:
    told = [on(1, created(cost=Decimal(10))), on(4, updated(cost=Decimal(20))), on(9, updated(cost=Decimal(0)))]

    versions = rows_of(REWARDS, *told)["reward_versions"]

    assert [(row.version, row.valid_from, row.valid_until, row.points_cost) for row in versions] == [
        (1, day(1), day(4), Decimal(10)),
        (2, day(4), day(9), Decimal(20)),
        (3, day(9), None, Decimal(0)),
    ]


def test_an_update_is_taken_before_the_creation_and_without_it() -> None:
    row = row_of(REWARDS, on(3, updated(tier="SILVER")))

    assert (row.tier, row.incomplete, row.created_at) == ("SILVER", True, None)


def test_a_creation_reported_late_takes_its_place_before_the_update() -> None:
    row = row_of(REWARDS, on(3, updated(tier="GOLD")), on(1, created(tier="SILVER"), position=9))

    assert (row.tier, row.incomplete, row.last_position) == ("GOLD", False, 9)


def test_a_reminder_changes_nothing_and_is_compared() -> None:
    told = [on(1, created(enabled=True, ends_at=day(30))), on(2, claimed(enabled=True, ends_at=day(40)))]

    row = row_of(REWARDS, *told)

    assert (row.ends_at, row.claimed_ends_at, row.claim_differs) == (day(30), day(40), True)
    assert row.versions_count == 1


def test_a_publication_after_the_reminder_settles_what_differed() -> None:
    told = [on(1, created(ends_at=day(30))), on(2, claimed(ends_at=day(40))), on(3, updated(ends_at=day(40)))]

    assert row_of(REWARDS, *told).claim_differs is False


def test_a_reminder_of_an_unknown_reward_shows_what_it_claims_and_nothing_else() -> None:
    row = row_of(REWARDS, on(2, claimed(ends_at=day(40), tier="GOLD")))

    assert (row.tier, row.claimed_ends_at, row.claim_differs, row.incomplete) == (None, day(40), False, True)


def test_a_reward_goes_by_its_first_name_and_has_a_text_for_each_language() -> None:
    texts = (RewardText("en"), RewardText("fr", "Café"))

    tables = rows_of(REWARDS, on(1, created(texts=texts)))

    assert tables["rewards"][0].name == "Café"
    assert [(row.ordinal, row.language, row.name) for row in tables["reward_texts"]] == [
        (1, "en", None),
        (2, "fr", "Café"),
    ]
