"""Search: the objects that one text may name. All look-ups use an index or a keyed hash."""

import re
from typing import NamedTuple

from ledger.privacy.vault import Vault
from ledger.store.read import events_with_key, tail
from ledger.vendors.personal_values import identifier_kind_of_value
from projections.accounts import ACCOUNTS
from projections.registry import BY_SUBJECT, PROJECTIONS
from service.queries.accounts import ACCOUNT, ACCOUNTS_OF_HOLDERS, COLONS_PER_REFERENCE, surviving_account_id
from service.queries.context import QueryContext
from service.queries.references import expand_reference

HITS_MAX = 50
EVENT_KEY = re.compile(r"[0-9a-f]{32}(?:[0-9a-f]{32})?")
IDENTIFIER_KINDS = ("email", "mobile", "external_id")
IDENTIFIERS = frozenset(kind.replace("_", " ") for kind in IDENTIFIER_KINDS)  # as hits name them
PHONE_DIGITS_MIN = 7  # a longer number may be a telephone number without its plus sign

SUBJECTS = """
    SELECT DISTINCT subject_kind, subject FROM facts
     WHERE ledger_id = $1 AND subject_kind = ANY ($2) AND subject = ANY ($3) ORDER BY subject_kind, subject LIMIT $4
"""
BILLS = "SELECT subject FROM bills WHERE ledger_id = $1 AND number = $2 ORDER BY subject LIMIT $3"
COUPONS = "SELECT subject FROM coupons WHERE ledger_id = $1 AND code = $2 ORDER BY subject LIMIT $3"
ORDERS = """
    SELECT subject FROM order_items WHERE ledger_id = $1 AND order_id = ANY ($2) ORDER BY order_id, subject LIMIT $3
"""


class SearchHit(NamedTuple):
    """One object that a text names. `kind` is customer, account, event, or the path of a projection."""

    kind: str
    id: str
    found_by: str


async def search(query: QueryContext, vault: Vault, text: str) -> list[SearchHit]:
    """Return the objects that a text names, each once, in order of kind: at most HITS_MAX.

    The text may be an identifier of a customer, an id, a bill number, a coupon code, an order, a position or an event
    key. An e-mail address or telephone number is compared by its keyed hash only.
    """
    hits = [*await _find_customers(query, vault, text), *await _find_subjects(query, text)]
    hits += [*await _find_by_numbers(query, text), *await _find_events(query, text)]
    return list({(hit.kind, hit.id): hit for hit in reversed(hits)}.values())[::-1][:HITS_MAX]


def is_personal_search(text: str) -> bool:
    """Return True if the text is or may be an e-mail address or a telephone number."""
    digits = text.replace(" ", "").replace("-", "")
    may_be_phone = digits.isdigit() and len(digits) >= PHONE_DIGITS_MIN
    return may_be_phone or "@" in text or identifier_kind_of_value(text) is not None


async def _find_customers(query: QueryContext, vault: Vault, text: str) -> list[SearchHit]:
    hits = []
    for kind in IDENTIFIER_KINDS:
        for customer in await vault.find(query.connection, query.ledger.ledger_id, kind, text, limit=HITS_MAX):
            hits.append(SearchHit("customer", customer, kind.replace("_", " ")))
    return hits


async def _find_subjects(query: QueryContext, text: str) -> list[SearchHit]:
    refs = await expand_reference(query, text)
    ledger_id = query.ledger.ledger_id
    accounts = await query.connection.fetch(ACCOUNT, ledger_id, refs)
    hits = [SearchHit("account", row["account_id"], "id") for row in accounts]
    kinds = [projection.subject for projection in PROJECTIONS]
    for row in await query.connection.fetch(SUBJECTS, ledger_id, kinds, refs, HITS_MAX):
        projection = BY_SUBJECT[row["subject_kind"]]
        if projection is ACCOUNTS:
            hits += await _accounts_of(query, row["subject"])
        elif projection.name == "customers":
            hits.insert(0, SearchHit("customer", row["subject"], "id"))
        elif projection.path:
            hits.append(SearchHit(projection.path, row["subject"], "id"))
    return hits


async def _accounts_of(query: QueryContext, holder: str) -> list[SearchHit]:
    """Return the accounts of a holder, and the customer if the holder is one."""
    if holder.count(":") != COLONS_PER_REFERENCE:
        return []
    rows = await query.connection.fetch(ACCOUNTS_OF_HOLDERS, query.ledger.ledger_id, [holder])
    found = sorted({surviving_account_id(row) for row in rows})
    accounts = await query.connection.fetch(ACCOUNT, query.ledger.ledger_id, found)
    customers = sorted({row["customer"] for row in accounts})
    return [
        *(SearchHit("customer", customer, "holder") for customer in customers),
        *(SearchHit("account", row["account_id"], "holder") for row in accounts),
    ]


async def _find_by_numbers(query: QueryContext, text: str) -> list[SearchHit]:
    connection, ledger_id = query.connection, query.ledger.ledger_id
    bills = await connection.fetch(BILLS, ledger_id, text, HITS_MAX)
    coupons = await connection.fetch(COUPONS, ledger_id, text, HITS_MAX)
    items = await connection.fetch(ORDERS, ledger_id, await expand_reference(query, text), HITS_MAX)
    return [
        *(SearchHit("bills", row["subject"], "bill number") for row in bills),
        *(SearchHit("coupons", row["subject"], "coupon code") for row in coupons),
        *(SearchHit("order-items", row["subject"], "order") for row in items),
    ]


async def _find_events(query: QueryContext, text: str) -> list[SearchHit]:
    connection, ledger_id = query.connection, query.ledger.ledger_id
    if text.isascii() and text.isdigit() and len(text) < 19:
        position = int(text)
        if 1 <= position <= await tail(connection, ledger_id):
            return [SearchHit("event", str(position), "position")]
    if EVENT_KEY.fullmatch(text.lower()):
        events = await events_with_key(connection, ledger_id, bytes.fromhex(text[:32]))
        return [SearchHit("event", str(event.position), "event key") for event in events]
    return []
