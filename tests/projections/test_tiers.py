from datetime import date
from typing import Any

import pytest

from ledger.facts.merges import TierAfterMerge
from ledger.facts.tiers import TierClaimed, TierDowngraded, TierJoined, TierLeft, TierRenewed, TierUpgraded
from projections.tiers import TIERS
from tests.support.fold_helpers import day, on, row_of, rows_of
from tests.support.interpretation import deliver, sample

WHO: dict[str, Any] = {"customer": "capillary:1:ann", "programme": "9"}


def upgraded(tier: str, previous: str | None = None, **more: Any) -> TierUpgraded:
    return TierUpgraded(**WHO, tier=tier, previous=previous, **more)


def downgraded(tier: str, previous: str | None = None, **more: Any) -> TierDowngraded:
    return TierDowngraded(**WHO, tier=tier, previous=previous, **more)


def renewed(tier: str, **more: Any) -> TierRenewed:
    return TierRenewed(**WHO, tier=tier, **more)


def claimed(tier: str, **more: Any) -> TierClaimed:
    return TierClaimed(**WHO, tier=tier, **more)


def test_an_upgrade_ends_the_stay_before() -> None:
    told = [on(1, upgraded("2", "1")), on(5, upgraded("3", "2", tier_name="Gold", until=date(2025, 1, 31)))]

    row = row_of(TIERS, *told)
    history = rows_of(TIERS, *told)["tier_history"]

    assert (row.tier, row.tier_name, row.since, row.until) == ("3", "Gold", day(5), date(2025, 1, 31))
    assert (row.reason, row.previous, row.gap) == ("upgraded", "2", False)
    assert [(stay.tier, stay.since, stay.left_at) for stay in history] == [("2", day(1), day(5)), ("3", day(5), None)]
    assert [stay.ordinal for stay in history] == [1, 2]


def test_a_late_upgrade_takes_its_place_in_the_history() -> None:
    told = [on(9, downgraded("1", "2")), on(2, upgraded("2", "1"), position=50)]

    history = rows_of(TIERS, *told)["tier_history"]

    assert [(stay.tier, stay.since, stay.left_at) for stay in history] == [("2", day(2), day(9)), ("1", day(9), None)]
    assert row_of(TIERS, *told).last_position == 50


def test_a_renewal_prolongs_the_stay_and_opens_no_other() -> None:
    told = [
        on(1, upgraded("2", until=date(2024, 12, 31))),
        on(300, renewed("2", until=date(2025, 12, 31), note="by spend")),
    ]

    row = row_of(TIERS, *told)
    (stay,) = rows_of(TIERS, *told)["tier_history"]

    assert (row.since, row.until, row.renewals, row.renewed_at) == (day(1), date(2025, 12, 31), 1, day(300))
    assert (stay.reason, stay.left_at, stay.note) == ("upgraded", None, "by spend")


def test_a_renewal_heard_of_first_is_a_stay_begun_unseen() -> None:
    row = row_of(TIERS, on(3, renewed("2")))

    assert (row.tier, row.since, row.reason, row.gap) == ("2", None, "renewed", False)


def test_a_renewal_of_another_tier_shows_that_something_was_missed() -> None:
    told = [on(1, upgraded("2")), on(3, renewed("3"))]

    row = row_of(TIERS, *told)
    history = rows_of(TIERS, *told)["tier_history"]

    assert (row.tier, row.since, row.gap) == ("3", None, True)
    assert [stay.gap for stay in history] == [False, True]


def test_a_tier_before_that_we_did_not_know_of_is_a_gap_and_the_change_holds() -> None:
    row = row_of(TIERS, on(1, upgraded("2", "1")), on(5, upgraded("4", "3")))

    assert (row.tier, row.previous, row.gap, row.contradiction) == ("4", "3", True, False)


def test_an_upgrade_from_a_tier_into_itself_is_taken_and_flagged() -> None:
    row = row_of(TIERS, on(1, upgraded("2", "2", until_unreadable=True)))

    assert (row.tier, row.contradiction, row.gap) == ("2", True, False)
    assert (row.until, row.until_unreadable) == (None, True)


def test_an_upgrade_that_two_events_report_alike_is_one_stay_without_a_gap() -> None:
    told = on(1, upgraded("2", "1"))
    again = told._replace(occurrence=told.occurrence._replace(position=2, event_tag=bytes(16)))

    row = row_of(TIERS, told, again)

    assert (row.tier, row.gap) == ("2", False)
    assert len(rows_of(TIERS, told, again)["tier_history"]) == 1


def test_a_reminder_changes_no_tier() -> None:
    told = [on(1, upgraded("2")), on(5, claimed("2", downgrade_on=date(2024, 2, 1)))]

    row = row_of(TIERS, *told)

    assert (row.tier, row.claimed_tier, row.claim_differs) == ("2", "2", False)
    assert row.downgrade_on == date(2024, 2, 1)
    assert len(rows_of(TIERS, *told)["tier_history"]) == 1


