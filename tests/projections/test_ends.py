"""End of validity: expired from the first instant after the end, in the time zone of the programme."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ledger.facts.terms import ExpiryRule, ProgrammeTermsSet
from projections.programme_terms import NO_TERMS, Terms
from projections.queries.validity_ends import TimeZones, row_as_at

NOWHERE = TimeZones(NO_TERMS)
LAST_DAY = date(2026, 1, 31)


def terms(programme: str, zone: str) -> ProgrammeTermsSet:
    return ProgrammeTermsSet(
        programme=programme,
        version=f"{programme} {zone}",
        effective_from=datetime(2020, 1, 1, tzinfo=UTC),
        time_zone=zone,
        expiry=ExpiryRule(kind="never"),
        by="jane",
    )


JAKARTA = TimeZones(Terms.of_facts([terms("capillary:1:9", "Asia/Jakarta")]))
TWO_ZONES = TimeZones(
    Terms.of_facts([terms("capillary:1:9", "Asia/Jakarta"), terms("capillary:1:8", "America/New_York")])
)


def status(table: str, at: datetime, zones: TimeZones = NOWHERE, **row: Any) -> str:
    return str(row_as_at(table, {"id": "capillary:1:x", **row}, at, zones)["status"])


ROWS = [
    ("coupons", {"status": "issued", "valid_through": LAST_DAY}, "issued"),
    ("coupons", {"status": "partly_redeemed", "valid_through": LAST_DAY}, "partly_redeemed"),
    ("partner_memberships", {"status": "linked", "until": LAST_DAY}, "linked"),
    ("promotions", {"ends_on": LAST_DAY}, "active"),
    ("promotion_issuals", {"status": "issued", "expires_on": LAST_DAY}, "issued"),
    ("promotions_earned", {"status": "earned", "expires_on": LAST_DAY}, "earned"),
    ("tiers", {"tier": "2", "until": LAST_DAY}, "current"),
    ("tier_history", {"tier": "2", "left_at": None, "until": LAST_DAY}, "current"),
    ("rewards", {"enabled": True, "ends_at": datetime(2026, 1, 31, 23, 59, 59, 999_999, UTC)}, "active"),
    ("streaks", {"status": "running", "ends_local": "2026-01-31 23:59:59.999999"}, "running"),
]


@pytest.mark.parametrize(("table", "row", "before"), ROWS)
def test_it_lasts_to_the_end_of_its_last_day(table: str, row: dict[str, Any], before: str) -> None:
    end = datetime(2026, 2, 1, tzinfo=UTC)

    assert status(table, end - timedelta(microseconds=1), **row) == before
    assert status(table, end, **row) == "expired"


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("coupons", {"status": "redeemed", "valid_through": LAST_DAY}),
        ("partner_memberships", {"status": "delinked", "until": LAST_DAY}),
        ("promotion_issuals", {"status": "revoked", "expires_on": LAST_DAY}),
        ("promotions_earned", {"status": "redeemed", "expires_on": LAST_DAY}),
        ("streaks", {"status": "unenrolled", "ends_local": "2026-01-31 23:59:59"}),
    ],
)
def test_what_is_over_for_another_reason_does_not_expire(table: str, row: dict[str, Any]) -> None:
    assert status(table, datetime(2027, 1, 1, tzinfo=UTC), **row) == row["status"]


def test_a_day_ends_in_the_time_zone_of_the_programme() -> None:
    over = datetime(2026, 1, 31, 17, tzinfo=UTC)  # midnight in Jakarta
    row = {"tier": "2", "until": LAST_DAY, "programme": "9"}

    assert status("tiers", over - timedelta(seconds=1), JAKARTA, **row) == "current"
    assert status("tiers", over, JAKARTA, **row) == "expired"


def test_without_a_programme_a_day_ends_where_the_whole_organisation_is() -> None:
    over = datetime(2026, 1, 31, 17, tzinfo=UTC)
    row = {"status": "issued", "valid_through": LAST_DAY}

    assert status("coupons", over, JAKARTA, **row) == "expired"
    assert status("coupons", over, TWO_ZONES, **row) == "issued"  # no single time zone: UTC


def test_a_far_day_means_never() -> None:
    assert (
        row_as_at(
            "tiers",
            {"id": "c:1:x", "tier": "2", "until": date(9999, 12, 31)},
            datetime.max.replace(tzinfo=UTC),
            NOWHERE,
        )["expires_at"]
        is None
    )


def test_what_was_earned_of_a_promotion_without_an_end_of_its_own_ends_with_the_promotion() -> None:
    row = {"id": "c:1:x", "status": "earned", "expires_on": None}
    parent = {"ends_on": LAST_DAY, "programme": "9"}

    assert row_as_at("promotions_earned", row, datetime(2026, 2, 1, tzinfo=UTC), NOWHERE, parent)["status"] == "expired"


def test_the_tier_in_a_partner_programme_may_end_before_the_membership() -> None:
    row = {"id": "c:1:x", "status": "linked", "until": date(2030, 1, 1), "tier": "2", "tier_until": LAST_DAY}

    shown = row_as_at("partner_memberships", row, datetime(2026, 2, 1, tzinfo=UTC), NOWHERE)

    assert (shown["status"], shown["tier_status"]) == ("linked", "expired")
