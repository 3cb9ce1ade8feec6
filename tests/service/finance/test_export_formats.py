"""What finance takes away: CSV, NDJSON of one shape, a journal that bean-check accepts; and the commands for it."""

import asyncio
import csv
import json
import os
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from beancount import loader
from beancount.core.data import Balance, Transaction

from projections.queries.roll_forward import RollForwardQuery
from service.finance.export_formats import to_beancount, to_csv, to_ndjson
from service.finance.liability import Liability
from service.finance.period_close import close_period
from service.finance.periods import read_liability
from service.operations.programme_terms import set_terms
from tests.service.finance.test_liability import PROGRAMME
from tests.support.client import TenantClient, serving
from tests.support.payloads import VAULT, issued, merged, received, redeemed, returned, sent

DAY = 86_400
HISTORY = (
    issued("a", 0, 1, 1000, lapses="2023-12-10"),
    redeemed("b", DAY, 1, 200),
    issued("c", DAY, 2, 50, bill="B"),
    redeemed("d", 2 * DAY, 2, 50),
    returned("e", 3 * DAY, 2, 50, "B"),
    issued("f", 20 * DAY, 1, 300),
    sent("g", 22 * DAY, 1, 100, 2, "t"),
    received("h", 23 * DAY, 2, 100, 1, "t"),
    merged("m", 24 * DAY, 2, 1),
    issued("other", 24 * DAY, 5, 3, loyaltyProgramId="8 8:x"),
)


async def tell(acme: TenantClient) -> None:
    for body in HISTORY:
        assert (await acme.deliver(body))[0] == 200
    async with acme.database() as connection:
        terms = {
            "effective_from": "2023-01-01",
            "time_zone": "UTC",
            "points_to_currency": {"ratio": "0.25", "currency": "INR"},
        }
        await set_terms(connection, VAULT, acme.ledger, PROGRAMME, terms, by="test")
    await acme.ask_now("/v1/projections")


async def rolled(acme: TenantClient, *, monthly: bool) -> Liability:
    await tell(acme)
    ask = RollForwardQuery(date(2023, 11, 1), date(2023, 12, 31), monthly=monthly)
    async with acme.database() as connection:
        return await read_liability(connection, acme.ledger.ledger_id, ask, None)


@pytest.mark.parametrize("monthly", [True, False])
async def test_bean_check_accepts_the_journal(dsn: str, tmp_path: Path, monthly: bool) -> None:
    async with serving(dsn, "acme") as [acme]:
        done = await rolled(acme, monthly=monthly)
    file = tmp_path / "points.beancount"
    file.write_text("\n".join(to_beancount("acme", done)) + "\n")

    check = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from beancount.scripts.check import main; main()",
        str(file),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await check.communicate()

    assert (check.returncode, said) == (0, b"")
    entries, errors, _ = loader.load_file(str(file))
    assert errors == []
    closings = {
        (entry.account, str(entry.date)): entry.amount.number for entry in entries if isinstance(entry, Balance)
    }
    assert closings["Liabilities:Points:Capillary-9001-77:Points:2023-11", "2023-12-01"] == -800
    assert closings["Liabilities:Points:Capillary-9001-77:Points:Without-Vintage", "2023-12-01"] == 50
    assert closings["Liabilities:Points:Capillary-9001-77:Points", "2024-01-01"] == Decimal(-350)
    assert sum(isinstance(entry, Transaction) for entry in entries) >= 5


async def test_a_journal_whose_closing_was_changed_is_not_accepted(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, "acme") as [acme]:
        done = await rolled(acme, monthly=True)
    file = tmp_path / "points.beancount"
    file.write_text("\n".join(to_beancount("acme", done)).replace("-800 ~", "-801 ~") + "\n")

    _, errors, _ = loader.load_file(str(file))

    assert len(errors) == 1


