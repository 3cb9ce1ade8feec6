"""The roll-forward as files: CSV, NDJSON with the same flat columns in every line, and a journal for beancount. Pure.

Points are exact decimals in plain notation; days are ISO 8601. In the journal each programme and unit is a commodity,
and each vintage a liability. The movements are equity, because points are not money. Balance assertions state the
closings and the sums of the accounts' balances.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.decimals import format_decimal
from projections.accounts.account import ZERO
from projections.accounts.classes import TAKING_MOVEMENTS
from projections.queries.roll_forward import (
    MOVEMENT_NAMES,
    STATE_CLASSES,
    RollForwardKey,
    RollForwardRow,
    TieOut,
)
from service.finance.liability import Liability, liability_row_json, month_of
from service.formatting import encode_json
from service.reconciliation.formats import csv_line

NO_ROW = RollForwardRow(
    RollForwardKey("", "", date.min, None),
    date.min,
    ZERO,
    dict.fromkeys(MOVEMENT_NAMES, ZERO),
    ZERO,
    dict.fromkeys(STATE_CLASSES, ZERO),
)
WITHOUT_VINTAGE = "Without-Vintage"
COMMODITY_CHARACTERS_MAX = 20  # of beancount's 24: a number may be added


def to_csv(rows: Sequence[RollForwardRow]) -> Iterator[str]:
    """Yield rows as CSV lines with a header. An empty cell means no value. Yields nothing without rows."""
    if rows:
        yield csv_heading()
    yield from map(csv_row, rows)


def csv_heading() -> str:
    """Return the header line: the names in `liability_row_json`."""
    return _line(liability_row_json(NO_ROW))


def csv_row(row: RollForwardRow) -> str:
    """Return one row as a CSV line. An empty cell means no value."""
    return _line(liability_row_json(row).values())


def _line(cells: Iterable[Any]) -> str:
    return csv_line(cells).decode().removesuffix("\r\n")


def to_ndjson(rows: Sequence[RollForwardRow]) -> Iterator[str]:
    """Yield each row as a JSON object. All values are strings or null."""
    for row in rows:
        yield encode_json(liability_row_json(row)).decode().rstrip("\n")


class JournalNames(NamedTuple):
    """The names of one programme and unit in the journal."""

    account: str
    commodity: str


def to_beancount(ledger: str, done: Liability) -> Iterator[str]:
    """Yield the lines of a journal that `bean-check` accepts."""
    names = _names(done.rows)
    yield f'option "title" "Points outstanding of {ledger}"'
    yield ";; Amounts are points. A liability is negative, as beancount has it."
    yield ""
    first = min((row.key.period for row in done.rows), default=None)
    if first is None:
        return
    yield from _openings(done.rows, names, first)
    for row in done.rows:
        yield from _entry(row, names[row.key.programme, row.key.unit], first)
    yield from _prices(done.totals, names)
    yield from _assertions(done, names)


def _openings(rows: Sequence[RollForwardRow], names: dict[tuple[str, str], JournalNames], first: date) -> Iterator[str]:
    """Declare the commodities and open the accounts."""
    accounts = {}
    for row in rows:
        name = names[row.key.programme, row.key.unit]
        accounts[f"Liabilities:Points:{name.account}"] = name.commodity
        accounts[_liability(row, name)] = name.commodity
        accounts[f"Equity:Opening:{name.account}"] = name.commodity
        for movement, points in row.movements.items():
            if points:
                accounts[_equity(movement, name)] = name.commodity
    for (programme, unit), name in names.items():
        yield f"{first} commodity {name.commodity}"
        yield f'  programme: "{_quoted(programme)}"'
        yield f'  unit: "{_quoted(unit)}"'
    for account, commodity in sorted(accounts.items()):
        yield f"{first} open {account} {commodity}"
    yield ""


def _entry(row: RollForwardRow, name: JournalNames, first: date) -> Iterator[str]:
    """Write a row's movements, and its opening if it is of the first period."""
    liability = _liability(row, name)
    vintage = month_of(row.key.vintage) or "without vintage"
    if row.key.period == first and row.opening:
        yield f'{first} * "Opening" "{vintage}"'
        yield f"  {liability}  {format_decimal(-row.opening)} {name.commodity}"
        yield f"  Equity:Opening:{name.account}  {format_decimal(row.opening)} {name.commodity}"
        yield ""
    effects = {
        movement: -points if movement in TAKING_MOVEMENTS else points for movement, points in row.movements.items()
    }
    if any(effects.values()):
        yield f'{row.last_day} * "Movements" "{vintage}"'
        yield f"  {liability}  {format_decimal(-sum(effects.values(), ZERO))} {name.commodity}"
        for movement, points in effects.items():
            if points:
                yield f"  {_equity(movement, name)}  {format_decimal(points)} {name.commodity}"
        yield ""


