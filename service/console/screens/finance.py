"""The screens of finance: the liability as a roll-forward, the trial balance, and the accounting periods."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from aiohttp import web

from projections.accounts.account import ZERO
from projections.accounts.classes import TAKING_MOVEMENTS
from projections.queries.roll_forward import MOVEMENT_NAMES, PRIOR_PERIOD, RollForwardRow, TieOut
from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.cells import SUM
from service.console.charts import share_bar
from service.console.links import account_link, link_of
from service.console.pages import Page, console_href
from service.console.tables import PageColumn, PageTable, Row
from service.console.times import TIMES, parse_times, stated_times
from service.finance.liability import count_unbalanced, liability_row_json, read_trial_balance
from service.finance.period_report import PERIODS
from service.finance.periods import read_liability
from service.finance.requests import parse_roll_forward

MONTHS_DEFAULT = 3
PERIODS_MAX = 240
ROWS_MAX = 1_000
DIFFERING_MAX = 100
STANDING_SHOWN = 8
FILTERS = ("from", "to", "by", "programme", "unit", "vintage")
PERIOD_COLUMNS = (
    PageColumn("period", "Month", "any", lambda row: console_href("finance", "periods", row["period"])),
    PageColumn("status", "Status"),
    PageColumn("closed_at", "Closed", "time"),
    PageColumn("closed_by", "By", "code"),
    PageColumn("known_position", "As known at", "event", link_of("known_position")),
    PageColumn("reopenings", "Reopened", "number"),
)


async def show_liability(request: web.Request) -> Page:
    """Return the roll-forward of outstanding points by month, and the same by vintage."""
    given = {name: request.query[name].strip() for name in FILTERS if request.query.get(name, "").strip()}
    async with open_query(request, heavy=True) as query:
        times = await parse_times(query, request)
        if "from" not in given:
            given["from"] = _months_back(date.fromisoformat(given["to"]) if "to" in given else times.at.date())
        wanted = await parse_roll_forward(query, given, times)
        liability = await read_liability(query.connection, query.ledger.ledger_id, wanted, times.position)
        periods = await query.connection.fetch(PERIODS, query.ledger.ledger_id, "", PERIODS_MAX)
    totals = [liability_row_json(row) for row in sort_by_size(liability.totals)]
    by_vintage = liability.rows if wanted.programme else []
    vintages = [liability_row_json(row) for row in by_vintage[:ROWS_MAX] if _is_filled(row)]
    empty = "No points were outstanding and none moved in these days. Choose other days or fewer filters."
    note = f"Only the first {ROWS_MAX:,} rows are shown." if len(by_vintage) > ROWS_MAX else ""
    choose = empty if wanted.programme else "Choose one programme to see its points by the month of earning."
    tables = (
        PageTable("liability", "Roll-forward of outstanding points", roll_forward_columns(totals), totals, empty),
        PageTable("vintages", "By vintage", roll_forward_columns(totals, vintage=True), vintages, choose, note=note),
        PageTable(
            "periods",
            "Accounting periods",
            PERIOD_COLUMNS,
            [dict(row) for row in periods],
            "No month was closed yet.",
        ),
        standing_table(liability.totals),
    )
    values = {"wanted": wanted, "times": times, "ties": _differing(liability.ties), "given": given}
    return Page("liability.html", "Liability", tables, values)


def sort_by_size(rows: Sequence[RollForwardRow]) -> list[RollForwardRow]:
    """Sort rows so that the programme with the most outstanding points comes first. Its months stay in order."""
    closings = {(row.key.programme, row.key.unit): abs(row.closing) for row in rows}  # the last month of each counts

    def place(row: RollForwardRow) -> tuple[Decimal, str, str, date]:
        of = row.key.programme, row.key.unit
        return (-closings[of], *of, row.key.period)

    return sorted(rows, key=place)


def standing_table(rows: Sequence[RollForwardRow]) -> PageTable:
    """Return the outstanding points of each programme at the end, the largest first, with a bar for each."""
    last = {(row.key.programme, row.key.unit): row for row in sort_by_size(rows)}
    standing = [row for row in last.values() if row.closing]
    largest = max((abs(row.closing) for row in standing), default=ZERO)
    shown = [
        {
            "programme": row.key.programme,
            "unit": row.key.unit,
            "from": row.key.period,
            "to": row.last_day,
            "closing": row.closing,
            "bar": share_bar(row.closing, largest),
        }
        for row in standing
    ]
    columns = (
        PageColumn("programme", "Programme", "short", _programme_link),
        PageColumn("unit", "Unit"),
        PageColumn("closing", "Outstanding", "points", _accounts_link("closing")),
        PageColumn("bar", "Compared with the largest", "bar"),
    )
    empty = "No points are outstanding at the end of these days."
    caption = "Outstanding points at the end"
    return PageTable("standing", caption, columns, shown, empty, shown=STANDING_SHOWN)


def _is_filled(row: RollForwardRow) -> bool:
    """Return True if points were outstanding or moved. Rows of held points alone are left out."""
    return bool(row.opening or row.closing or any(row.movements.values()))


def _months_back(last: date) -> str:
    """Return the first day of the month that begins a span of MONTHS_DEFAULT months."""
    months = last.year * 12 + last.month - MONTHS_DEFAULT
    return date(months // 12, months % 12 + 1, 1).isoformat()


def _differing(ties: Sequence[TieOut]) -> list[TieOut]:
    return [tie for tie in ties if tie.difference]


def roll_forward_columns(rows: Sequence[Row], *, vintage: bool = False) -> list[PageColumn]:
    """Return the columns of a roll-forward, with the movements that occur. Those that take points show a minus.

    A figure leads to the accounts behind it. Prior-period movements are differences of closes, so they lead nowhere.
    """
    shown = [name for name in MOVEMENT_NAMES if any(row[name] for row in rows)]
    valued = any(row["value"] is not None for row in rows)
    movements = [
        PageColumn(
            name,
            f"{'−' if name in TAKING_MOVEMENTS else '+'} {name.replace('_', ' ')}",
            "points",
            None if name == PRIOR_PERIOD else _accounts_link(name),
        )
        for name in shown
    ]
    return [
        PageColumn("programme", "Programme", "short", _programme_link),
        PageColumn("unit", "Unit"),
        PageColumn("from", "From", "day", _programme_link),
        PageColumn("to", "To", "file"),
        *([PageColumn("vintage", "Earned in", "day")] if vintage else []),
        PageColumn("opening", "Opening", "points", _accounts_link("opening")),
        *movements,
        PageColumn("closing", "Closing", "points", _accounts_link("closing")),
        PageColumn("value", "Value", "points" if valued else "file"),
        PageColumn("currency", "Currency", "text" if valued else "file"),
    ]


def _accounts_link(figure: str) -> Callable[[Row], str | None]:
    """Return the link from a figure to the accounts behind it. A figure of 0 has none."""

    def link(row: Row) -> str | None:
        if not row[figure]:
            return None
        names = ("programme", "unit", "from", "to", "vintage")
        return console_href("finance", "accounts", figure=figure, **{name: row.get(name) for name in names})

    return link


def _programme_link(row: Row) -> str:
    """Return the roll-forward of one programme and unit over the days of a row, by vintage."""
    return console_href(
        "finance", programme=row["programme"], unit=row["unit"], **{"from": row["from"], "to": row["to"]}
    )


async def show_trial_balance(request: web.Request) -> Page:
    """Return the sums of all classes by programme and unit. Each programme's classes sum to zero."""
    async with open_query(request, heavy=True) as query:
        times = await parse_times(query, request)
        balance = await read_trial_balance(query.connection, query.ledger.ledger_id, times.at, times.position)
        unbalanced = await count_unbalanced(query.connection, query.ledger.ledger_id)
    stated = stated_times(request)
    rows: list[dict[str, Any]] = []
    for sums in balance.sums():
        for name, points in sums.classes.items():
            of = {"programme": sums.programme, "unit": sums.unit, "class": name}
            href = console_href("finance", "trial-balance", "accounts", **of, **stated) if points else None
            rows.append({**of, "points": points, "href": href})
        rows.append(
            {
                "programme": sums.programme,
                "unit": sums.unit,
                "class": "sum",
                "points": sums.sum,
                "href": None,
                SUM: True,
            }
        )
    columns = (
        PageColumn("programme", "Programme", "code"),
        PageColumn("unit", "Unit"),
        PageColumn("class", "Class"),
        PageColumn("points", "Points", "signed", lambda row: row["href"]),
    )
    differing = [{"account": account} for account in balance.differing[:DIFFERING_MAX]]
    account = PageColumn("account", "Account", "code", lambda row: account_link(row["account"]))
    tables = (
        PageTable("classes", "Sums of the classes", columns, rows, "No account held points up to this time."),
        PageTable("differing", "Accounts that differ", (account,), differing, "No account differs from its postings."),
    )
    is_balanced = not balance.differing and not unbalanced and not any(sums.sum for sums in balance.sums())
    values = {"accounts": balance.accounts, "is_balanced": is_balanced, "times": times}
    return Page("trial_balance.html", "Trial balance", tables, values)


ROUTES = [
    page("/finance", show_liability, *FILTERS, *TIMES),
    page("/finance/trial-balance", show_trial_balance, *TIMES),
]
