"""What someone should look at: events nobody understands, bodies nobody can read, subjects that stopped."""

from typing import Any

from aiohttp import web

from service.answers import decode_cursor, encode_cursor, page
from service.window.reading import limit_of, reach, reader

UNREAD = """
    SELECT position, source, kind, reason FROM unread
     WHERE ledger_id = $1 AND unread = $2 AND position > $3 ORDER BY position LIMIT $4
"""
COUNTS = """
    SELECT source, kind, count(*) AS events FROM unread WHERE ledger_id = $1 AND unread = $2
     GROUP BY source, kind ORDER BY source, kind
"""
PARKED = """
    SELECT subject_kind, subject, parked AS reason, parked_position FROM subjects
     WHERE ledger_id = $1 AND parked IS NOT NULL AND (subject_kind, subject) > ($2, $3)
     ORDER BY subject_kind, subject LIMIT $4
"""


def unread_handler(unread: str) -> Any:
    """Make the handler of one list of events that gave no facts."""

    async def list_unread(request: web.Request) -> web.Response:
        after = decode_cursor(request.query.get("cursor")) or [0]
        limit = limit_of(request)
        async with reader(request) as read:
            rows = await read.connection.fetch(UNREAD, read.ledger.ledger_id, unread, int(after[0]), limit)
            counts = await read.connection.fetch(COUNTS, read.ledger.ledger_id, unread)
            cursor = encode_cursor(rows[-1]["position"]) if len(rows) == limit else None
            return page([dict(row) for row in rows], cursor, counts=[dict(row) for row in counts], **await reach(read))

    return list_unread


async def list_parked(request: web.Request) -> web.Response:
    """GET /v1/reconciliation/parked: subjects with a fact that cannot be folded; their rows are as before it."""
    after = decode_cursor(request.query.get("cursor")) or ["", ""]
    limit = limit_of(request)
    async with reader(request) as read:
        rows = await read.connection.fetch(PARKED, read.ledger.ledger_id, str(after[0]), str(after[-1]), limit)
        cursor = encode_cursor(rows[-1]["subject_kind"], rows[-1]["subject"]) if len(rows) == limit else None
        return page([dict(row) for row in rows], cursor, **await reach(read))


ROUTES = [
    web.get("/v1/reconciliation/unrecognised", unread_handler("unrecognised")),
    web.get("/v1/reconciliation/quarantine", unread_handler("quarantined")),
    web.get("/v1/reconciliation/parked", list_parked),
]
