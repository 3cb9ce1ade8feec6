"""One group of customers who share a balance: its accounts and its members."""

from typing import Any

from ledger import clock
from projections.programme_terms import NO_TERMS
from projections.queries.validity_ends import TimeZones
from service.queries.accounts import show_accounts
from service.queries.context import QueryContext
from service.queries.listing.list_catalogue import ACCOUNT_LIST, OF_HOLDER
from service.queries.listing.lists import ListRequest
from service.queries.references import expand_reference, require_single

GROUP = "group~"  # begins the id of a group in references
ACCOUNTS_MAX = 1_000
MEMBERS_MAX = 1_000
ACCOUNTS_OF = f"SELECT * FROM accounts WHERE ledger_id = $1 AND {OF_HOLDER.format('$2')} LIMIT $3"  # noqa: S608
# A fact names its customer, and the sender of points that the group received.
MEMBERS = """
    SELECT customer, min(occurred_at) AS first_at, max(occurred_at) AS last_at, count(*) AS facts_count
      FROM (SELECT occurred_at, convert_from(body, 'UTF8')::jsonb AS body FROM facts
             WHERE ledger_id = $1 AND subject_kind = 'account' AND subject = $2) bodies,
           unnest(ARRAY[body ->> 'sender', body ->> 'customer', body ->> 'acted_by']) AS named (customer)
     WHERE customer IS NOT NULL AND customer <> $2
     GROUP BY customer ORDER BY customer LIMIT $3
"""


async def find_group(query: QueryContext, name: str) -> dict[str, Any]:
    """Return a group by its id, with or without `group~`. Raises SubjectUnknown."""
    ledger_id = query.ledger.ledger_id
    *organisation, bare = name.rsplit(":", 1)
    identifier = ":".join([*organisation, bare if bare.startswith(GROUP) else f"{GROUP}{bare}"])
    refs = await expand_reference(query, identifier)
    rows = await query.connection.fetch(ACCOUNTS_OF, ledger_id, refs, ACCOUNTS_MAX)
    group = require_single(sorted({row["account_id"].rsplit(":", 2)[0] for row in rows}), name)
    asked = ListRequest({}, ACCOUNT_LIST.orders[0], clock.now(), TimeZones(NO_TERMS))
    members = await query.connection.fetch(MEMBERS, ledger_id, group, MEMBERS_MAX)
    return {
        "id": group,
        "accounts": await show_accounts(query, rows, asked),
        "members": [dict(member) for member in members],
        **({"truncated": True} if len(members) == MEMBERS_MAX else {}),
    }
