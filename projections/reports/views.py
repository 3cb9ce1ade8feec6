"""The report views: one for each table of a projection, and some that are computed from several tables.

1. A view of a table has all columns of the table, under the same names, after `ledger_id` and `subject`.
2. The row type gives the columns. Its annotations give the comments, else descriptions.py.
3. Names are a contract: docs/reports.md lists them, and a test compares. A new version only adds columns.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from projections.registry import PROJECTIONS
from projections.reports.computed_views import COMPUTED_VIEWS, PROGRAMME_REF, ComputedView
from projections.reports.descriptions import describe_column
from projections.tables import Column, Table, columns_of

SCHEMA = "report"
CHECKPOINTS = "checkpoints"  # the table of a generation that holds the position of each ledger

TABLE_DESCRIPTIONS: Mapping[str, str] = {
    "accounts": "accounts with the sums of their points, after the last fact",
    "lots": "points that were earned together and lapse together",
    "promises": "promised points: still to come, converted or cancelled",
    "statement": "statement lines: each change of an account, in order",
    "adjustments": "adjustments by operators, and their reversals",
    "reminders": "points that the vendor announced to lapse, compared with the lots",
    "redemptions": "redemptions of points, one row for each account that paid",
    "coupons": "coupons, as last reported",
    "reward_redemptions": "redemptions of rewards",
    "tiers": "present tier of each membership",
    "tier_history": "intervals in which a membership was in a tier",
    "transfers": "transfers of points between holders",
    "order_items": "items of orders, with the points that they hold or are due back",
    "redemption_records": "the vendor's records of redemptions of coupons and promotions",
    "customers": "customers: status, merges and erasure; no personal values",
    "bills": "bills and returns",
    "bill_items": "line items of bills",
    "bill_metadata": "further values of bills",
    "requests": "requests that people decide at the vendor",
    "cards": "loyalty cards",
    "partner_memberships": "present memberships in partners' programmes",
    "partner_membership_history": "intervals of memberships in partners' programmes",
    "rewards": "rewards of the catalogue, as last reported",
    "reward_versions": "versions of rewards",
    "reward_texts": "texts of rewards by language",
    "reward_payment_modes": "modes in which a reward may be paid",
    "milestones": "milestones of customers in a period",
    "milestone_groups": "groups of milestones",
    "milestone_group_targets": "targets of groups of milestones",
    "streaks": "streaks of customers",
    "streak_levels": "levels of streaks",
    "badges": "badges of customers",
    "badge_earnings": "earnings of badges",
    "badge_limits": "limits of badges",
    "promotions": "promotions of customers",
    "promotion_issuals": "issues of promotions",
    "promotions_earned": "earnings of promotions",
    "promotion_limits": "limits of promotions",
    "periods": "months that were closed at least once",
    "period_totals": "outstanding points of a month when it was closed",
    "programmes": "versions of programmes' terms",
}
# Columns that a view computes beside those of its table: name, type, SQL and description.
COMPUTED_COLUMNS: Mapping[str, tuple[str, str, str, str]] = {
    "accounts": (
        "programme_ref",
        "text",
        PROGRAMME_REF.format("account_id"),
        "programme as source:org:programme, as in lots and programmes",
    ),
    "lots": (
        "status",
        "text",
        "CASE WHEN remaining = 0 THEN 'used' WHEN lapses_at <= now() THEN 'lapsed' ELSE 'open' END",
        "open, used, lapsed; now",
    ),
}


class ReportColumn(NamedTuple):
    """One column of a view: its type in SQL, and the comment on it."""

    name: str
    sql_type: str
    description: str


class ReportView(NamedTuple):
    """One view. `key` identifies a row within its ledger. `tables` are the tables of a generation that it reads."""

    name: str
    description: str
    columns: Sequence[ReportColumn]
    select: str
    key: Sequence[str]
    tables: Sequence[str]

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]


def _view_of_table(table: Table) -> ReportView:
    columns = [_column(column) for column in (*IDENTITY, *columns_of(table.row))]
    expressions = [f'"{column.name}"' for column in columns]
    if extra := COMPUTED_COLUMNS.get(table.name):
        name, sql_type, expression, description = extra
        columns.append(ReportColumn(name, sql_type, description))
        expressions.append(f"{expression} AS {name}")
    select = f"SELECT {', '.join(expressions)} FROM {table.name}"  # noqa: S608 - names of our own tables
    key = table.key if table.unique_key else ("subject", *table.key)
    return ReportView(table.name, TABLE_DESCRIPTIONS[table.name], columns, select, key, (table.name,))


def _computed_view(view: ComputedView) -> ReportView:
    columns = [_column(column) for column in columns_of(view.row)]
    return ReportView(view.name, view.description, columns, view.select, view.key, view.tables)


def _column(column: Column) -> ReportColumn:
    sql_type = column.sql_type.split(" ")[0]  # without COLLATE and CHECK
    return ReportColumn(column.name, sql_type, column.description or describe_column(column.name))


IDENTITY = (
    Column("ledger_id", int, False, None, "int"),
    Column("subject", str, False, None, "text"),
)
TABLE_VIEWS = tuple(_view_of_table(table) for projection in PROJECTIONS for table in projection.tables)
REPORT_VIEWS: tuple[ReportView, ...] = (*TABLE_VIEWS, *(_computed_view(view) for view in COMPUTED_VIEWS))
TABLE_COLUMNS = {
    table.name: {"ledger_id", "subject", *table.columns} for projection in PROJECTIONS for table in projection.tables
}
REPORTED_TABLES = (CHECKPOINTS, *(view.name for view in TABLE_VIEWS))
