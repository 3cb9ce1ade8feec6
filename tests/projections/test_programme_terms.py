"""Programme terms: the day of lots for which the vendor names none, and late reversals."""

# Exact decimals are compared with whole numbers here.
# mypy: disable-error-code="comparison-overlap"

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.facts import Fact
from ledger.facts.terms import ExpiryRule, ProgrammeTermsSet
from projections.accounts import ACCOUNTS
from projections.accounts.account import Account
from projections.definition import fold
from projections.engine.snapshots import decode_state, encode_state
from projections.programme_terms import ProgrammeTerms, Terms, end_of_day, period_end
from tests.support.account_facts import days, expired, given_back, issued, lots, on_day, received, redeemed
from tests.support.fold_helpers import day

GOLD = "capillary:1:gold"


def version(name: str = "v1", since: datetime | None = None, **terms: Any) -> ProgrammeTermsSet:
    """Build terms of the programme gold, in effect from the day before the first fact by default."""
    given = {"time_zone": "UTC", **terms}
    return ProgrammeTermsSet(programme=GOLD, version=name, effective_from=since or day(0), **given)


def fixed(**period: Any) -> ExpiryRule:
    return ExpiryRule("fixed", **period)


def sliding(**period: Any) -> ExpiryRule:
    return ExpiryRule("sliding", **period)


def account(facts: list[Fact], *versions: ProgrammeTermsSet) -> Account:
    """Fold one fact a day under terms: at once, and with an encoded state after each."""
    terms = Terms.of_facts(versions)
    told = days(*facts)
    state = ACCOUNTS.start()
    for one in told:
        state = fold(ACCOUNTS, [one], decode_state(ACCOUNTS, encode_state(state)), terms)
    at_once = fold(ACCOUNTS, told, None, terms)
    assert state == at_once
    (only,) = at_once.accounts.values()
    assert isinstance(only, Account)
    return only


# ---- periods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earned", "rule", "last"),
    [
        (date(2024, 1, 31), fixed(months=1), date(2024, 2, 29)),
        (date(2023, 1, 31), fixed(months=1), date(2023, 2, 28)),
        (date(2024, 2, 29), fixed(months=12), date(2025, 2, 28)),
        (date(2024, 1, 10), fixed(days=30), date(2024, 2, 9)),
        (date(2024, 1, 10), fixed(months=12, until="month"), date(2025, 1, 31)),
        (date(2024, 1, 31), fixed(months=12, until="month"), date(2025, 1, 31)),
        (date(2024, 2, 1), fixed(months=1, until="quarter"), date(2024, 3, 31)),
        (date(2024, 6, 30), fixed(months=1, until="half"), date(2024, 12, 31)),
        (date(2024, 6, 30), fixed(until="half"), date(2024, 6, 30)),
        (date(2024, 3, 5), fixed(months=36, until="year"), date(2027, 12, 31)),
        (date(2024, 3, 5), fixed(until="march"), date(2024, 3, 31)),
        (date(2024, 4, 5), fixed(until="march"), date(2025, 3, 31)),
        (date(2024, 4, 5), fixed(months=24, until="february"), date(2027, 2, 28)),
    ],
)
def test_a_period_ends_on_the_last_day_it_reaches(earned: date, rule: ExpiryRule, last: date) -> None:
    assert period_end(earned, rule) == last


@pytest.mark.parametrize(
    ("zone", "last", "over"),
    [
        ("UTC", date(2024, 5, 31), datetime(2024, 6, 1, tzinfo=UTC)),
        ("Asia/Kolkata", date(2024, 5, 31), datetime(2024, 5, 31, 18, 30, tzinfo=UTC)),
        ("Europe/Berlin", date(2024, 3, 31), datetime(2024, 3, 31, 22, tzinfo=UTC)),  # 23 hours long
        ("Europe/Berlin", date(2024, 10, 27), datetime(2024, 10, 27, 23, tzinfo=UTC)),  # 25 hours long
        ("America/Sao_Paulo", date(2018, 11, 3), datetime(2018, 11, 4, 3, tzinfo=UTC)),  # its midnight was left out
        ("Atlantic/Azores", date(2024, 10, 26), datetime(2024, 10, 27, tzinfo=UTC)),  # its midnight came twice
        ("UTC", date(9999, 12, 31), None),
    ],
)
def test_a_day_is_over_when_it_is_over_in_the_programmes_zone(zone: str, last: date, over: datetime | None) -> None:
    assert end_of_day(last, zone) == over