async def test_csv_and_ndjson_have_the_same_columns_in_every_line(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        done = await rolled(acme, monthly=True)

    table = list(csv.DictReader(to_csv(done.rows)))
    lines = [json.loads(line) for line in to_ndjson(done.rows)]

    assert [{name: value or "" for name, value in line.items()} for line in lines] == table
    assert all(value is None or isinstance(value, str) for line in lines for value in line.values())
    assert {tuple(line) for line in lines} == {tuple(lines[0])}
    first = lines[0]
    assert (first["from"], first["to"], first["vintage"]) == ("2023-11-01", "2023-11-30", "2023-11")
    assert (first["issued"], first["redeemed"], first["reversed"], first["closing"]) == ("1050", "200", "50", "800")
    assert (first["value"], first["currency"]) == ("200", "INR")


async def loyalty(dsn: str, *arguments: str, key: str = "A" * 43 + "=") -> tuple[int | None, str, str]:
    environment = {**os.environ, "DATABASE_URL": dsn, "LOYALTY_MASTER_KEY": key}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "service.cli.main",
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_finance_works_from_the_command_line(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, "acme") as [acme]:
        await tell(acme)
        file = tmp_path / "november.csv"

        code, out, err = await loyalty(dsn, "close", "2023-11", "--json")
        assert code == 0, err
        assert json.loads(out)["period"] == "2023-11"
        asked = ("--from", "2023-11-01", "--to", "2023-12-31")
        code, _, err = await loyalty(dsn, "liability", *asked, "--format", "csv", "--output", str(file))
        assert code == 0, err
        code, out, err = await loyalty(dsn, "trial-balance", "--json", "--at", "2023-12-31T00:00:00Z")
        assert code == 0, err
        code, refused, err = await loyalty(dsn, "close", "2023-10")

        rows = list(csv.DictReader(file.read_text().splitlines()))
        assert [(row["to"], row["vintage"], row["closing"]) for row in rows if row["programme"] == PROGRAMME] == [
            ("2023-11-30", "2023-11", "800"),
            ("2023-11-30", "", "-50"),
            ("2023-12-31", "2023-11", "0"),
            ("2023-12-31", "2023-12", "350"),
            ("2023-12-31", "", "0"),
        ]
        assert json.loads(out)["balanced"]
        assert (code, refused) == (2, "")
        assert "2023-11 is closed" in err


async def test_a_month_is_closed_once_whoever_is_second(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await tell(acme)
        async with acme.database() as connection:
            first = await close_period(connection, VAULT, acme.ledger, "2023-11", by="one")
            again = await close_period(connection, VAULT, acme.ledger, "2023-11", by="two")  # before rows know of it

        period = await acme.ask_now("/v1/periods/2023-11")
        assert (again.position or 0) > (first.position or 0)
        assert (period["status"], period["closed_by"], period["reopenings"]) == ("closed", "one", 0)


async def test_a_closing_shows_what_is_open_and_then_needs_a_yes(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await tell(acme)
        await acme.deliver(b"not json")

        refused, _, shown = await loyalty(dsn, "close", "2023-11")
        none, _, _ = await loyalty(dsn, "period", "show", "2023-11", "--json")
        code, closed, _ = await loyalty(dsn, "close", "2023-11", "--yes", "--author", "finance-7")
        _, listed, _ = await loyalty(dsn, "periods", "--json")
        _, period, _ = await loyalty(dsn, "period", "show", "2023-11", "--json")
        _, liability, _ = await loyalty(dsn, "liability", "--from", "2023-11-01", "--to", "2023-12-31", "--json")
        _, table, notes = await loyalty(dsn, "liability", "--from", "2023-11-01", "--to", "2023-12-31")

        assert (refused, none, code) == (2, 0, 0)
        assert "Open matters before 2023-11 is closed:" in shown
        assert "quarantine: 1 (Events whose body cannot be read)" in shown
        assert closed.startswith("Closed 2023-11 of acme by finance-7, at position ")
        assert [(one["period"], one["closed_by"]) for one in json.loads(listed)] == [("2023-11", "finance-7")]
        assert (json.loads(period)["status"], json.loads(period)["closed_by"]) == ("closed", "finance-7")
        assert json.loads(liability)["ties"] is True
        assert all(word in table for word in ("issued", "redeemed", "total"))
        assert " accounts." in notes


async def test_terms_are_listed_as_they_were_set_and_a_missing_currency_is_named(dsn: str) -> None:
    async with serving(dsn, "acme"):
        said = ("--ledger", "acme", "--programme", PROGRAMME, "--effective-from", "2026-01-01")
        zone = ("--time-zone", "Asia/Kolkata", "--ratio", "0.5", "--new-programme")

        refused, _, sentence = await loyalty(dsn, "terms", "set", *said, *zone)
        code, _, wrong = await loyalty(dsn, "terms", "set", *said, *zone, "--currency", "INR")
        _, listed, _ = await loyalty(dsn, "terms", "list", "--ledger", "acme")

        assert (refused, code) == (2, 0), wrong
        assert "takes both `ratio` and `currency`: `ratio` is given, `currency` is not" in sentence
        assert " 2026-01-01 " in listed
