"""Flags of rows, as lists: contradicting outcomes, gaps in the history, doubtful values.

A flag without a list is a fault that nobody sees. FLAGS maps every flag of every projection table to its list; a test
compares it with the tables.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from ledger.database import Connection
from service.reconciliation.lists import COUNTED_MAX, Key, ListQuery, ListTotals, OpenItem, OpenList

FLAG_GRACE = timedelta(days=2)  # vendors send events late and out of order


class Flag(NamedTuple):
    """One flag of a table's rows. All fields except `table` and `column` are SQL over the row `t`."""

    table: str
    column: str
    cause: str  # a string literal, or an SQL expression of a sentence
    since: str = "NULL::timestamptz"  # NULL: the recorded time of the row's last event
    amount: str = "NULL::numeric"
    unit: str = "'points'"
    customer: str = "t.customer"
    condition: str = ""  # if the column is not a boolean
    subject: str = "t.subject"
    ordinal: str = "0"  # distinguishes rows of one subject
    position: str = "t.last_position"

    @property
    def after(self) -> str:
        """SQL condition for rows after a key: $4 is the subject, $5 the ordinal."""
        if self.ordinal == "0":
            return f"{self.subject} > $4 AND $5::int IS NOT NULL"
        return f"({self.subject}, {self.ordinal}) > ($4, $5::int)"

    @property
    def order(self) -> str:
        return self.subject if self.ordinal == "0" else f"{self.subject}, {self.ordinal}"

    @property
    def holds(self) -> str:
        return self.condition or f"t.{self.column}"


def _sql_text(sentence: str) -> str:
    return "'" + sentence.replace("'", "''") + "'"


BOTH_OUTCOMES = _sql_text("Both outcomes were reported. Ask the vendor which is true.")
SAME_INSTANT = _sql_text("Different values were reported for the same time. Ask the vendor which is true.")
NOT_REPORTED = _sql_text("Its beginning was never reported: an event is missing, or is older than the connection.")

CONTESTED = (
    Flag(
        "accounts",
        "contested",
        _sql_text("A merge, a reversal or an order item contradicts earlier reports. See the statement."),
        since="t.last_at",
        subject="t.account_id",
    ),
    Flag(
        "order_items",
        "contested",
        "CASE WHEN t.refunded_at IS NULL THEN "
        + _sql_text("It was reported as delivered and as not delivered. Ask the vendor which is true.")
        + " ELSE "
        + _sql_text("It was delivered, and its points were given back. The customer has the goods and the points.")
        + " END",
        since="greatest(t.fulfilled_at, t.failed_at, t.cancelled_at, t.refunded_at)",
        amount="CASE WHEN t.refunded > 0 THEN t.refunded ELSE t.points_paid END",
    ),
    Flag(
        "order_items",
        "contradicted",
        _sql_text("The event's name and the item's status contradict each other. The status counts. Ask the vendor."),
        since="greatest(t.fulfilled_at, t.failed_at, t.cancelled_at)",
        amount="t.points_paid",
    ),
    Flag(
        "reward_redemptions",
        "contested",
        _sql_text("It was reported as given and as failed. Ask the vendor which is true."),
        since="greatest(t.completed_at, t.failed_at)",
        amount="t.points",
    ),
    Flag("requests", "contested", BOTH_OUTCOMES, since="t.decided_at", amount="t.points"),
    Flag("milestones", "contested", SAME_INSTANT, since="t.valued_at"),
    Flag("milestone_groups", "contested", SAME_INSTANT, since="greatest(t.achieved_at, t.unachieved_at)"),
    Flag("streaks", "contested", SAME_INSTANT, since="coalesce(t.ended_at, t.started_at)"),
    Flag(
        "tier_history",
        "contradiction",
        _sql_text("The event names the same tier before and after. A change may be missing."),
        since="t.since",
        customer="NULL::text",
        ordinal="t.ordinal",
    ),
    Flag(
        "coupons",
        "over_redeemed",
        "'It was redeemed ' || t.redeemed_count || ' times of ' || t.quantity || '. Ask the vendor.'",
        since="t.redeemed_at",
    ),
)