# ---- rules and versions ----------------------------------------------------------------------------------------------


def test_a_lot_without_a_day_takes_it_from_the_rule_and_states_from_which() -> None:
    of = account([issued(10)], version(expiry=fixed(days=30)))

    assert lots(of, "expires_on", "rule") == [(date(2024, 1, 31), "v1")]


def test_a_day_that_the_vendor_states_always_wins() -> None:
    of = account([issued(10, lapses=on_day(2))], version(expiry=fixed(days=30)))

    assert lots(of, "expires_on", "rule") == [(on_day(2), None)]


def test_a_vendors_day_ends_in_the_programmes_zone() -> None:
    of = account([issued(10, lapses=date(2024, 5, 31))], version(time_zone="Asia/Kolkata"))

    (lot,) = of.lots.values()
    assert lot.lapses_at == datetime(2024, 5, 31, 18, 30, tzinfo=UTC)


def test_a_lot_lapses_before_an_older_lot_of_the_same_day_in_a_zone_further_west() -> None:
    of = account(
        [issued(10, lapses=on_day(5)), issued(20, lapses=on_day(5)), issued(1), issued(1), issued(1)],
        version("v1", time_zone="UTC"),
        version("v2", since=day(2), time_zone="Pacific/Kiritimati"),  # noon of day 5 in UTC is 2 o'clock of day 6 there
    )

    assert (of.classes["available"], of.classes["lapsed"]) == (13, 20)


def test_points_are_earned_on_the_day_of_the_programmes_zone() -> None:
    of = account([issued(10)], version(time_zone="Pacific/Kiritimati", expiry=fixed(days=1)))  # noon, there 2 o'clock

    assert lots(of, "expires_on") == [(date(2024, 1, 3),)]


def test_a_later_rule_changes_no_older_lot() -> None:
    of = account(
        [issued(10), issued(20), issued(30)],
        version("v1", expiry=fixed(days=30)),
        version("v2", since=day(3), expiry=fixed(days=60)),
    )

    assert lots(of, "points", "expires_on", "rule") == [
        (10, date(2024, 1, 31), "v1"),
        (20, date(2024, 2, 1), "v1"),
        (30, date(2024, 3, 3), "v2"),
    ]


def test_a_later_rule_changes_older_lots_when_asked_to() -> None:
    of = account(
        [issued(10), issued(30)],
        version("v1", expiry=fixed(days=30)),
        version("v2", since=day(2), expiry=fixed(days=60), existing_lots=True),
    )

    assert lots(of, "expires_on", "rule") == [(date(2024, 3, 1), "v2"), (date(2024, 3, 2), "v2")]


def test_a_later_rule_wakes_nothing_that_had_lapsed() -> None:
    of = account(
        [issued(10), issued(1), issued(1), issued(1)],
        version("v1", expiry=fixed(days=1)),
        version("v2", since=day(4), expiry=fixed(days=60), existing_lots=True),
    )

    assert lots(of, "expires_on", "rule")[0] == (date(2024, 1, 2), "v1")
    assert of.classes["lapsed"] == 11  # the lots of the first and second day


def test_a_shorter_rule_ends_no_day_before_it_was_set() -> None:
    of = account(
        [issued(10), issued(1), issued(1), issued(1)],
        version("v1", expiry=fixed(days=300)),
        version("v2", since=day(4) - timedelta(hours=12), expiry=fixed(days=1), existing_lots=True),
    )

    assert lots(of, "expires_on")[0] == (date(2024, 1, 4),)
    assert of.available == 13


def test_before_the_first_version_nothing_holds() -> None:
    of = account([issued(10)], version(since=day(2), expiry=fixed(days=30)))

    assert lots(of, "expires_on", "rule") == [(None, None)]


def test_asserted_points_take_no_day_from_a_fixed_rule_for_nobody_knows_when_they_were_earned() -> None:
    of = account([issued(60, claims=165)], version(expiry=fixed(days=30)))

    assert lots(of, "origin", "expires_on") == [("opening", None), ("regular", date(2024, 1, 31))]


