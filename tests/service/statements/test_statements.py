"""Statements of others: read as people write them, matched with ours, each record once, both sides' leftovers told."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine.worker import catch_up
from service.statements.columns import StatementLayout, StatementRecord, UnreadableLine, parse_number, read_records
from service.statements.compare import ComparisonRules, StatementComparison, StatementFinding, compare_statement
from service.statements.match import EntryPair, StatementEntry, match_entries
from tests.support.payloads import VAULT, delivery, issued, redeemed

ZONE = ZoneInfo("UTC")
NONE: Mapping[str, str] = MappingProxyType({})
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def read(text: str, chosen: Mapping[str, str] = NONE, date_format: str | None = None) -> list[Any]:
    return list(read_records(text.splitlines(keepends=True), chosen, ZONE, date_format))


# ---- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1234.5", "1234.5"),
        ("1,234.50", "1234.50"),
        ("1.234,50", "1234.50"),
        ("1 234,50", "1234.50"),
        ("1,234", "1234"),
        ("12,5", "12.5"),
        ("(12)", "-12"),
        ("12-", "-12"),
        ("\u221212", "-12"),
        ("1,234,567", "1234567"),
    ],
)
def test_a_number_is_read_as_people_write_it(text: str, number: str) -> None:
    assert parse_number(text) == Decimal(number)


@pytest.mark.parametrize(
    "text", ["", "many", "NaN", "Infinity", "1e400", "1e1000000", "1_000", "\u0663", "1" * 40, "1" * 10**6]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is (not a number|beyond|too long)"):
        parse_number(text)


def test_columns_are_known_by_what_they_are_usually_called() -> None:
    layout, record = read("Customer ID;Program ID;Current Points;As of\n5;77;1.000,5;31.03.2026\n")

    assert isinstance(layout, StatementLayout)
    assert layout.of == "balances"
    assert record == StatementRecord(
        2,
        None,
        "5",
        "77",
        "points",
        Decimal("1000.5"),
        datetime(2026, 3, 31, 23, 59, 59, 999999, tzinfo=ZONE),
        None,
        None,
    )


def test_entries_may_have_a_type_or_a_credit_and_a_debit() -> None:
    _, earned, spent = read("account,date,amount,type\na,2026-03-01,10,Earn\na,2026-03-02,4,REDEMPTION\n")
    _, taken, given_ = read("account,date,credit,debit\na,2026-03-01,,4\na,2026-03-01,7,\n")

    assert [one.points for one in (earned, spent, taken, given_)] == [10, -4, -4, 7]


def test_columns_can_be_named_by_hand() -> None:
    _, record = read("Ann's no,Pts\n5,12\n", {"customer": "Ann's no", "balance": "Pts"})

    assert (record.customer, record.points) == ("5", 12)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("name,points", "no column for the account or the customer"),
        ("account,colour", "neither a balance nor a date and an amount"),
        ("", "no column for the account or the customer"),
    ],
)
def test_a_header_that_says_too_little_is_refused(header: str, why: str) -> None:
    with pytest.raises(RequestInvalid, match=why):
        read(f"{header}\n")


def test_a_bad_line_is_named_and_what_stands_in_it_is_not_repeated() -> None:
    _, *lines = read(
        "account,date,amount\nann@example.com,03/04/2026,5\n,2026-01-01,5\nann,2026-01-01,ann@example.com\n\nann,2026-01-01,5\n"
    )

    assert lines[:3] == [
        UnreadableLine(2, "its date is ambiguous or cannot be read; use --date-format"),
        UnreadableLine(3, "it names neither an account nor a customer"),
        UnreadableLine(4, "its amount is not a number"),
    ]
    assert (lines[3].line, lines[3].day) == (6, date(2026, 1, 1))
    assert "ann@example.com" not in repr(lines[:3])
    assert read("account,date,amount\nann,03/04/2026,5\n", date_format="%d/%m/%Y")[1].day == date(2026, 4, 3)


# ---- matching -------------------------------------------------------------------------------------------------------


def entry(number: int, day: int, points: int, reference: str | None = None) -> StatementEntry:
    return StatementEntry(number, date(2026, 3, day), Decimal(points), reference)


def paired(pairs: list[EntryPair]) -> set[tuple[int | None, int | None, str]]:
    return {
        (pair.theirs.number if pair.theirs else None, pair.ours.number if pair.ours else None, pair.by)
        for pair in pairs
    }


def test_a_reference_is_stronger_than_a_day_and_a_day_than_some_days() -> None:
    theirs = [entry(1, 1, 10, "R1"), entry(2, 1, 10), entry(3, 5, 10), entry(4, 20, 7)]
    ours = [entry(11, 9, 10, "capillary:1:R1"), entry(12, 1, 10), entry(13, 6, 10), entry(14, 28, 7)]

    assert paired(match_entries(theirs, ours, 3)) == {
        (1, 11, "reference"),
        (2, 12, "day"),
        (3, 13, "days"),
        (4, None, "leftover"),
        (None, 14, "leftover"),
    }


def test_a_reference_that_both_know_is_matched_though_amounts_differ() -> None:
    assert paired(match_entries([entry(1, 1, 10, "R1")], [entry(11, 1, 12, "R1"), entry(12, 1, 10)], 3)) == {
        (1, 11, "reference"),
        (None, 12, "leftover"),
    }


def test_equal_entries_are_matched_one_by_one() -> None:
    pairs = paired(match_entries([entry(n, 1, 5) for n in (1, 2, 3)], [entry(n, 1, 5) for n in (11, 12)], 3))

    assert pairs == {(1, 11, "day"), (2, 12, "day"), (3, None, "leftover")}


entries = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from([5, 7]), st.sampled_from([None, "R1", "R2"])), max_size=8
)


@given(theirs=entries, ours=entries, shuffle=st.randoms(use_true_random=False))
def test_each_record_counts_once_and_the_order_does_not_matter(theirs: Any, ours: Any, shuffle: Any) -> None:
    left = [entry(number, *one) for number, one in enumerate(theirs, 1)]
    right = [entry(number, *one) for number, one in enumerate(ours, 101)]
    pairs = match_entries(left, right, 2)
    shuffle.shuffle(left)
    shuffle.shuffle(right)

    assert sorted(pair.theirs.number for pair in pairs if pair.theirs) == sorted(one.number for one in left)
    assert sorted(pair.ours.number for pair in pairs if pair.ours) == sorted(one.number for one in right)
    assert paired(match_entries(left, right, 2)) == paired(pairs)


# ---- comparing ------------------------------------------------------------------------------------------------------


async def tell(connection: Connection, ledger: Ledger, *bodies: bytes) -> None:
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])
    await catch_up(connection, ledger.ledger_id)


async def compared(
    connection: Connection, ledger: Ledger, text: str, **rules: Any
) -> tuple[list[StatementFinding], StatementComparison]:
    became = StatementComparison()
    found = compare_statement(
        connection,
        ledger.ledger_id,
        read_records(text.splitlines(keepends=True), NONE, ZONE),
        ComparisonRules(NOW, **rules),
        became,
    )
    return [one async for one in found], became


def shown(findings: list[StatementFinding]) -> list[tuple[Any, ...]]:
    return [
        (one.finding, one.account and one.account.split(":")[2], one.line, one.theirs, one.ours) for one in findings
    ]


async def test_balances_are_compared_each_at_its_time(connection: Connection, ledger: Ledger) -> None:
    await tell(
        connection,
        ledger,
        issued("a", 0, 1, 100),
        redeemed("b", 10 * 86_400, 1, 30),
        issued("c", 0, 2, 50, lapses="2023-12-31"),
        issued("d", 0, 3, 7),
        issued("e", 0, 4, 0),
    )

    findings, became = await compared(
        connection,
        ledger,
        "customer,programme,balance,as of\n"
        "1,77,100,2023-11-20\n"  # before the redemption
        "1,77,70,2023-12-31\n"
        "2,77,50,2023-12-31\n"  # through the end of its day
        "2,77,50,2024-01-01\n"  # it has lapsed here
        "1,77,70,2023-12-31\n"
        "404,77,1,2023-12-31\n"
        "1,77,?,2023-12-31\n",
    )

    assert shown(findings) == [
        ("bad-line", None, 8, None, None),
        ("unknown-account", None, 7, None, None),
        ("only-theirs", "1", 6, 70, None),
        ("differs", "2", 5, 50, 0),
        ("only-ours", "3", None, None, 7),
    ]
    assert (became.of, became.lines, became.matched) == ("balances", 7, 3)
    assert findings[3].difference == 50


async def test_accounts_may_be_named_by_their_ids_whole_or_bare(connection: Connection, ledger: Ledger) -> None:
    await tell(connection, ledger, *(issued(f"a{customer}", 0, customer, 5) for customer in range(1, 5)))

    findings, became = await compared(
        connection, ledger, "account,balance\ncapillary:9001:1:77:points,5\n2:77:points,5\n"
    )
    assert (became.matched, len(findings)) == (2, 2)

    findings, became = await compared(connection, ledger, "account,program,points\n3,77,5\n4,77,6\n")
    assert shown(findings)[0] == ("differs", "4", 3, 6, 5)
    assert became.matched == 1


async def test_entries_are_matched_and_both_sides_leftovers_told(connection: Connection, ledger: Ledger) -> None:
    day = 86_400
    await tell(
        connection,
        ledger,
        issued("a", 0, 1, 100, programCurrentPoints=400),  # an opening of 300, which no vendor lists
        redeemed("b", 2 * day, 1, 30, "R7"),
        issued("c", 4 * day, 1, 20),
        issued("d", 40 * day, 1, 99),  # after the statement's last day
        redeemed("e", 5 * day, 1, 8, "R8"),
    )

    findings, became = await compared(
        connection,
        ledger,
        "member,date,points,type,reference\n"
        "1,2023-11-14,100,earn,\n"
        "1,2023-11-30,30,redeem,R7\n"  # weeks apart, but both sides name it
        "1,2023-11-20,20,earn,\n"  # two days apart
        "1,2023-11-19,9,redeem,R8\n"
        "1,2023-11-21,55,earn,\n",
    )

    assert shown(findings) == [("differs", "1", 5, -9, -8), ("only-theirs", "1", 6, 55, None)]
    assert became.matched_by == {"reference": 1, "day": 1, "days": 1}


async def test_a_small_difference_may_be_none(connection: Connection, ledger: Ledger) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 5))

    assert await compared(connection, ledger, "customer,balance\n1,5.01\n", tolerance=Decimal("0.01")) == (
        [],
        StatementComparison("balances", 1, 1, {}, {"balance": 1}),
    )


def without_time(body: bytes) -> bytes:
    return json.dumps({**json.loads(body), "createdAt": None}).encode()


async def test_an_event_without_a_time_matches_an_entry_of_any_day(connection: Connection, ledger: Ledger) -> None:
    await tell(
        connection, ledger, issued("a", 0, 1, 100), without_time(issued("b", 0, 1, 20)), issued("c", 86_400, 1, 20)
    )

    findings, became = await compared(
        connection,
        ledger,
        "member,date,points\n1,2023-11-14,100\n1,2023-11-15,20\n1,2023-11-16,20\n",
    )

    assert (shown(findings), became.matched_by) == ([], {"day": 2, "days": 1})