def test_a_reminder_of_another_tier_is_a_difference() -> None:
    row = row_of(TIERS, on(1, upgraded("2")), on(5, claimed("3")))

    assert (row.tier, row.claimed_tier, row.claim_differs) == ("2", "3", True)


@pytest.mark.parametrize(
    ("day", "differs"),
    [
        (date(2024, 5, 11), True),
        (date(2024, 5, 12), False),
        (date(2024, 5, 13), False),
        (date(2024, 5, 14), True),
        (None, False),
    ],
)
def test_a_reminder_of_another_day_than_the_tier_ends_on_is_a_difference(day: date | None, differs: bool) -> None:
    told = [on(1, upgraded("2", until=date(2024, 5, 12))), on(5, claimed("2", downgrade_on=day))]

    assert row_of(TIERS, *told).claim_differs is differs


def test_a_reminder_alone_puts_nobody_into_a_tier() -> None:
    told = on(1, claimed("3"))

    row = row_of(TIERS, told)

    assert (row.tier, row.reason, row.claimed_tier, row.claim_differs) == (None, None, "3", True)
    assert rows_of(TIERS, told)["tier_history"] == []


def test_a_renewal_calls_off_the_downgrade_that_was_announced() -> None:
    row = row_of(
        TIERS,
        on(1, upgraded("2")),
        on(5, claimed("2", downgrade_on=date(2024, 2, 1))),
        on(6, renewed("2", until=date(2025, 2, 1))),
    )

    assert (row.downgrade_on, row.claimed_tier, row.until) == (None, None, date(2025, 2, 1))


def test_a_merge_into_the_same_tier_changes_nothing() -> None:
    merged = TierAfterMerge(**WHO, tier="3")

    row = row_of(TIERS, on(1, upgraded("3", until=date(2025, 1, 1))), on(5, merged))

    assert (row.tier, row.since, row.reason, row.until) == ("3", day(1), "upgraded", date(2025, 1, 1))


def test_a_merge_lifts_the_survivor_into_the_tier_it_names() -> None:
    merged = TierAfterMerge(**WHO, tier="3")

    row = row_of(TIERS, on(1, upgraded("2")), on(5, merged))

    assert (row.tier, row.since, row.reason, row.gap) == ("3", day(5), "merged", False)


def test_who_leaves_is_in_no_tier() -> None:
    told = [on(1, TierJoined(**WHO, tier="2", tier_name="Silver")), on(5, TierLeft(**WHO, tier="2"))]

    row = row_of(TIERS, *told)
    (stay,) = rows_of(TIERS, *told)["tier_history"]

    assert (row.tier, row.tier_name, row.reason, row.since, row.previous) == (None, None, "left", day(5), "2")
    assert (stay.reason, stay.since, stay.left_at) == ("joined", day(1), day(5))


def test_leaving_the_old_tier_after_the_new_was_entered_ends_nothing() -> None:
    row = row_of(
        TIERS,
        on(1, TierJoined(**WHO, tier="2")),
        on(5, upgraded("3", "2")),
        on(6, TierLeft(**WHO, tier="2")),
    )

    assert (row.tier, row.since, row.gap) == ("3", day(5), False)


def test_leaving_a_tier_never_entered_tells_of_a_stay_unseen() -> None:
    told = [on(1, upgraded("3")), on(5, TierLeft(**WHO, tier="2"))]

    row = row_of(TIERS, *told)
    history = rows_of(TIERS, *told)["tier_history"]

    assert (row.tier, row.gap) == ("3", True)
    assert [(stay.tier, stay.since, stay.left_at) for stay in history] == [("2", None, day(5)), ("3", day(1), None)]


def test_who_comes_back_after_leaving_begins_anew() -> None:
    row = row_of(
        TIERS,
        on(1, TierJoined(**WHO, tier="2")),
        on(5, TierLeft(**WHO, tier="2")),
        on(9, TierJoined(**WHO, tier="1")),
    )

    assert (row.tier, row.since, row.reason, row.gap) == ("1", day(9), "joined", False)


def test_the_four_published_events_share_an_id_and_all_land() -> None:
    names = ("tierDowngraded", "tierRenewed", "tierUpgraded", "tierDowngradeReminder")
    delivered = [deliver("capillary", sample(f"capillary/{name}"))[0] for name in names]

    row = row_of(TIERS, *(told for event in delivered for told in event.meaning.facts))
    history = rows_of(TIERS, *(told for event in delivered for told in event.meaning.facts))["tier_history"]

    assert len({event.draft.event_key for event in delivered}) == 4
    assert [(stay.reason, stay.renewals, stay.contradiction) for stay in history] == [
        ("downgraded", 1, True),
        ("upgraded", 0, True),
    ]
    assert (row.tier, row.until, row.until_unreadable, row.claimed_tier) == ("1676", None, True, "1676")
