"""Balances that do not agree with the vendor's: claims, lapsed lots, promises past their day, sums."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from service.answers import plain
from service.reconciliation.lists import Item, day_and_time, from_sql

EXPIRY_GRACE = timedelta(days=7)  # vendors expire by jobs that run now and then
PROMISE_GRACE = timedelta(days=2)

DRIFTING = """
    SELECT a.account_id, a.programme, a.unit, a.customer, a.available, a.claimed, a.claimed_at, a.drift, a.missing,
           a.unseen, a.lapsed, a.drift_since, a.drift_position, a.agreed_at, a.agreed_position,
           (SELECT min(u.position) FROM unread u
             WHERE u.ledger_id = a.ledger_id AND u.position > coalesce(a.agreed_position, 0)
               AND u.position < a.drift_position) AS unread_position
      FROM accounts a
     WHERE a.ledger_id = $1 AND (a.drift <> 0 OR a.missing <> 0) AND a.drift_since <= $2 AND a.account_id > $4
     ORDER BY a.account_id LIMIT $3
"""
DRIFTING_IN_ALL = """
    SELECT unit, count(*) AS items, sum(missing) AS points FROM (
        SELECT unit, missing FROM accounts
         WHERE ledger_id = $1 AND (drift <> 0 OR missing <> 0) AND drift_since <= $2 LIMIT $3) counted
     GROUP BY unit
"""


def drifting(row: Any) -> Item:
    names = ("programme", "customer", "available", "claimed", "claimed_at", "drift", "unseen")
    details = {name: row[name] for name in (*names, "agreed_at", "agreed_position")}
    return Item(
        id=row["account_id"],
        amount=row["missing"],
        unit=row["unit"],
        position=row["drift_position"],
        since=row["drift_since"],
        cause=_cause_of_drift(row),
        details=details,
    )


def _cause_of_drift(row: Any) -> str:
    """Say what most likely was never told, and where."""
    missing: Decimal = row["missing"]
    if row["claimed_at"] is not None and row["drift_since"] > row["claimed_at"]:
        return "An adjustment of ours since the vendor's last claim: take it back if what was missing has arrived."
    if missing > 0 and missing == row["lapsed"]:
        return f"{plain(missing)} lapsed here that the vendor still counts."
    place = f"by {day_and_time(row['drift_since'])} (position {row['drift_position']})"
    if row["agreed_position"] is not None:
        place = f"between {day_and_time(row['agreed_at'])} (position {row['agreed_position']}) and {place[3:]}"
    kind = "credit" if missing > 0 else "debit"
    text = f"A {kind} of {plain(abs(missing))} never arrived, {place}."
    if not missing:
        text = f"A debit of {plain(abs(row['drift']))} and as large a credit never arrived, {place}."
    if row["unread_position"] is not None:
        text += f" An event in between, at position {row['unread_position']}, could not be read: look there first."
    return text


DRIFT = from_sql(
    "drift",
    "Accounts whose balance is not what the vendor claims, or that prove events we never got",
    page=DRIFTING,
    totals=DRIFTING_IN_ALL,
    key=("account_id",),
    start=("",),
    item=drifting,
    columns=("programme", "customer", "available", "claimed", "claimed_at", "drift", "unseen", "agreed_at"),
)

UNREPORTED = """
    SELECT l.account_id, l.lot_id, l.remaining, l.expires_on, l.lapses_at, l.position, l.origin, l.bill_number,
           a.unit, a.programme, a.customer, a.claimed_at, a.drift
      FROM lots l JOIN accounts a ON a.ledger_id = l.ledger_id AND a.account_id = l.account_id
     WHERE l.ledger_id = $1 AND l.remaining > 0 AND l.lapses_at IS NOT NULL AND l.lapses_at <= $2
       AND (l.lapses_at, l.account_id, l.lot_id) > ($4, $5, $6)
     ORDER BY l.lapses_at, l.account_id, l.lot_id LIMIT $3
"""
UNREPORTED_IN_ALL = """
    SELECT unit, count(*) AS items, sum(remaining) AS points FROM (
        SELECT substring(account_id FROM '[^:]*$') AS unit, remaining FROM lots
         WHERE ledger_id = $1 AND remaining > 0 AND lapses_at IS NOT NULL AND lapses_at <= $2 LIMIT $3) counted
     GROUP BY unit
"""


def unreported(row: Any) -> Item:
    claimed_at: datetime | None = row["claimed_at"]
    if claimed_at is None or claimed_at < row["lapses_at"]:
        cause = "The vendor has said nothing of this account since its day was over."
    elif row["drift"] == 0:
        cause = "The vendor's claims since agree that they lapsed; its report of it never arrived."
    else:
        cause = "The vendor still counts them, or lapses them later than we were told."
    names = ("programme", "customer", "expires_on", "origin", "bill_number")
    return Item(
        id=f"{row['account_id']} {row['lot_id']}",
        amount=row["remaining"],
        unit=row["unit"],
        position=row["position"],
        since=row["lapses_at"],
        cause=cause,
        details={"account": row["account_id"], "lot": row["lot_id"], **{name: row[name] for name in names}},
    )


EPOCH = datetime(1, 1, 2, tzinfo=UTC)
EXPIRIES = from_sql(
    "expiries",
    "Lots whose day is over and whose expiry the vendor has not reported",
    page=UNREPORTED,
    totals=UNREPORTED_IN_ALL,
    key=("lapses_at", "account_id", "lot_id"),
    start=(EPOCH, "", ""),
    item=unreported,
    columns=("account", "lot", "programme", "customer", "expires_on", "origin", "bill_number"),
    grace=EXPIRY_GRACE,
)

EARLY = """
    SELECT account_id, programme, unit, customer, expired_early, expired_early_at, expired_early_position
      FROM accounts
     WHERE ledger_id = $1 AND expired_early > 0 AND expired_early_at <= $2 AND account_id > $4
     ORDER BY account_id LIMIT $3
