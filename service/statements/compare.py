"""Compares a statement with the ledger: differences, records only in the statement, records only in the ledger.

Each record is matched at most once. A balance is compared as of its own time, or of the requested time if it has none.
Entries are compared with the statement lines that changed a balance. Openings are left out, because no vendor lists
them.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from ledger.database import Connection
from projections.accounts.lapses import lapsed_between
from projections.queries.holder_history import LotHistory
from service.statements import match
from service.statements.columns import StatementLayout, StatementRecord, UnreadableLine
from service.statements.ledger_entries import read_entries
from service.statements.match import StatementEntry
from service.statements.staging import AccountName, StagedLine, StagedStatement

ACCOUNTS_PER_READ = 500
DAYS_DEFAULT = 3

ORGS = "SELECT source, org FROM orgs WHERE ledger_id = $1 ORDER BY source, org LIMIT 1000"
BY_ID = "SELECT account_id FROM accounts WHERE ledger_id = $1 AND account_id = ANY ($2)"
BY_CUSTOMER = """
    SELECT account_id, customer, programme, unit FROM accounts WHERE ledger_id = $1 AND customer = ANY ($2)
     ORDER BY account_id
"""

# The last line up to the time. A lapse after an account's last fact has no line yet.
LINE_BALANCES = """
    SELECT asked.account_id, asked.at, coalesce(line.balance, 0) AS balance, a.last_at
      FROM unnest($2::text[], $3::timestamptz[]) WITH ORDINALITY AS asked (account_id, at, n)
      JOIN accounts a ON a.ledger_id = $1 AND a.account_id = asked.account_id
      LEFT JOIN LATERAL (SELECT s.balance FROM statement s
                          WHERE s.ledger_id = $1 AND s.account_id = asked.account_id AND s.occurred_at <= asked.at
                          ORDER BY s.line DESC LIMIT 1) line ON true
     ORDER BY asked.n
"""
DATED_LOTS = """
    SELECT account_id, lot_id, earned_at, lapses_at, remaining FROM lots
     WHERE ledger_id = $1 AND account_id = ANY ($2) AND remaining > 0 AND lapses_at IS NOT NULL
"""
ACCOUNTS_OF_PROGRAMMES = """
    SELECT account_id FROM accounts
     WHERE ledger_id = $1 AND account_id > $2 AND programme = ANY ($3) ORDER BY account_id LIMIT $4