GAPS = (
    Flag(
        "accounts",
        "incomplete",
        _sql_text("More points were spent than were reported as earned. Earlier events are missing."),
        amount="nullif(t.unseen, 0)",
        unit="t.unit",
        subject="t.account_id",
    ),
    Flag(
        "tier_history",
        "gap",
        _sql_text("The previous tier in the event is not the last reported tier. A change of tier is missing."),
        since="coalesce(t.since, t.left_at)",
        customer="NULL::text",
        ordinal="t.ordinal",
    ),
    Flag(
        "partner_memberships",
        "gap",
        _sql_text("A start or an end of the membership was never reported."),
        since="t.updated_at",
    ),
    Flag(
        "cards",
        "gap",
        _sql_text("The previous status in the event is not the last reported status. A change is missing."),
        since="t.updated_at",
        customer="NULL::text",
    ),
    Flag(
        "badges",
        "missing_count",
        "'The vendor counts ' || t.missing_count || ' more than were reported.'",
        condition="t.missing_count > 0",
        since="t.last_earned_at",
    ),
    Flag(
        "streaks",
        "after_unenrolment_count",
        _sql_text(
            "Events arrived for a customer who had left the streak. An enrolment is missing, or the events are wrong."
        ),
        condition="t.after_unenrolment_count > 0",
        since="t.unenrolled_at",
    ),
    Flag("streaks", "incomplete", NOT_REPORTED, since="coalesce(t.ended_at, t.unenrolled_at)"),
    Flag(
        "coupons",
        "claim_differs",
        "'The vendor counts ' || t.claimed_count || ' redemptions, ' || t.redeemed_count || ' were reported.'",
        since="coalesce(t.reversed_at, t.redeemed_at, t.issued_at)",
    ),
    Flag(
        "coupons",
        "reversed_unseen",
        _sql_text("The redemption of a reversal was never reported."),
        since="t.reversed_at",
    ),
    Flag("coupons", "incomplete", NOT_REPORTED, since="coalesce(t.redeemed_at, t.reversed_at)"),
    Flag("redemption_records", "incomplete", NOT_REPORTED, since="t.first_seen_at", customer="NULL::text"),
    Flag("customers", "incomplete", NOT_REPORTED, since="coalesce(t.updated_at, t.merged_at)", customer="t.subject"),
    Flag("bills", "incomplete", NOT_REPORTED, since="t.updated_at"),
    Flag("rewards", "incomplete", NOT_REPORTED, since="coalesce(t.updated_at, t.claimed_at)", customer="NULL::text"),
    Flag("promotions", "incomplete", _sql_text("A promotion was revoked or used without a report of its issue.")),
)

DOUBTFUL = (
    Flag(
        "tier_history",
        "until_unreadable",
        _sql_text("The end of the tier cannot be read. The tier is shown without an end."),
        since="t.since",
        customer="NULL::text",
        ordinal="t.ordinal",
    ),
    Flag(
        "bills",
        "delivery_status_unknown",
        _sql_text("The vendor does not document this delivery status."),
        since="coalesce(t.updated_at, t.added_at)",
    ),
    Flag(
        "bills",
        "entered_in_future",
        _sql_text("The bill was entered after it was reported, by its own time. Its clock or time zone is wrong."),
        since="coalesce(t.updated_at, t.added_at)",
    ),
    Flag(
        "redemption_records",
        "undone",
        _sql_text(
            "The record was deleted. We treat the redemption as undone, although the vendor did not report that."
        ),
        since="t.deleted_at",
        customer="NULL::text",
    ),
)

# Flags that repeat a flag above, or that another list reads.
READ_ELSEWHERE = {
    ("tiers", "gap"): "gaps",
    ("tiers", "contradiction"): "contested",
    ("tiers", "until_unreadable"): "doubtful",
    ("tiers", "claim_differs"): "reminders",
    ("rewards", "claim_differs"): "reminders",
    ("partner_memberships", "claim_differs"): "reminders",
    ("transfers", "differs"): "transfers",
    ("reward_redemptions", "refund_expected"): "rewards",
    ("promotion_issuals", "incomplete"): "gaps",
    ("promotions_earned", "incomplete"): "gaps",
}


