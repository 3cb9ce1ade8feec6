"""Lists about balances: unreported expiries, early expiries, overdue promises, and totals that differ from their
parts."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from ledger.decimals import format_decimal
from service.reconciliation.lists import list_from_sql

EXPIRY_GRACE = timedelta(days=7)  # vendors' expiry jobs run at intervals
PROMISE_GRACE = timedelta(days=2)

UNREPORTED = """
    SELECT l.account_id || ' ' || l.lot_id AS id, l.account_id AS account, l.lot_id AS lot, l.remaining AS amount,
           l.expires_on, l.lapses_at AS since, l.position, l.origin, l.bill_number,
           a.unit, a.programme, a.customer, a.claimed_at, a.drift, a.missing, a.last_at,
           due.lots AS lots_due, due.remaining AS remaining_due, due.expired AS expired_due
      FROM lots l JOIN accounts a ON a.ledger_id = $1 AND a.account_id = l.account_id
      CROSS JOIN LATERAL (
           SELECT count(*) AS lots, sum(one.remaining) AS remaining, sum(one.expired) AS expired FROM (
                SELECT * FROM lots d
                 WHERE d.ledger_id = $1 AND d.account_id = l.account_id LIMIT 1000) one
            WHERE one.lapses_at <= $2 AND one.remaining + one.expired > 0) due
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


def _cause_unreported(row: Any) -> str:
    """Write how many points the vendor reported as expired, and whether its later claims still count the rest."""
    if row["expired_due"]:
        reported, due = format_decimal(row["expired_due"]), format_decimal(row["expired_due"] + row["remaining_due"])
        cause = f"The vendor reported {reported} of {due} as expired."
        if row["lots_due"] > 1:
            lapsed = f"the {due} lapsed points of this account"
            cause = f"The vendor reported {reported} of {lapsed} as expired, without naming the lots."
    elif row["last_at"] is None or row["last_at"] < row["since"]:
        return "The vendor has sent no event of this account since the lot's last day."
    else:
        cause = "The vendor has not reported its expiry."
    claimed_at: datetime | None = row["claimed_at"]
    if claimed_at is None or claimed_at < row["since"]:
        return f"{cause} No later balance from the vendor shows whether it still counts the rest."
    if not row["drift"] and not row["missing"]:
        return f"{cause} Its later claims agree that all of it lapsed."
    drift = format_decimal(row["drift"])
    if row["drift"] in (row["amount"], row["remaining_due"]):
        return f"{cause} It claims {drift} more than our balance, the same amount: it may still count them."
    return f"{cause} The cause is not known: its last claim differs by {drift}. See the list `drift`."


EPOCH = datetime(1, 1, 2, tzinfo=UTC)
EXPIRIES = list_from_sql(
    "expiries",
    "Lots past their last day whose expiry the vendor has not reported",
    page=UNREPORTED,
    totals=UNREPORTED_IN_ALL,
    key=("since", "account", "lot"),
    start=(EPOCH, "", ""),
    cause=_cause_unreported,
    columns=("account", "lot", "programme", "customer", "expires_on", "origin", "bill_number"),
    grace=EXPIRY_GRACE,
)

EARLY = """
    SELECT account_id AS id, programme, unit, customer, expired_early AS amount, expired_early_at AS since,
           expired_early_position AS position
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


EARLY_EXPIRIES = list_from_sql(
    "early-expiries",
    "Accounts with points that the vendor reported as expired before their day",
    page=EARLY,
    totals=EARLY_IN_ALL,
    key=("id",),
    start=("",),
    cause="The cause is not known. The vendor may have moved a day without an event, may use another time zone, may "
    "have expired points of a credit that never arrived, or may have reported an expiry twice.",
    columns=("programme", "customer"),
)

OVERDUE = """
    SELECT p.account_id || ' ' || p.promise_id AS id, p.account_id AS account, p.promise_id AS promise, p.points,
           p.remaining AS amount, p.converted, p.converts_on, p.promised_at, p.bill_number, p.position, a.unit,
           p.converts_on::timestamp AT TIME ZONE 'UTC' AS since, a.programme, a.customer
      FROM promises p JOIN accounts a ON a.ledger_id = $1 AND a.account_id = p.account_id
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


