"""All lists of rows. A new list is one value here; its path, parameters, SQL and description follow from it."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from ledger.facts.accounts import holder_of
from projections.accounts import ACCOUNTS
from projections.badges import BADGES
from projections.bills import BILLS
from projections.cards import CARDS
from projections.coupons import COUPONS
from projections.customers import CUSTOMERS
from projections.definition import Projection
from projections.order_items import ORDER_ITEMS
from projections.partner_memberships import PARTNER_MEMBERSHIPS
from projections.promotions import PROMOTIONS
from projections.redemption_records import REDEMPTION_RECORDS
from projections.requests import REQUESTS
from projections.reward_redemptions import REWARD_REDEMPTIONS
from projections.rewards import REWARDS
from projections.tables import sort_key_of
from projections.targets.milestone_groups import MILESTONE_GROUPS
from projections.targets.milestones import MILESTONES
from projections.targets.streaks import STREAKS
from projections.tiers import TIERS
from projections.transfers import TRANSFERS
from service.queries.accounts import (
    show_account_parts,
    show_accounts,
    show_known_account_parts,
    show_known_accounts,
)
from service.queries.listing.filters import (
    Filter,
    ListOrder,
    PartsOfRows,
    RowCondition,
    changed_since,
    equals,
    expires_before,
    flagged,
    refers,
    status_is,
)
from service.queries.listing.lists import RowList

CUSTOMER = refers("customer", "Only those of this customer.")
PROGRAMME = equals("programme", "Only those of this programme, as the items show it.")
STATUS = equals("status", "Only those of this status.")
BY_ID = ListOrder("id", ("subject",), (str,))

# Points of lots that lapsed after the account's last event are still in its stored balance. The minutes are for clocks
# that differ: the exact test of the row follows.
LAPSED_SINCE = """(
    SELECT coalesce(sum(l.remaining), 0) FROM lots l
     WHERE l.ledger_id = $1 AND l.account_id = accounts.account_id AND l.remaining > 0
       AND l.lapses_at > accounts.last_at AND l.lapses_at <= now() {} interval '1 minute')"""
LAPSED_BY_NOW, LAPSED_BEFORE_NOW = LAPSED_SINCE.format("+"), LAPSED_SINCE.format("-")
LAPSING_LOTS = PartsOfRows(
    "account_id",
    "lots WHERE ledger_id = $1 AND remaining > 0 AND lapses_at IS NOT NULL",
    "lapses_at > now() - interval '1 minute' AND lapses_at < {}::timestamptz",
)
LAPSES_BEFORE = RowCondition(
    f"EXISTS ({LAPSING_LOTS.select(LAPSING_LOTS.condition)} AND account_id = accounts.account_id)", parts=LAPSING_LOTS
)


def _lapses_before(account: Mapping[str, Any], time: Any) -> bool:
    return any(lot["lapses_at"] is not None and lot["lapses_at"] < time for lot in account["lots"])


# The id of an account begins with its holder, also after a merge.
OF_HOLDER = """account_id = ANY (ARRAY(
    SELECT held.account_id FROM unnest({}::text[]) AS asked (holder),
           LATERAL (SELECT a.account_id FROM accounts a
                     WHERE a.ledger_id = $1 AND a.account_id > (asked.holder || ':') COLLATE "C"
                       AND a.account_id < (asked.holder || ';') COLLATE "C"
                     ORDER BY a.account_id LIMIT 10000) held))"""

ACCOUNT_LIST = RowList(
    "accounts",
    ACCOUNTS,
    (
        PROGRAMME,
        Filter(
            "holder",
            "reference",
            "Only the accounts of this holder: a customer, a group `group~id`, or the id of a loyalty card.",
            (RowCondition(OF_HOLDER),),
            lambda account, holders: holder_of(account["id"]) in holders,
        ),
        equals("card_code", "Only the accounts of the loyalty card with this code."),
        equals("unit", "Only accounts of this unit: `points`, or the identifier of an alternate currency."),
        CUSTOMER,
        Filter(
            "available_min",
            "points",
            "Only accounts with at least these points available.",
            (
                RowCondition(
                    f"sort_available >= {sort_key_of('{}::numeric')}",
                    f"available - {LAPSED_BEFORE_NOW} >= {{}}::numeric",
                ),
            ),
            lambda account, points: account["available"] >= points,
            exact=False,
            order="available",
        ),
        Filter(
            "available_max",
            "points",
            "Only accounts with at most these points available.",
            (
                RowCondition(f"sort_available <= {sort_key_of('{}::numeric')}", "available <= {}::numeric"),
                RowCondition(
                    f"sort_available > {sort_key_of('{}::numeric')}", f"available - {LAPSED_BY_NOW} <= {{}}::numeric"
                ),
            ),
            lambda account, points: account["available"] <= points,
            exact=False,
            order="available",
        ),
        flagged("debt", "Only accounts with a debt, or without one.", "debt > 0", lambda one: one["debt"] > 0),
        flagged(
            "drift",
            "Only accounts with a drift or missing points, or without.",
            "drift <> 0 OR missing <> 0",
            lambda one: one["drift"] != 0 or one["missing"] != 0,
        ),
        Filter(
            "lapses_before",
            "time",
            "Only accounts with available points that lapse before this time.",
            (LAPSES_BEFORE,),
            _lapses_before,
            exact=False,
        ),
        changed_since(),
    ),
    (
        ListOrder("id", ("account_id",), (str,)),
        ListOrder("available", ("sort_available", "account_id"), (int, str)),
        ListOrder("changed", ("last_position", "account_id"), (int, str)),
    ),
    show=show_accounts,
    show_known=show_known_accounts,
)

BILL = equals("bill", "Only those of the bill or order with this id, as the vendor writes it.")
BILL_NUMBER = equals("bill_number", "Only those of the bill with this number.")


def _parts_of_accounts(table: str, item: str, *filters: Filter) -> RowList:
    """Define a list of a further table of accounts. `item` is the column that names an item in its account."""
    order = ListOrder("id", ("account_id", item), (str, str))
    return RowList(
        table,
        ACCOUNTS,
        filters,
        (order,),
        show=partial(show_account_parts, item=item),
        show_known=partial(show_known_account_parts, item=item),
        table_name=table,
    )


def _list(projection: Projection, *filters: Filter, path: str = "") -> RowList:
    return RowList(path or projection.path or "", projection, filters, (BY_ID,))


LISTS: tuple[RowList, ...] = (
    ACCOUNT_LIST,
    _parts_of_accounts(
        "lots", "lot_id", BILL, BILL_NUMBER, equals("promotion", "Only lots of points that this promotion granted.")
    ),
    _parts_of_accounts("promises", "promise_id", BILL, BILL_NUMBER),
    _parts_of_accounts(
        "redemptions",
        "redemption",
        Filter(
            "redemption",
            "reference",
            "Only the parts of this redemption: one for each account that paid.",
            (RowCondition("redemption = ANY ({}::text[])"),),
            lambda part, redemptions: part["id"] in redemptions,
        ),
        refers("customer", "Only redemptions of this customer."),
        BILL_NUMBER,
        flagged(
            "reversed",
            "Only redemptions of which points were given back, or the others.",
            "reversed > 0",
            lambda one: one["reversed"] > 0,
        ),
    ),
    _list(
        CUSTOMERS,
        STATUS,
        equals("loyalty_type", "Only customers of this type."),
        equals("store", "Only customers who joined in this store."),
        flagged(
            "merged",
            "Only customers that were merged into another one, or the others.",
            "merged_into IS NOT NULL",
            lambda one: one["merged_into"] is not None,
        ),
        flagged(
            "erased",
            "Only customers whose personal data were erased, or the others.",
            "erased_at IS NOT NULL",
            lambda one: one["erased_at"] is not None,
        ),
        path="customers",
    ),
    _list(
        COUPONS,
        status_is(
            "Only coupons of this status: issued, partly_redeemed, redeemed, expired.",
            ("issued", "partly_redeemed"),
            valid_until="timestamptz",
            valid_through="date",
        ),
        equals("series", "Only coupons of this series."),
        equals("code", "Only the coupons with this code."),
        CUSTOMER,
        expires_before(valid_until="timestamptz", valid_through="date"),
    ),
    _list(
        ORDER_ITEMS,
        STATUS,
        equals("refund", "Only items with this refund: none, due, posted."),
        CUSTOMER,
        refers("order_id", "Only items of this order."),
        flagged(
            "fulfilled",
            "Only fulfilled items, or those that are not fulfilled yet, failed or were cancelled.",
            "status = 'fulfilled'",
            lambda one: one["status"] == "fulfilled",
        ),
    ),
    _list(
        TIERS,
        PROGRAMME,
        Filter(
            "tier",
            "text",
            "Only memberships in this tier.",
            (RowCondition("tier = {}::text"), RowCondition("announced_tier = {}::text")),
            lambda one, tier: one["tier"] == tier,
            exact=False,
        ),
        CUSTOMER,
        expires_before(until="date", announced_until="date"),
    ),
    _list(
        TRANSFERS,
        STATUS,
        PROGRAMME,
        refers("customer", "Only transfers that this customer sent or received.", "sender", "receiver"),
        refers("sender", "Only transfers of this sender."),
        refers("receiver", "Only transfers to this receiver."),
    ),
    _list(
        REWARDS,
        PROGRAMME,
        equals("reward_type", "Only rewards of this type."),
        flagged(
            "enabled", "Only enabled rewards, or the others.", "enabled IS TRUE", lambda one: one["enabled"] is True
        ),
    ),
    _list(
        REWARD_REDEMPTIONS,
        STATUS,
        refers("reward", "Only redemptions of this reward."),
        CUSTOMER,
    ),
    _list(
        BILLS,
        equals("number", "Only the bills with this number."),
        equals("store", "Only bills of this store."),
        CUSTOMER,
    ),
    _list(BADGES, equals("badge", "Only this badge."), CUSTOMER),
    _list(
        STREAKS,
        status_is(
            "Only streaks of this status: enrolled, running, ended, unenrolled, expired.", ("enrolled", "running")
        ),
        equals("target", "Only streaks of this target."),
        CUSTOMER,
    ),
    _list(MILESTONES, STATUS, equals("target", "Only milestones of this target."), CUSTOMER),
    _list(
        MILESTONE_GROUPS,
        equals("target_group", "Only this group of targets."),
        flagged("achieved", "Only achieved groups, or the others.", "achieved", lambda one: one["achieved"]),
        CUSTOMER,
    ),
    _list(PROMOTIONS, PROGRAMME, equals("promotion", "Only this promotion."), CUSTOMER),
    _list(
        PARTNER_MEMBERSHIPS,
        status_is("Only memberships of this status: linked, delinked, unknown, expired.", ("linked",)),
        PROGRAMME,
        equals("partner_programme", "Only memberships in this partner's programme."),
        CUSTOMER,
    ),
    _list(CARDS, STATUS),
    _list(
        REQUESTS,
        equals("status", "Only requests of this status: pending, approved, rejected, failed."),
        equals("request_type", "Only requests of this type."),
        CUSTOMER,
    ),
    _list(
        REDEMPTION_RECORDS,
        STATUS,
        equals("record", "Only the records with this id of the vendor: a coupon and a promotion may share it."),
        equals("record_type", "Only records of a coupon, or of a promotion."),
    ),
)