def _prices(rows: Sequence[RollForwardRow], names: dict[tuple[str, str], JournalNames]) -> Iterator[str]:
    for row in rows:
        if row.worth is not None:
            commodity = names[row.key.programme, row.key.unit].commodity
            yield f"{row.last_day} price {commodity} {format_decimal(row.worth.ratio)} {row.worth.currency}"


def _assertions(done: Liability, names: dict[tuple[str, str], JournalNames]) -> Iterator[str]:
    """Assert every closing on the day after it, and at the end the sum of the accounts' balances."""
    for row in done.rows:
        name = names[row.key.programme, row.key.unit]
        yield _balance(row.last_day, _liability(row, name), row.closing, name)
    last = max(row.last_day for row in done.rows)
    for tie in done.ties:
        if (tie.programme, tie.unit) in names and _is_whole(done, tie):
            name = names[tie.programme, tie.unit]
            yield _balance(last, f"Liabilities:Points:{name.account}", tie.accounts_total, name)


def _is_whole(done: Liability, tie: TieOut) -> bool:
    """Return True if all vintages are present. Then their sum must equal the sum of the accounts."""
    last = max(row.last_day for row in done.rows)
    rows = [row for row in done.rows if (row.key.programme, row.key.unit) == (tie.programme, tie.unit)]
    return sum((row.closing for row in rows if row.last_day == last), ZERO) == tie.closing


def _balance(day: date, account: str, points: Decimal, name: JournalNames) -> str:
    return f"{day + timedelta(days=1)} balance {account}  {format_decimal(-points)} ~ 0 {name.commodity}"


def _liability(row: RollForwardRow, name: JournalNames) -> str:
    return f"Liabilities:Points:{name.account}:{month_of(row.key.vintage) or WITHOUT_VINTAGE}"


def _equity(movement: str, name: JournalNames) -> str:
    return f"Equity:{movement.replace('_', '-').capitalize()}:{name.account}"


def _names(rows: Sequence[RollForwardRow]) -> dict[tuple[str, str], JournalNames]:
    """Choose unique names in beancount's alphabet for all programmes and units."""
    names: dict[tuple[str, str], JournalNames] = {}
    for of in sorted({(row.key.programme, row.key.unit) for row in rows}):
        programme, unit = of
        number = len(names) + 1
        account = ":".join(re.sub(r"[^A-Za-z0-9-]+", "-", part.capitalize()).strip("-") or "X" for part in of)
        last = programme.rpartition(":")[2]
        commodity = re.sub(r"[^A-Z0-9]+", "-", f"P-{last}-{unit}".upper())[:COMMODITY_CHARACTERS_MAX].strip("-")
        if any(account == one.account for one in names.values()):
            account = f"{account}-{number}"
        if any(commodity == one.commodity for one in names.values()):
            commodity = f"{commodity}-{number}"
        names[of] = JournalNames(account, commodity)
    return names


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


FORMATS = ("table", "csv", "ndjson", "beancount")