def _cause_overdue(row: Any) -> str:
    conversion = "no conversion was reported"
    if row["converted"]:
        conversion = f"{format_decimal(row['converted'])} of {format_decimal(row['points'])} were converted"
    return (
        f"The day has passed and {conversion}. The cause is not known: an event never arrived, the vendor is late, or "
        "the vendor withdrew the promise."
    )


PROMISES = list_from_sql(
    "promises",
    "Promised points past the day on which they should become spendable",
    page=OVERDUE,
    totals=OVERDUE_IN_ALL,
    key=("converts_on", "account", "promise"),
    start=(date.min, "", ""),
    cause=_cause_overdue,
    columns=("account", "promise", "programme", "customer", "converts_on", "promised_at", "bill_number"),
    grace=PROMISE_GRACE,
)

UNTIED = """
    SELECT s.account_id || ' ' || s.line AS id, s.account_id AS account, s.line, s.kind, s.untied AS amount,
           s.reference, s.occurred_at AS since, s.position, a.unit, a.programme, a.customer,
           s.postings = '[]' AS unplaced
      FROM statement s JOIN accounts a ON a.ledger_id = $1 AND a.account_id = s.account_id
     WHERE s.ledger_id = $1 AND s.untied IS NOT NULL AND s.occurred_at <= $2 AND (s.account_id, s.line) > ($4, $5)
     ORDER BY s.account_id, s.line LIMIT $3
"""
UNTIED_IN_ALL = """
    SELECT unit, count(*) AS items, sum(abs(untied)) AS points FROM (
        SELECT substring(account_id FROM '[^:]*$') AS unit, untied FROM statement
         WHERE ledger_id = $1 AND untied IS NOT NULL AND occurred_at <= $2 LIMIT $3) counted
     GROUP BY unit
"""


MULTI_PROGRAMME_KINDS = ("Redeemed", "TransferSent")  # their total covers all programmes that gave points


def _cause_untied(row: Any) -> str:
    """Write which points were booked, and what the vendor's total covers."""
    amount: Decimal = row["amount"]
    points = format_decimal(abs(amount))
    if row["kind"] == "IssueReversed" and amount < 0:
        return (
            f"The vendor's total for the bill is {points} less than the sum of its returns. "
            "All returns were booked. Ask the vendor whether one return was reported twice."
        )
    if row["kind"] == "IssueReversed":
        return (
            f"The vendor's total for the bill is {points} more than the sum of the reported returns. The points of "
            "this "
            "event were booked. An earlier return of the bill never arrived, or this event reports too few points."
        )
    if row["kind"] == "RedemptionReversed" and row["unplaced"]:
        return (
            f"{points} were given back for a redemption that was never reported, and the event names no programme. "
            "Nothing was booked. Ask the vendor for the redemption, or adjust the account."
        )
    difference = f"The vendor's total is {points} {'above' if amount > 0 else 'below'} the sum of its parts."
    if row["kind"] == "PromisedConverted":
        return f"{difference} The total was booked. The cause is not known. Ask the vendor which of the two is right."
    booked = (
        "The parts were booked, each to its programme."
        if row["kind"] in MULTI_PROGRAMME_KINDS
        else "The parts were booked."
    )
    return f"{difference} {booked} The cause is not known. Ask the vendor which of the two is right."


SUMS = list_from_sql(
    "sums",
    "Totals of the vendor over programmes, lots or returns of a bill that differ from the sum of the reported parts",
    page=UNTIED,
    totals=UNTIED_IN_ALL,
    key=("account", "line"),
    start=("", 0),
    cause=_cause_untied,
    columns=("account", "line", "programme", "customer", "kind", "reference"),
)
