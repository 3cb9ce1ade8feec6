"""Report views that are computed when they are read. Their row types declare columns and comments as tables do.

Points that lapse by time have no event. A view adds those of lots whose day ended after the account's last fact.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

from projections.accounts.classes import MOVEMENTS, OUTSTANDING, PROMISE_CLASS_OF, SETTLED, TAKING_MOVEMENTS
from projections.tables import Position

PROGRAMME_REF = "concat_ws(':', split_part({0}, ':', 1), split_part({0}, ':', 2), split_part({0}, ':', 4))"
UNIT = "replace(replace(split_part({0}, ':', 5), '%3A', ':'), '%25', '%')"  # the last part of an account's id, unquoted
ProgrammeRef = Annotated[str, "programme as source:org:programme"]


class ComputedView(NamedTuple):
    """One computed view; see ReportView. The docstring of `row` describes it."""

    name: str
    row: type
    select: str
    key: Sequence[str]
    tables: Sequence[str]


class PositionRow(NamedTuple):
    """Position that the views have reached."""

    ledger_id: int
    position: Annotated[Position, "the views show the events up to this position"]


POSITION = ComputedView(
    "position",
    PositionRow,
    "SELECT ledger_id, position FROM checkpoints",
    ("ledger_id",),
    ("checkpoints",),
)


class BalanceRow(NamedTuple):
    """Balances of all accounts, now."""

    ledger_id: int
    account_id: str
    holder: Annotated[str, "present holder of the points"]
    customer: str
    programme: ProgrammeRef
    unit: str
    available: Annotated[Decimal, "points available now, without lapsed lots"]
    promised: Decimal
    debt: Decimal


BALANCES = ComputedView(
    "balances",
    BalanceRow,
    f"""
    SELECT a.ledger_id, a.account_id, a.holder, a.customer, {PROGRAMME_REF.format("a.account_id")} AS programme, a.unit,
           a.available - coalesce(l.points, 0) AS available, a.promised, a.debt
      FROM accounts a
      LEFT JOIN LATERAL (SELECT sum(remaining) AS points FROM lots
                          WHERE ledger_id = a.ledger_id AND account_id = a.account_id AND remaining > 0
                            AND lapses_at > a.last_at AND lapses_at <= now()) l ON true
    """,  # noqa: S608 - our own text
    ("account_id",),
    ("accounts", "lots"),
)


class MovementRow(NamedTuple):
    """Movements of outstanding points: the roll-forward, line by line."""

    ledger_id: int
    subject: Annotated[str, "the id of the holder: source:org:id"]
    account_id: str
    programme: ProgrammeRef
    unit: str
    occurred_at: Annotated[datetime, "time of the fact, or of the lapse"]
    month: Annotated[date, "first day of the month, in the programme's time zone"]
    kind: Annotated[str, "kind of the fact; Lapsed: a day ended"]
    movement: Annotated[str, "as in the roll-forward, see the guide on finance"]
    points: Annotated[Decimal, "change of the outstanding points"]
    lot_id: Annotated[str | None, "lot of the points; null outside lots, such as a debt"]
    vintage: Annotated[date | None, "first day of the month in which the lot was earned"]
    reference: str | None
    position: Annotated[Position | None, "position of the event; null for a lapse by time"]


def _case(column: str, values: Mapping[str, str]) -> str:
    whens = " ".join(f"WHEN '{name}' THEN '{movement}'" for name, movement in values.items())
    return f"CASE {column} {whens} END"


def _terms(name: str, *, of: str, at: str) -> str:
    """Return the join with the terms of a row's programme that are in effect at a time."""
    return (
        f"programmes {name} ON {name}.ledger_id = {of}.ledger_id AND {name}.subject = {of}.programme "
        f"AND {at} >= {name}.effective_from AND ({name}.effective_until IS NULL OR {at} < {name}.effective_until)"
    )


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


