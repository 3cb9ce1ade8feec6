"""Sentences of the console about points, and the geometry of its charts."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.facts import FACTS
from service.console.charts import lot_bar, step_chart
from service.console.formats import format_fact, format_points, format_signed
from service.console.sentences import FATES, FOR_CUSTOMER, customer_sentence, losses_of
from service.queries.account_overview import BalanceAt

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
WITHOUT_FACT = {"Lapsed", "Opening", "Merged", "MergedAway", "Unmerged", "UnmergedAway"}
MINUS = "\N{MINUS SIGN}"


def line(kind: str, points: str, balance: str, *postings: tuple[str, str, str, str | None]) -> dict[str, Any]:
    return {
        "kind": kind,
        "occurred_at": NOON,
        "points": Decimal(points),
        "balance": Decimal(balance),
        "postings": [dict(zip(("from", "to", "points", "lot"), posting, strict=True)) for posting in postings],
    }


def test_every_kind_with_a_sentence_is_a_kind_of_statement_line() -> None:
    kinds = {fact.__name__ for fact in FACTS if fact.subject_kind == "account"} | WITHOUT_FACT

    assert kinds >= FATES.keys() | FOR_CUSTOMER.keys()


def test_a_loss_names_the_lots_that_it_took_points_from() -> None:
    first, second = ("available", "redeemed", "50", "lot-1"), ("available", "redeemed", "20", "lot-2")
    spent = line("Redeemed", "-70", "30", first, second)

    [loss] = losses_of([line("Issued", "100", "100"), spent], {})

    assert loss.sentence == "On 1 Mar 2024, 70 points were spent."
    assert [(one.lot_id, one.points) for one in loss.lots] == [("lot-1", Decimal(50)), ("lot-2", Decimal(20))]


def test_a_lapse_is_named_by_the_last_day_of_its_lot() -> None:
    lapse = line("Lapsed", "-60", "0", ("available", "lapsed", "60", "lot-1"))

    [loss] = losses_of([lapse], {"lot-1": {"expires_on": date(2024, 2, 29)}})

    assert loss.sentence == "At the end of 29 Feb 2024, 60 points lapsed unspent."


@pytest.mark.parametrize(
    ("kind", "points", "sentence"),
    [
        ("Issued", "1250.5", "On 1 Mar 2024, you earned 1,250.5 points. Your balance was then 2,000."),
        ("Redeemed", "-500", "On 1 Mar 2024, you spent 500 points. Your balance was then 2,000."),
        ("ExpiryMoved", "0", "Nothing changed in your balance."),
        ("Other", "-1", f"On 1 Mar 2024, your balance changed by {MINUS}1 points. Your balance was then 2,000."),
    ],
)
def test_the_sentence_for_a_customer_holds_no_word_of_this_software(kind: str, points: str, sentence: str) -> None:
    assert customer_sentence(line(kind, points, "2000")) == sentence


def test_points_are_written_exactly() -> None:
    assert format_points(Decimal("1234567.50")) == "1,234,567.5"
    assert format_points(Decimal("-0.25")) == f"{MINUS}0.25"
    assert format_signed(Decimal(20)) == "+20"
    assert format_points(None) == "\N{EN DASH}"


def test_a_balance_is_drawn_as_steps_down_to_its_lowest_value() -> None:
    course = [BalanceAt(NOON, Decimal(100)), BalanceAt(NOON + timedelta(hours=1), Decimal(-50))]

    chart = step_chart(course, NOON + timedelta(hours=2))

    assert chart is not None
    assert [int(level) for level in chart.levels] == [100, 50, 0, -50]
    assert chart.lowest == -50
    assert chart.line == "M0 0.0H0.0V0.0H500.0V200.0H1000"
    assert chart.zero == 133.3


def test_a_long_history_is_drawn_with_few_steps_and_all_extremes() -> None:
    course = [BalanceAt(NOON + timedelta(minutes=n), Decimal(n % 7)) for n in range(20_000)]
    course[11_234] = course[11_234]._replace(balance=Decimal(999))

    chart = step_chart(course, course[-1].at)

    assert chart is not None
    assert [int(level) for level in chart.levels] == [1000, 750, 500, 250, 0]
    assert chart.highest == 999
    assert "V0.2" in chart.line
    assert chart.steps.count(";") <= 400
    assert chart.line.count("H") < 5_000


def test_the_bar_of_a_lot_shows_the_fate_of_all_its_points() -> None:
    lot = {name: Decimal(0) for name in ("redeemed", "sent", "removed", "returned", "expired", "remaining")}
    parts = lot_bar({**lot, "redeemed": Decimal(30), "remaining": Decimal(20), "status": "lapsed"}, Decimal(100))

    assert [(part.name, part.start, part.width) for part in parts] == [("used", 0.0, 30.0), ("lapsed", 30.0, 20.0)]


def test_the_kind_of_a_change_is_written_as_words() -> None:
    assert [format_fact(kind) for kind in ("Issued", "TransferSent")] == ["Issued", "Transfer sent"]
