from datetime import date
from typing import Any

from ledger.facts.partner_memberships import PartnerDelinked, PartnerExpiryClaimed, PartnerLinked, PartnerUpdated
from projections.partner_memberships import PARTNER_MEMBERSHIPS
from tests.support.fold_helpers import day, on, row_of, rows_of

WHO: dict[str, Any] = {"customer": "capillary:1:ann", "programme": "9", "partner_programme": "45"}


def linked(**more: Any) -> PartnerLinked:
    return PartnerLinked(**WHO, **more)


def updated(**more: Any) -> PartnerUpdated:
    return PartnerUpdated(**WHO, **more)


def delinked() -> PartnerDelinked:
    return PartnerDelinked(**WHO)


def test_a_membership_may_last_a_hundred_years() -> None:
    row = row_of(PARTNER_MEMBERSHIPS, on(1, linked(until=date(2123, 5, 12), partner_name="Drivers")))

    assert (row.status, row.linked_at, row.until) == ("linked", day(1), date(2123, 5, 12))
    assert (row.partner_name, row.links, row.gap) == ("Drivers", 1, False)


def test_an_update_moves_the_member_within_the_partner_programme() -> None:
    row = row_of(
        PARTNER_MEMBERSHIPS,
        on(1, linked(until=date(2030, 1, 1))),
        on(2, updated(tier="2", tier_until=date(2025, 6, 29), has_number=True, update_type="UPGRADE")),
    )

    assert (row.tier, row.tier_until, row.until) == ("2", date(2025, 6, 29), date(2030, 1, 1))
    assert (row.has_number, row.gap) == (True, False)


def test_the_end_of_a_membership_is_kept() -> None:
    row = row_of(PARTNER_MEMBERSHIPS, on(1, linked()), on(5, delinked()))

    assert (row.status, row.linked_at, row.delinked_at) == ("delinked", day(1), day(5))


def test_linking_anew_opens_a_new_interval() -> None:
    told = [on(1, linked(tier="3")), on(5, delinked()), on(9, linked(until=date(2025, 1, 1)))]

    row = row_of(PARTNER_MEMBERSHIPS, *told)
    history = rows_of(PARTNER_MEMBERSHIPS, *told)["partner_membership_history"]

    assert (row.status, row.linked_at, row.delinked_at, row.links) == ("linked", day(9), None, 2)
    assert (row.tier, row.gap) == (None, False)
    assert [(stay.linked_at, stay.delinked_at, stay.tier) for stay in history] == [
        (day(1), day(5), "3"),
        (day(9), None, None),
    ]


def test_an_end_without_a_link_is_recorded() -> None:
    told = on(5, delinked())

    row = row_of(PARTNER_MEMBERSHIPS, told)
    (stay,) = rows_of(PARTNER_MEMBERSHIPS, told)["partner_membership_history"]

    assert (row.status, row.linked_at, row.delinked_at, row.gap) == ("delinked", None, day(5), True)
    assert (stay.linked_at, stay.delinked_at) == (None, day(5))


def test_a_late_link_fills_the_gap() -> None:
    row = row_of(PARTNER_MEMBERSHIPS, on(5, delinked()), on(1, linked(), position=9))

    assert (row.status, row.linked_at, row.gap, row.last_position) == ("delinked", day(1), False, 9)


def test_an_update_without_a_link_tells_that_there_was_one() -> None:
    row = row_of(PARTNER_MEMBERSHIPS, on(5, updated(tier="2")))

    assert (row.status, row.linked_at, row.tier, row.gap) == ("linked", None, "2", True)


def test_a_link_while_linked_goes_on_with_what_is_reported_now() -> None:
    row = row_of(PARTNER_MEMBERSHIPS, on(1, linked(until=date(2025, 1, 1))), on(5, linked(until=date(2026, 1, 1))))

    assert (row.linked_at, row.until, row.links, row.gap) == (day(1), date(2026, 1, 1), 1, True)


def test_a_link_that_two_events_report_alike_leaves_no_gap() -> None:
    told = on(1, linked(until=date(2025, 1, 1)))
    again = told._replace(occurrence=told.occurrence._replace(position=2, event_tag=bytes(16)))

    row = row_of(PARTNER_MEMBERSHIPS, told, again)

    assert (row.links, row.gap, row.until) == (1, False, date(2025, 1, 1))


def test_a_reminder_changes_nothing() -> None:
    claimed = PartnerExpiryClaimed(**WHO, expires_on=date(2025, 1, 1))

    row = row_of(PARTNER_MEMBERSHIPS, on(1, linked(until=date(2025, 1, 1))), on(5, claimed))

    assert (row.status, row.until, row.claimed_expires_on) == ("linked", date(2025, 1, 1), date(2025, 1, 1))
    assert not row.claim_differs


def test_a_reminder_of_another_day_is_a_difference() -> None:
    claimed = PartnerExpiryClaimed(**WHO, expires_on=date(2024, 3, 1))

    row = row_of(PARTNER_MEMBERSHIPS, on(1, linked(until=date(2025, 1, 1))), on(5, claimed))

    assert (row.until, row.claim_differs) == (date(2025, 1, 1), True)


def test_a_reminder_alone_makes_nobody_a_member() -> None:
    told = on(5, PartnerExpiryClaimed(**WHO, expires_on=date(2024, 3, 1)))

    row = row_of(PARTNER_MEMBERSHIPS, told)

    assert (row.status, row.links, row.gap, row.claim_differs) == ("unknown", 0, False, True)
    assert rows_of(PARTNER_MEMBERSHIPS, told)["partner_membership_history"] == []