# A posting between an outstanding class and another is one movement. One between two outstanding classes settles a
# debt. One between two other classes is both movements. Promised points are not outstanding. See roll_forward.py.
MOVEMENT_ROWS = f"""
    WITH lines AS (
        SELECT ledger_id, subject, account_id, occurred_at, kind, reference, position, postings::jsonb AS postings
          FROM statement
        UNION ALL
        SELECT l.ledger_id, l.subject, l.account_id, l.lapses_at, 'Lapsed', NULL, NULL,
               jsonb_build_array(jsonb_build_array('available', 'lapsed', l.remaining::text, l.lot_id))
          FROM lots l JOIN accounts a ON a.ledger_id = l.ledger_id AND a.account_id = l.account_id
         WHERE l.remaining > 0 AND l.lapses_at > a.last_at AND l.lapses_at <= now()
    ), posted AS (
        SELECT l.*, {PROGRAMME_REF.format("l.account_id")} AS programme, {UNIT.format("l.account_id")} AS unit,
               p ->> 0 AS source, p ->> 1 AS target, (p ->> 2)::numeric AS points, p ->> 3 AS lot_id
          FROM lines l CROSS JOIN LATERAL jsonb_array_elements(l.postings) p
    ), moved AS (
        SELECT p.*, m.movement, m.change, m.outside_lots
          FROM posted p CROSS JOIN LATERAL (VALUES
               ({_case("p.source", MOVEMENTS)}, p.points, p.target = 'debt', p.source NOT IN ({_names(OUTSTANDING)})),
               ({_case("p.target", MOVEMENTS)}, -p.points, p.source = 'debt', p.target NOT IN ({_names(OUTSTANDING)})),
               ('{SETTLED}', -p.points, p.source = 'debt',
                p.source IN ({_names(OUTSTANDING)}) AND p.target IN ({_names(OUTSTANDING)})),
               ('{SETTLED}', p.points, p.target = 'debt',
                p.source IN ({_names(OUTSTANDING)}) AND p.target IN ({_names(OUTSTANDING)}))
               ) AS m (movement, change, outside_lots, applies)
         WHERE m.applies AND p.target <> 'promised'
           AND NOT (p.source = 'promised' AND p.target IN ({_names(list(PROMISE_CLASS_OF.values()))}))
    )
    SELECT m.ledger_id, m.subject, m.account_id, m.programme, m.unit, m.occurred_at,
           date_trunc('month', m.occurred_at AT TIME ZONE coalesce(t.time_zone, 'UTC'))::date AS month,
           m.kind, m.movement, m.change AS points, CASE WHEN NOT m.outside_lots THEN m.lot_id END AS lot_id,
           date_trunc('month', l.earned_at AT TIME ZONE coalesce(e.time_zone, 'UTC'))::date AS vintage,
           m.reference, m.position
      FROM moved m
      LEFT JOIN lots l ON l.ledger_id = m.ledger_id AND l.subject = m.subject AND l.lot_id = m.lot_id
                      AND NOT m.outside_lots
      LEFT JOIN {_terms("t", of="m", at="m.occurred_at")}
      LEFT JOIN {_terms("e", of="m", at="l.earned_at")}
"""  # noqa: S608 - names of our own classes
MOVED_TABLES = ("statement", "lots", "accounts", "programmes")

MOVEMENTS_VIEW = ComputedView(
    "movements",
    MovementRow,
    MOVEMENT_ROWS,
    (),
    MOVED_TABLES,
)


class MonthRow(NamedTuple):
    """Roll-forward of outstanding points by month, as known now; closed months are not frozen here."""

    ledger_id: int
    programme: ProgrammeRef
    unit: str
    month: Annotated[date, "first day of the month, in the programme's time zone"]
    opening: Annotated[Decimal, "outstanding points at the start of the month"]
    issued: Annotated[Decimal, "credited by the vendor"]
    converted: Annotated[Decimal, "promised points that became spendable"]
    transfers_in: Annotated[Decimal, "received from other holders"]
    merged: Annotated[Decimal, "moved by merges"]
    adjusted: Annotated[Decimal, "moved by operators"]
    openings: Annotated[Decimal, "held before the first event"]
    unseen: Annotated[Decimal, "asserted because a debit needed points that were never reported"]
    redeemed: Annotated[Decimal, "spent"]
    lapsed: Annotated[Decimal, "lapsed or expired"]
    reversed: Annotated[Decimal, "taken back"]
    transfers_out: Annotated[Decimal, "sent to other holders"]
    held: Annotated[Decimal, "due back from orders"]
    closing: Annotated[Decimal, "outstanding points at the end of the month, or now"]
    value: Annotated[Decimal | None, "worth of the closing, by the terms in effect then; null if none are"]
    currency: Annotated[str | None, "currency of the value"]