def test_of_two_versions_from_the_same_day_the_later_reported_one_holds() -> None:
    of = account([issued(10)], version("v1", expiry=fixed(days=30)), version("v2", expiry=fixed(days=60)))

    assert lots(of, "rule") == [("v2",)]


# ---- sliding ---------------------------------------------------------------------------------------------------------


def test_an_activity_begins_the_period_anew() -> None:
    of = account([issued(10), received(5), redeemed(3)], version(expiry=sliding(days=30)))

    assert lots(of, "remaining", "expires_on") == [(7, date(2024, 2, 2)), (5, date(2024, 2, 2))]


def test_without_activity_all_lapses_together() -> None:
    of = account([issued(10), issued(5), *[expired(0)] * 3], version(expiry=sliding(days=2)))

    assert (of.available, of.classes["lapsed"]) == (0, 15)


def test_spending_does_not_begin_a_period_that_only_earning_does() -> None:
    of = account([issued(10), redeemed(3)], version(expiry=sliding(days=30, activities=("earning",))))

    assert lots(of, "expires_on") == [(date(2024, 1, 31),)]


def test_an_opening_slides_with_the_rest() -> None:
    of = account([issued(60, claims=165), issued(1)], version(expiry=sliding(days=30)))

    assert set(lots(of, "expires_on")) == {(date(2024, 2, 1),)}


# ---- reversals of redemptions whose points have lapsed ---------------------------------------------------------------

LATE = [issued(10, lapses=on_day(2)), redeemed(10), issued(1), given_back(10)]


def test_a_late_reversal_lapses_at_once_unless_terms_state_otherwise() -> None:
    of = account(LATE, version())

    assert (of.available, of.classes["expired"], of.classes["redeemed"]) == (1, 10, 0)


def test_a_late_reversal_goes_back_to_its_lapsed_lot_and_awaits_the_vendors_report() -> None:
    of = account(LATE, version(reversal_after_expiry="original"))
    reported = account([*LATE, expired(10)], version(reversal_after_expiry="original"))

    assert (of.available, of.classes["lapsed"], lots(of, "remaining")[0]) == (1, 10, (10,))
    assert (reported.available, reported.classes["lapsed"], reported.classes["expired"]) == (1, 0, 10)


def test_a_late_reversal_may_be_given_some_days_of_grace() -> None:
    of = account(LATE, version(reversal_after_expiry="grace", reversal_grace_days=14))

    assert (of.available, of.classes["redeemed"]) == (11, 0)
    assert lots(of, "origin", "remaining", "expires_on")[-1] == ("reversal", 10, date(2024, 1, 18))


# ---- what a point is worth -------------------------------------------------------------------------------------------


def test_a_point_is_worth_what_the_version_of_the_day_states() -> None:
    terms = Terms.of_facts(
        [
            version("v1", datetime(2024, 1, 1, tzinfo=UTC), points_to_currency=Decimal("0.5"), currency="INR"),
            version("v2", datetime(2025, 1, 1, tzinfo=UTC), points_to_currency=Decimal("0.4"), currency="INR"),
        ]
    )

    assert terms.ratio(GOLD, date(2023, 12, 31)) is None
    assert terms.ratio(GOLD, date(2024, 12, 31)) == (Decimal("0.5"), "INR")
    assert terms.ratio(GOLD, date(2025, 1, 1)) == (Decimal("0.4"), "INR")
    assert terms.ratio("capillary:1:silver", date(2025, 1, 1)) is None


def test_terms_know_the_zone_and_the_patience_with_transfers() -> None:
    terms = Terms.of_facts([version(time_zone="Asia/Kolkata", transfer_grace_days=5)])

    assert (terms.zone(GOLD, day(1)), terms.zone("capillary:1:silver", day(1))) == ("Asia/Kolkata", "UTC")
    assert terms.transfer_grace(GOLD, day(1)) == timedelta(days=5)
    assert terms.transfer_grace("capillary:1:silver", day(1)) == timedelta(days=2)
    assert ProgrammeTerms([]).day_of(day(1), day(1)) is None
