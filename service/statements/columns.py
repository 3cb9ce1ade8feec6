"""Reads the lines of a statement: finds its columns by name and parses their cells.

A line that cannot be read is reported by number and reason. Its content may be personal and is never repeated.

A line has an account or a customer. In a statement of balances it also has a balance. In a statement of entries it also
has a date and an amount, or a date, a credit and a debit.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ledger.decimals import parse_decimal
from ledger.errors import RequestInvalid
from ledger.failures import describe_failure

DELIMITERS = ",;\t|"
DECIMAL_PLACES_MAX = 6
AMOUNT_MAX = Decimal(10) ** 30
CELL_CHARACTERS_MAX = 300

# Names of columns by meaning, in lower case with letters and digits only.
COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "account": ("account", "accountid", "accountref", "loyaltyaccount", "wallet", "walletid", "card", "cardid"),
    "customer": ("customer", "customerid", "customerref", "member", "memberid", "membernumber", "user", "userid"),
    "programme": ("programme", "programmeid", "program", "programid", "loyaltyprogram", "loyaltyprogramid"),
    "unit": ("unit", "currency", "currencyid", "pointstype", "alternatecurrency"),
    "balance": ("balance", "pointsbalance", "currentpoints", "available", "availablepoints", "closingbalance"),
    "as_of": ("asof", "asat", "balancedate", "snapshotdate", "closingdate"),
    "date": ("date", "day", "transactiondate", "occurredat", "timestamp", "time", "createdat", "postingdate"),
    "amount": ("amount", "points", "value", "quantity", "change", "delta"),
    "credit": ("credit", "credits", "earned", "issued", "pointsin"),
    "debit": ("debit", "debits", "redeemed", "spent", "burned", "pointsout"),
    "type": ("type", "kind", "transactiontype", "entrytype"),
    "reference": ("reference", "ref", "referenceid", "transactionid", "redemptionid", "billnumber", "externalid"),
}
# Words in the type of an entry that make an unsigned amount negative.
DEBIT_WORDS = (
    "debit",
    "redeem",
    "redemption",
    "burn",
    "spend",
    "spent",
    "expir",
    "lapse",
    "remov",
    "return",
    "revers",
    "out",
)


class StatementRecord(NamedTuple):
    """One line of a statement: a balance as of a time (`at`; None means the requested time), or an entry of a day."""

    line: int
    account: str | None
    customer: str | None
    programme: str | None
    unit: str
    points: Decimal
    at: datetime | None
    day: date | None
    reference: str | None


class UnreadableLine(NamedTuple):
    """A line that could not be read, and the reason."""

    line: int
    reason: str


class StatementLayout(NamedTuple):
    """Places of the columns by meaning. `of` is "balances" or "entries"."""

    of: str
    places: Mapping[str, int]
    zone: ZoneInfo
    date_format: str | None


def find_columns(
    header: Sequence[str], chosen: Mapping[str, str], zone: ZoneInfo, date_format: str | None = None
) -> StatementLayout:
    """Find the place of each column: chosen columns first, the others by the names in the header.

    Raises RequestInvalid, which names a missing column or a chosen column that does not exist.
    """
    names = [_plain(name) for name in header]
    places: dict[str, int] = {}
    for what, column in chosen.items():
        if what not in COLUMN_NAMES or _plain(column) not in names:
            raise RequestInvalid(f"there is no column for {what!r}; name columns as in account=Member,balance=Points")
        places[what] = names.index(_plain(column))
    for what, spellings in COLUMN_NAMES.items():
        found = [place for place, name in enumerate(names) if name in spellings and place not in places.values()]
        if what not in places and found:
            places[what] = found[0]
    if "balance" not in places and "date" not in places and "amount" in places:
        places["balance"] = places.pop("amount")
    of = "balances" if "balance" in places else "entries"
    if "account" not in places and "customer" not in places:
        raise RequestInvalid("the statement has no column for the account or the customer; name it with --columns")
    if of == "entries" and ("date" not in places or not {"amount", "credit", "debit"} & places.keys()):
        raise RequestInvalid(
            "the statement has neither a balance nor a date and an amount; name their columns with --columns"
        )
    return StatementLayout(of, places, zone, date_format)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def find_delimiter(sample: str) -> str:
    """Return the usual delimiter that occurs most often in the header."""
    header = sample.splitlines()[0] if sample.strip() else ""
    return max(DELIMITERS, key=header.count)


def read_records(
    lines: Iterable[str], chosen: Mapping[str, str], zone: ZoneInfo, date_format: str | None = None
) -> Iterator[StatementLayout | StatementRecord | UnreadableLine]:
    """Yield the layout of a statement, then each line as a record or an unreadable line. Blank lines are skipped.

    Raises RequestInvalid if the header lacks columns.
    """
    source = iter(lines)
    header = next((line for line in source if line.strip()), "")
    delimiter = find_delimiter(header)
    layout = find_columns(next(csv.reader([header], delimiter=delimiter), []), chosen, zone, date_format)
    yield layout
    rows = csv.reader(source, delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield UnreadableLine(rows.line_num + 1, "its quotes do not match")
            continue
        number = rows.line_num + 1  # the header is line 1
        if any(cell.strip() for cell in cells):
            try:
                yield _record(number, cells, layout)
            except Exception as error:  # a fault in our code costs one line only
                yield UnreadableLine(number, f"it cannot be read: {describe_failure(error)}")


def _record(number: int, cells: Sequence[str], layout: StatementLayout) -> StatementRecord | UnreadableLine:
    def cell(what: str) -> str:
        place = layout.places.get(what)
        return cells[place].strip() if place is not None and place < len(cells) else ""

    if any(len(cell(what)) > CELL_CHARACTERS_MAX for what in layout.places):
        return UnreadableLine(number, "a cell is too long")
    account, customer = cell("account") or None, cell("customer") or None
    if account is None and customer is None:
        return UnreadableLine(number, "it names neither an account nor a customer")
    try:
        points = parse_number(cell("balance")) if layout.of == "balances" else _amount(cell)
    except ValueError:
        return UnreadableLine(number, f"its {'balance' if layout.of == 'balances' else 'amount'} is not a number")
    try:
        at = parse_instant(cell("as_of"), layout) if cell("as_of") else None
        day = parse_instant(cell("date"), layout).astimezone(layout.zone).date() if layout.of == "entries" else None
    except (ValueError, OverflowError):
        return UnreadableLine(number, "its date is ambiguous or cannot be read; use --date-format")
    unit = cell("unit") or "points"
    return StatementRecord(
        number, account, customer, cell("programme") or None, unit, points, at, day, cell("reference") or None
    )


def _amount(cell: Callable[[str], str]) -> Decimal:
    if cell("credit") or cell("debit"):
        credit, debit = (parse_number(cell(name)) if cell(name) else Decimal(0) for name in ("credit", "debit"))
        return credit - abs(debit)
    amount = parse_number(cell("amount"))
    return -amount if amount > 0 and any(word in cell("type").lower() for word in DEBIT_WORDS) else amount


def parse_number(text: str) -> Decimal:
    """Parse an exact number in a common notation: 1234.5, 1,234.50, 1.234,50, 1 234,50, (12), 12-.

    A single comma followed by three digits separates thousands. Raises ValueError.
    """
    text = "".join(text.split()).replace("\u2212", "-").replace("'", "")
    if text.startswith("(") and text.endswith(")"):
        text = f"-{text[1:-1]}"
    if text.endswith("-"):
        text = f"-{text[:-1]}"
    comma, dot = text.rfind(","), text.rfind(".")
    if comma > dot and (dot >= 0 or (text.count(",") == 1 and len(text) - comma != 4)):
        text = text.replace(".", "").replace(",", ".")
    else:
        text = text.replace(",", "")
    return parse_decimal(text, largest=AMOUNT_MAX, places=DECIMAL_PLACES_MAX)


def parse_instant(text: str, layout: StatementLayout) -> datetime:
    """Parse a day or a time: ISO 8601, 2026/03/31, 31.03.2026, or the format of `--date-format`. A day means its end.

    Raises ValueError for an ambiguous day such as 03/04/2026.
    """
    if layout.date_format is not None:
        parsed = datetime.strptime(text, layout.date_format).replace(tzinfo=layout.zone)
        timed = any(part in layout.date_format for part in ("%H", "%I"))
        return parsed if timed else datetime.combine(parsed.date(), time.max, layout.zone)
    if len(text) == 10 and text[2] == text[5] == ".":
        text = f"{text[6:]}-{text[3:5]}-{text[:2]}"
    text = text.replace("/", "-")
    if len(text) == 10:
        return datetime.combine(date.fromisoformat(text), time.max, layout.zone)
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=layout.zone)