@cache
def _page_sql(flag: Flag) -> str:
    return f"""
        SELECT {flag.subject} AS subject, {flag.ordinal} AS ordinal, {flag.customer} AS customer,
               {flag.amount} AS amount,
               {flag.unit} AS unit, {flag.position} AS position, {flag.cause} AS cause,
               coalesce({flag.since}, e.recorded_at) AS since
          FROM {flag.table} t
          LEFT JOIN ledger.events e ON e.ledger_id = $1 AND e.position = {flag.position}
         WHERE t.ledger_id = $1 AND {flag.holds} AND coalesce({flag.since}, e.recorded_at) <= $2
           AND {flag.after}
         ORDER BY {flag.order} LIMIT $3
    """  # noqa: S608  # composed of our own constants only


@cache
def _totals_sql(flag: Flag) -> str:
    return f"""
        SELECT count(*) AS items, sum(amount) AS points, min(unit) AS unit FROM (
            SELECT {flag.amount} AS amount, {flag.unit} AS unit FROM {flag.table} t
              LEFT JOIN ledger.events e ON e.ledger_id = $1 AND e.position = {flag.position}
             WHERE t.ledger_id = $1 AND {flag.holds} AND coalesce({flag.since}, e.recorded_at) <= $2 LIMIT $3) counted
    """  # noqa: S608  # composed of our own constants only


def _item(flag: Flag, row: Any) -> OpenItem:
    details = {"resource": flag.table, "flag": flag.column, "customer": row["customer"]}
    amount: Decimal | None = row["amount"]
    name = (
        f"{flag.table} {row['subject']}" if row["ordinal"] == 0 else f"{flag.table} {row['subject']} {row['ordinal']}"
    )
    unit = None if amount is None else row["unit"]
    return OpenItem(name, amount, unit, row["position"], row["since"], row["cause"], details)


def _flag_list(name: str, title: str, flags: Sequence[Flag]) -> OpenList:
    """Make a list of flags, one flag after the other, each in order of subjects. A key is (number of the flag, subject,
    ordinal).
    """

    async def read(connection: Connection, query: ListQuery) -> tuple[list[OpenItem], Key | None]:
        items: list[OpenItem] = []
        number, subject, ordinal = last = query.after
        while number < len(flags):
            flag = flags[number]
            left = query.limit - len(items)
            rows = await connection.fetch(_page_sql(flag), query.ledger_id, query.opened_by, left + 1, subject, ordinal)
            shown = rows[:left]
            items += [_item(flag, row) for row in shown]
            last = (number, shown[-1]["subject"], shown[-1]["ordinal"]) if shown else last
            if len(rows) > left:
                return items, last
            number, subject, ordinal = number + 1, "", -1
        return items, None

    async def count(connection: Connection, ledger_id: int, by: datetime) -> ListTotals:
        items, points = 0, dict[str, Decimal]()
        for flag in flags:
            row = await connection.fetchrow(_totals_sql(flag), ledger_id, by, COUNTED_MAX)
            assert row is not None
            items += row["items"]
            if row["points"] is not None:
                points[row["unit"]] = points.get(row["unit"], Decimal(0)) + row["points"]
        return ListTotals(items, items >= COUNTED_MAX, points)

    return OpenList(
        name=name,
        title=title,
        read=read,
        count=count,
        columns=("resource", "flag", "customer"),
        start=(0, "", -1),
        grace=FLAG_GRACE,
        statements=(),
    )


CONTESTED_LIST = _flag_list("contested", "Items with contradicting outcomes or values", CONTESTED)
GAPS_LIST = _flag_list("gaps", "Items with a gap in their history", GAPS)
DOUBTFUL_LIST = _flag_list(
    "doubtful", "Values that cannot be read, cannot be true, or are our own conclusions", DOUBTFUL
)

FLAGS: dict[tuple[str, str], str] = {
    **{(flag.table, flag.column): "contested" for flag in CONTESTED},
    **{(flag.table, flag.column): "gaps" for flag in GAPS},
    **{(flag.table, flag.column): "doubtful" for flag in DOUBTFUL},
    **READ_ELSEWHERE,
}
STATEMENTS = {flag: (_page_sql(flag), _totals_sql(flag)) for flag in (*CONTESTED, *GAPS, *DOUBTFUL)}
