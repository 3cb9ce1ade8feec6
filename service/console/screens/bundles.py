"""The audit bundle: one file with everything that an auditor needs, asked for on the audit screen. Scope `audit`."""

import tempfile
from collections.abc import Mapping

from aiohttp import web

from ledger.errors import RequestInvalid, Unsealable
from ledger.store.read import tail
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import STATED_REASON, open_query
from service.audit.bundle import EVENTS_PER_PART_MAX, BundleScope, write_bundle
from service.console.admission import action
from service.console.authors import parse_look
from service.parameters import parse_int
from service.queries.context import QueryContext
from service.queries.references import expand_reference, require_single

KNOWN = """
    SELECT subject AS customer FROM customers WHERE ledger_id = $1 AND subject = ANY ($2)
    UNION SELECT customer FROM accounts WHERE ledger_id = $1 AND customer = ANY ($2) ORDER BY 1
"""
CHUNK_BYTES = 256 * 1024
POSITION_MAX = 2**53


async def send_bundle(request: web.Request, fields: dict[str, str]) -> web.StreamResponse:
    """Send an audit bundle, after the request was recorded. A command bundles a whole ledger with more events."""
    context = request.app[APP_CONTEXT]
    request[STATED_REASON] = parse_look(request, fields)
    if context.signer is None:
        raise Unsealable("this process signs nothing, so run `loyalty audit bundle` beside the signer")
    async with open_query(request, "audit", heavy=True) as query:
        ledger = query.ledger
        scope = await _scope(query, fields)
        last = await tail(query.connection, ledger.ledger_id)
        if scope == BundleScope() and last > EVENTS_PER_PART_MAX:
            raise RequestInvalid(f"the ledger has {last:,} events; run `loyalty audit bundle` for all of them")
    with tempfile.TemporaryFile() as file:
        await write_bundle(context.dsn, context.signer, ledger, file, scope)
        response = web.StreamResponse(headers=_headers(ledger.name, scope))
        response.content_length = file.tell()
        await response.prepare(request)
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            await response.write(chunk)
        await response.write_eof()
    return response


async def _scope(query: QueryContext, fields: Mapping[str, str]) -> BundleScope:
    """Return the scope that the form asks for: a customer, positions, or the whole ledger. Raises RequestInvalid."""
    customer = fields.get("customer", "").strip()
    first = parse_int(fields.get("from") or None, "from", least=1, most=POSITION_MAX)
    last = parse_int(fields.get("to") or None, "to", least=1, most=POSITION_MAX)
    if (first is None) != (last is None) or (customer and first is not None):
        raise RequestInvalid("state a customer, or both positions, or none of them")
    if customer:
        refs = await query.connection.fetch(KNOWN, query.ledger.ledger_id, await expand_reference(query, customer))
        return BundleScope(customer=require_single([row["customer"] for row in refs], customer))
    return BundleScope(positions=None if first is None or last is None else (first, last))


def _headers(ledger: str, scope: BundleScope) -> dict[str, str]:
    return {
        "Content-Type": "application/x-tar",
        "Content-Disposition": f'attachment; filename="{ledger}-{scope.name()}-bundle.tar"',
    }


ROUTES = [action("/audit/bundle", send_bundle, "audit")]