MONTH_MOVEMENTS = tuple(dict.fromkeys(MOVEMENTS.values()))
SIGNS = {name: "-" if name in TAKING_MOVEMENTS else "" for name in MONTH_MOVEMENTS}
MONTH_SUMS = ", ".join(
    f"{sign}sum(m.points) FILTER (WHERE m.movement = '{name}') AS {name}" for name, sign in SIGNS.items()
)
# Each month with movements is followed by months without, until the next one. No part is read twice: a distributed
# PostgreSQL could not run the whole on the server of a ledger.
MONTH_FIGURES = ", ".join(
    f"CASE WHEN g.month = k.month THEN coalesce(k.{name}, 0) ELSE 0 END AS {name}"
    for name in (*MONTH_MOVEMENTS, "change")
)
MONTHS_SHOWN = ", ".join(
    f"s.{column}" for column in MonthRow._fields if column not in ("opening", "closing", "value", "currency")
)
LIABILITY_BY_MONTH = ComputedView(
    "liability_by_month",
    MonthRow,
    f"""
    WITH sums AS (
        SELECT m.ledger_id, m.programme, m.unit, m.month, {MONTH_SUMS}, sum(m.points) AS change
          FROM ({MOVEMENT_ROWS}) m GROUP BY m.ledger_id, m.programme, m.unit, m.month
    ), spans AS (
        SELECT s.*, lead(s.month) OVER (PARTITION BY s.ledger_id, s.programme, s.unit ORDER BY s.month) AS next_month
          FROM sums s
    ), months AS (
        SELECT k.ledger_id, k.programme, k.unit, g.month::date AS month, {MONTH_FIGURES}
          FROM spans k
          LEFT JOIN {_terms("t", of="k", at="now()")}
          CROSS JOIN LATERAL generate_series(
               k.month::timestamp,
               least(k.next_month - interval '1 month',
                     date_trunc('month', now() AT TIME ZONE coalesce(t.time_zone, 'UTC'))),
               interval '1 month') AS g (month)
    ), summed AS (
        SELECT n.*, sum(n.change) OVER (PARTITION BY n.ledger_id, n.programme, n.unit ORDER BY n.month) AS closing
          FROM months n
    )
    SELECT DISTINCT ON (s.ledger_id, s.programme, s.unit, s.month)
           {MONTHS_SHOWN.replace("s.issued", "s.closing - s.change AS opening, s.issued")}, s.closing,
           s.closing * t.points_to_currency AS value, t.currency
      FROM summed s
      LEFT JOIN programmes t
             ON t.ledger_id = s.ledger_id AND t.subject = s.programme AND t.points_to_currency IS NOT NULL
            AND t.effective_from < least(now(), (s.month + interval '1 month') AT TIME ZONE t.time_zone)
            AND (t.effective_until IS NULL
                 OR t.effective_until >= least(now(), (s.month + interval '1 month') AT TIME ZONE t.time_zone))
     ORDER BY s.ledger_id, s.programme, s.unit, s.month, t.effective_from DESC NULLS LAST
    """,  # noqa: S608 - our own text
    ("programme", "unit", "month"),
    MOVED_TABLES,
)


class LapseDayRow(NamedTuple):
    """Points of open lots by the day on which they lapse."""

    ledger_id: int
    programme: ProgrammeRef
    unit: str
    expires_on: Annotated[date, "last day of the points"]
    points: Annotated[Decimal, "points of open lots that lapse at the end of the day"]
    lots_count: Annotated[int, "number of lots"]
    accounts_count: Annotated[int, "number of accounts"]


LAPSE_SCHEDULE = ComputedView(
    "lapse_schedule",
    LapseDayRow,
    """
    SELECT ledger_id, programme, unit, expires_on, sum(remaining) AS points, count(*)::int AS lots_count,
           count(DISTINCT account_id)::int AS accounts_count
      FROM lots WHERE remaining > 0 AND lapses_at > now()
     GROUP BY ledger_id, programme, unit, expires_on
    """,
    ("programme", "unit", "expires_on"),
    ("lots",),
)


class DriftRow(NamedTuple):
    """Accounts whose claimed balance differs from ours."""

    ledger_id: int
    account_id: str
    customer: str
    programme: ProgrammeRef
    unit: str
    claimed: Decimal | None
    claimed_at: datetime | None
    drift: Decimal
    missing: Annotated[Decimal, "drift plus unseen points since claims began"]
    drift_since: Annotated[datetime | None, "the event that first shows it"]


DRIFT = ComputedView(
    "drift",
    DriftRow,
    f"""
    SELECT ledger_id, account_id, customer, {PROGRAMME_REF.format("account_id")} AS programme, unit,
           claimed, claimed_at, drift, missing, drift_since
      FROM accounts WHERE drift <> 0 OR missing <> 0
    """,  # noqa: S608 - our own text
    ("account_id",),
    ("accounts",),
)


class OrderRow(NamedTuple):
    """Orders with the sums of their items."""

    ledger_id: int
    order_id: str
    customer: str | None
    items_count: Annotated[int, "number of items"]
    points_paid: Annotated[Decimal | None, "points paid for all items"]
    refund_due: Annotated[Decimal, "points due back"]
    cash_refund_due: Annotated[Decimal, "money due back"]
    statuses: Annotated[list[str], "statuses of the items"]
    ordered_at: datetime | None


ORDERS = ComputedView(
    "orders",
    OrderRow,
    """
    SELECT ledger_id, order_id,
           (array_agg(customer ORDER BY subject) FILTER (WHERE customer IS NOT NULL))[1] AS customer,
           count(*)::int AS items_count, sum(points_paid) AS points_paid, sum(refund_due) AS refund_due,
           sum(cash_refund_due) AS cash_refund_due, array_agg(DISTINCT status ORDER BY status) AS statuses,
           min(ordered_at) AS ordered_at
      FROM order_items GROUP BY ledger_id, order_id
    """,
    ("order_id",),
    ("order_items",),
)

COMPUTED_VIEWS: tuple[ComputedView, ...] = (
    POSITION,
    BALANCES,
    MOVEMENTS_VIEW,
    LIABILITY_BY_MONTH,
    LAPSE_SCHEDULE,
    DRIFT,
    ORDERS,
)