"""
EARLY_IN_ALL = """
    SELECT unit, count(*) AS items, sum(expired_early) AS points FROM (
        SELECT unit, expired_early FROM accounts
         WHERE ledger_id = $1 AND expired_early > 0 AND expired_early_at <= $2 LIMIT $3) counted
     GROUP BY unit
"""


def early(row: Any) -> Item:
    return Item(
        id=row["account_id"],
        amount=row["expired_early"],
        unit=row["unit"],
        position=row["expired_early_position"],
        since=row["expired_early_at"],
        cause="The vendor moved the day without telling, counts in another time zone, or expired what it should not.",
        details={"programme": row["programme"], "customer": row["customer"]},
    )


EARLY_EXPIRIES = from_sql(
    "early-expiries",
    "Accounts whose points the vendor reported as expired before they were due",
    page=EARLY,
    totals=EARLY_IN_ALL,
    key=("account_id",),
    start=("",),
    item=early,
    columns=("programme", "customer"),
)

OVERDUE = """
    SELECT p.account_id, p.promise_id, p.remaining, p.converts_on, p.promised_at, p.bill_number, p.position,
           a.unit, a.programme, a.customer
      FROM promises p JOIN accounts a ON a.ledger_id = p.ledger_id AND a.account_id = p.account_id
     WHERE p.ledger_id = $1 AND p.remaining > 0 AND p.converts_on <= ($2::timestamptz AT TIME ZONE 'UTC')::date
       AND (p.converts_on, p.account_id, p.promise_id) > ($4, $5, $6)
     ORDER BY p.converts_on, p.account_id, p.promise_id LIMIT $3
"""
OVERDUE_IN_ALL = """
    SELECT unit, count(*) AS items, sum(remaining) AS points FROM (
        SELECT substring(account_id FROM '[^:]*$') AS unit, remaining FROM promises
         WHERE ledger_id = $1 AND remaining > 0 AND converts_on <= ($2::timestamptz AT TIME ZONE 'UTC')::date
         LIMIT $3) counted
     GROUP BY unit
"""


def overdue(row: Any) -> Item:
    names = ("programme", "customer", "converts_on", "promised_at", "bill_number")
    return Item(
        id=f"{row['account_id']} {row['promise_id']}",
        amount=row["remaining"],
        unit=row["unit"],
        position=row["position"],
        since=datetime.combine(row["converts_on"], time(), UTC),
        cause="The day came and no conversion was told: its event never arrived, or the vendor took the promise back.",
        details={"account": row["account_id"], "promise": row["promise_id"], **{name: row[name] for name in names}},
    )


PROMISES = from_sql(
    "promises",
    "Promised points past the day on which they were to become spendable",
    page=OVERDUE,
    totals=OVERDUE_IN_ALL,
    key=("converts_on", "account_id", "promise_id"),
    start=(date.min, "", ""),
    item=overdue,
    columns=("account", "promise", "programme", "customer", "converts_on", "promised_at", "bill_number"),
    grace=PROMISE_GRACE,
)

UNTIED = """
    SELECT s.account_id, s.line, s.kind, s.untied, s.reference, s.occurred_at, s.position, a.unit, a.programme,
           a.customer, s.postings = '[]' AS unplaced
      FROM statement s JOIN accounts a ON a.ledger_id = s.ledger_id AND a.account_id = s.account_id
     WHERE s.ledger_id = $1 AND s.untied IS NOT NULL AND s.occurred_at <= $2 AND (s.account_id, s.line) > ($4, $5)
     ORDER BY s.account_id, s.line LIMIT $3
"""
UNTIED_IN_ALL = """
    SELECT unit, count(*) AS items, sum(untied) AS points FROM (
        SELECT substring(account_id FROM '[^:]*$') AS unit, untied FROM statement
         WHERE ledger_id = $1 AND untied IS NOT NULL AND occurred_at <= $2 LIMIT $3) counted
     GROUP BY unit
"""


def untied(row: Any) -> Item:
    amount: Decimal = row["untied"]
    cause = f"The vendor's total is {plain(abs(amount))} {'above' if amount > 0 else 'below'} the sum of its parts."
    cause += " The parts were booked: a programme may have been left out."
    if row["kind"] == "IssueReversed":
        cause = f"By the vendor's total for the bill, {plain(amount)} more were taken back than we were told of."
        cause += " What this event takes back was booked: an earlier return of the bill never arrived."
    elif row["kind"] == "RedemptionReversed" and row["unplaced"]:
        cause = f"{plain(amount)} were given back for a redemption that was never told, and no programme is named."
        cause += " Nothing was booked: ask the vendor for the redemption, or adjust the account."
    names = ("programme", "customer", "kind", "reference")
    return Item(
        id=f"{row['account_id']} {row['line']}",
        amount=amount,
        unit=row["unit"],
        position=row["position"],
        since=row["occurred_at"],
        cause=cause,
        details={"account": row["account_id"], "line": row["line"], **{name: row[name] for name in names}},
    )


SUMS = from_sql(
    "sums",
    "The vendor's sums over programmes, lots or returns of a bill that what it told us does not add up to",
    page=UNTIED,
    totals=UNTIED_IN_ALL,
    key=("account_id", "line"),
    start=("", 0),
    item=untied,
    columns=("account", "line", "programme", "customer", "kind", "reference"),
)
