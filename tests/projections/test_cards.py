from typing import Any

from ledger.facts.cards import CardUpdated
from projections.cards import CARDS
from tests.support.fold_helpers import day, on, row_of


def updated(**more: Any) -> CardUpdated:
    return CardUpdated(card="capillary:1:c1", **more)


def test_a_card_is_suspended() -> None:
    row = row_of(CARDS, on(1, updated(status="SUSPENDED", previous_status="ACTIVE", fields=("limit_set_by",))))

    assert (row.status, row.previous_status, row.status_since) == ("SUSPENDED", "ACTIVE", day(1))
    assert (row.fields, row.gap) == (["limit_set_by"], False)


def test_the_last_status_by_time_holds_however_late_an_earlier_one_comes() -> None:
    row = row_of(
        CARDS, on(9, updated(status="ACTIVE", previous_status="SUSPENDED")), on(4, updated(status="SUSPENDED"))
    )

    assert (row.status, row.status_since, row.gap) == ("ACTIVE", day(9), False)


def test_a_status_before_that_is_not_the_one_we_had_is_a_gap() -> None:
    row = row_of(CARDS, on(1, updated(status="ACTIVE")), on(2, updated(status="DELETED", previous_status="EXPIRED")))

    assert (row.status, row.previous_status, row.gap) == ("DELETED", "EXPIRED", True)


def test_fields_change_without_the_status() -> None:
    row = row_of(CARDS, on(1, updated(status="ACTIVE", fields=("a",))), on(2, updated(fields=("a", "b"))))

    assert (row.status, row.status_since, row.fields, row.updated_at) == ("ACTIVE", day(1), ["a", "b"], day(2))


def test_fields_that_are_not_mentioned_stay_and_emptied_ones_go() -> None:
    row = row_of(CARDS, on(1, updated(fields=("a",))), on(2, updated(status="ACTIVE")))
    emptied = row_of(CARDS, on(1, updated(fields=("a",))), on(2, updated(fields=())))

    assert row.fields == ["a"]
    assert emptied.fields == []