"""
PROGRAMMES = "SELECT DISTINCT programme FROM accounts WHERE ledger_id = $1 AND account_id = ANY ($2)"


UNTIMED_NOTE = "the event states no time; the day is that of recording"


class StatementFinding(NamedTuple):
    """One disagreement. `finding` is differs, only-theirs, only-ours, unknown-account or bad-line."""

    finding: str
    account: str | None = None
    line: int | None = None
    day: date | None = None
    theirs: Decimal | None = None
    ours: Decimal | None = None
    difference: Decimal | None = None  # theirs minus ours
    reference: str | None = None
    kind: str | None = None
    position: int | None = None
    note: str | None = None


Findings: TypeAlias = AsyncIterator[StatementFinding]


@dataclass(slots=True)
class StatementComparison:
    """Running totals of a comparison."""

    of: str = ""
    lines: int = 0
    matched: int = 0
    findings: dict[str, int] = field(default_factory=dict)
    matched_by: dict[str, int] = field(default_factory=dict)

    def count(self, finding: StatementFinding) -> StatementFinding:
        self.findings[finding.finding] = self.findings.get(finding.finding, 0) + 1
        return finding

    def agree(self, by: str) -> None:
        self.matched += 1
        self.matched_by[by] = self.matched_by.get(by, 0) + 1


class ComparisonRules(NamedTuple):
    """Rules of a comparison: the time for balances without a time, the days that matched entries may be apart, and the
    accepted difference.
    """

    at: datetime
    days: int = DAYS_DEFAULT
    tolerance: Decimal = Decimal(0)


async def compare_statement(
    connection: Connection,
    ledger_id: int,
    parsed_lines: Iterable[StatementLayout | StatementRecord | UnreadableLine],
    rules: ComparisonRules,
    compared: StatementComparison,
) -> Findings:
    """Compare the parsed lines of a statement with a ledger, and yield the findings. `compared` is updated on the
    way."""
    layout: StatementLayout | None = None
    with StagedStatement() as staged:
        for parsed in parsed_lines:
            if isinstance(parsed, StatementLayout):
                layout, compared.of = parsed, parsed.of
                continue
            compared.lines += 1
            if isinstance(parsed, UnreadableLine):
                yield compared.count(StatementFinding("bad-line", line=parsed.line, note=parsed.reason))
            else:
                staged.put(parsed)
        assert layout is not None
        comparer = _Comparer(connection, ledger_id, staged, rules, compared)
        async for finding in comparer.find_accounts():
            yield compared.count(finding)
        balances = layout.of == "balances"
        async for finding in comparer.compare_balances() if balances else comparer.compare_entries(layout.zone):
            yield compared.count(finding)


@dataclass(frozen=True, slots=True)
class _Comparer:
    """Compares the staged lines of a statement with a ledger."""

    connection: Connection
    ledger_id: int
    staged: StagedStatement
    rules: ComparisonRules
    compared: StatementComparison

    async def find_accounts(self) -> Findings:
        """Find the account of each name. Yield the lines with an unknown or ambiguous name."""
        orgs = [f"{row['source']}:{row['org']}:" for row in await self.connection.fetch(ORGS, self.ledger_id)]
        for names in self.staged.names():
            found = await self._resolve(names, orgs)
            self.staged.resolve([(name, account_id) for name, account_id in found.items()])
        for line in self.staged.unresolved():
            yield StatementFinding("unknown-account", line=line, note="it matches no account, or several")

    async def _resolve(self, names: Sequence[AccountName], orgs: Sequence[str]) -> Mapping[AccountName, str]:
        """Look up each name as a full id and as a bare id of every organisation. Return the names with exactly one
        account."""
        prefixes = ("", *orgs)
        ids = {f"{prefix}{text}" for name in names for text in _ids_of(name) for prefix in prefixes}
        known = {row["account_id"] for row in await self.connection.fetch(BY_ID, self.ledger_id, sorted(ids))}
        customers = {f"{prefix}{name.customer}" for name in names if name.customer for prefix in prefixes}
        held: dict[str, list[tuple[str, str, str]]] = {}
        for row in await self.connection.fetch(BY_CUSTOMER, self.ledger_id, sorted(customers)):
            held.setdefault(row["customer"], []).append((row["account_id"], row["programme"], row["unit"]))
        found = {}
        for name in names:
            fits = {f"{prefix}{text}" for text in _ids_of(name) for prefix in prefixes} & known
            if not fits and name.customer:
                fits = {
                    account_id
                    for prefix in prefixes
                    for account_id, programme, unit in held.get(f"{prefix}{name.customer}", ())
                    if unit == name.unit and name.programme in (None, programme)
                }
            if len(fits) == 1:
                found[name] = fits.pop()
        return found

    async def compare_balances(self) -> Findings:
        """Compare each balance as of its time, then find the accounts that the statement does not name."""
        programmes: set[str] = set()
        batch: list[tuple[str, StagedLine]] = []
        last_time = self.rules.at
        for account_id, lines in self.staged.by_account():
            seen: set[datetime] = set()
            for line in lines:
                at = line.at or self.rules.at
                if at in seen:
                    note = "a second line for the same account and time"
                    yield StatementFinding("only-theirs", account_id, line=line.line, theirs=line.points, note=note)
                    continue
                seen.add(at)
                batch.append((account_id, line))
                last_time = at
            if len(batch) >= ACCOUNTS_PER_READ:
                for finding in await self._compare_some(batch, programmes):
                    yield finding
                batch = []
        for finding in await self._compare_some(batch, programmes):
            yield finding
        async for finding in self._only_ours(last_time, sorted(programmes)):
            yield finding

    async def _compare_some(
        self, batch: Sequence[tuple[str, StagedLine]], programmes: set[str]
    ) -> list[StatementFinding]:
        """Compare a batch of balances. Adds the programmes of its accounts to `programmes`."""
        ids = [account_id for account_id, _ in batch]
        programmes |= {row["programme"] for row in await self.connection.fetch(PROGRAMMES, self.ledger_id, ids)}
        balances = await self._balances(ids, [line.at or self.rules.at for _, line in batch])
        findings = []
        for (account_id, line), ours in zip(batch, balances, strict=True):
            difference = line.points - ours
            if abs(difference) <= self.rules.tolerance:
                self.compared.agree("balance")
                continue
            day = None if line.at is None else line.at.date()
            findings.append(StatementFinding("differs", account_id, line.line, day, line.points, ours, difference))
        return findings

    async def _balances(self, account_ids: Sequence[str], times: Sequence[datetime]) -> list[Decimal]:
        """Return the balance of each account at its time, without the lots that have lapsed since its last fact."""
        lots: dict[str, list[LotHistory]] = {}
        for row in await self.connection.fetch(DATED_LOTS, self.ledger_id, account_ids):
            lots.setdefault(row["account_id"], []).append(LotHistory(*row))
        balances = []
        for row in await self.connection.fetch(LINE_BALANCES, self.ledger_id, account_ids, times):
            lapsed = lapsed_between(lots.get(row["account_id"], ()), row["last_at"], row["at"])
            balances.append(row["balance"] - sum((lot.remaining for _, lot in lapsed), Decimal(0)))
        return balances

    async def _only_ours(self, at: datetime, programmes: Sequence[str]) -> Findings:
        """Yield accounts with points that the statement does not name, within the statement's programmes."""
        after = ""
        while True:
            rows = await self.connection.fetch(
                ACCOUNTS_OF_PROGRAMMES, self.ledger_id, after, programmes, ACCOUNTS_PER_READ
            )
            ids = [row["account_id"] for row in rows if not self.staged.has(row["account_id"])]
            for account_id, ours in zip(ids, await self._balances(ids, [at] * len(ids)), strict=True):
                if ours:
                    yield StatementFinding("only-ours", account_id, ours=ours, difference=-ours)
            if len(rows) < ACCOUNTS_PER_READ:
                return
            after = rows[-1]["account_id"]

    async def compare_entries(self, zone: ZoneInfo) -> Findings:
        """Match entries account by account. Lines near the statement's first and last day can be matched. They are not
        reported as missing.
        """
        days = self.staged.days()
        if days is None:
            return
        first, last = days
        apart = timedelta(days=self.rules.days)
        since = datetime.combine(first - apart, time.min, zone)
        until = datetime.combine(last + apart, time.max, zone)
        for account_id, lines in self.staged.by_account():
            ours = await read_entries(self.connection, self.ledger_id, account_id, since, until, zone)
            theirs = [StatementEntry(line.line, line.day or first, line.points, line.reference) for line in lines]
            for pair in match.match_entries(theirs, ours, self.rules.days):
                finding = _of_pair(account_id, pair.theirs, pair.ours, self.rules)
                if finding is None:
                    self.compared.agree(pair.by)
                elif pair.theirs is not None or first <= (finding.day or first) <= last:
                    yield finding


def _ids_of(name: AccountName) -> list[str]:
    """Return possible account ids of a name: the given id, and the holder's id with programme and unit."""
    holder = name.account
    if holder is None:
        return []
    whole = [f"{holder}:{name.programme}:{name.unit}"] if name.programme else []
    return [holder, *whole]


def _of_pair(
    account_id: str, theirs: StatementEntry | None, ours: StatementEntry | None, rules: ComparisonRules
) -> StatementFinding | None:
    entry = theirs or ours
    assert entry is not None
    difference = (theirs.points if theirs else Decimal(0)) - (ours.points if ours else Decimal(0))
    if theirs and ours and abs(difference) <= rules.tolerance:
        return None
    return StatementFinding(
        finding="differs" if theirs and ours else "only-theirs" if theirs else "only-ours",
        account=account_id,
        line=theirs.number if theirs else None,
        day=entry.day,
        theirs=theirs.points if theirs else None,
        ours=ours.points if ours else None,
        difference=difference,
        reference=ours.reference if ours else None,
        kind=ours.kind if ours else None,
        position=ours.position if ours else None,
        note=UNTIMED_NOTE if ours and ours.untimed else None,
    )
