"""Programmes and their terms: time zone, the lapse rule where the vendor states none, the worth of a point."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from aiohttp import web

from ledger.vendors.internal.programme_terms import TermsInput
from service.api.answers.finance import ProgrammeDetails, ProgrammePage, TermsSet
from service.api.dry_runs import DRY_RUN, dry_run_response
from service.api.requests.admission import change, get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.json_bodies import read_json_body
from service.api.requests.open_query import open_query, parse_as_of
from service.api.requests.parameters import LIMIT, PAGE, TIMES
from service.api.responses import json_response, page_response
from service.formatting import cut_page, decode_cursor
from service.operations.programme_terms import PROGRAMMES, VERSIONS, plan_terms, set_terms
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.freshness import freshness
from service.queries.programmes import find_programme, load_description
from service.queries.subjects import row_json


async def list_programmes(request: web.Request) -> web.Response:
    """List the programmes.

    Every programme with accounts or terms is listed, with the terms in effect at the time of the query.
    """
    after = decode_cursor(request.query.get("cursor"), str) or [""]
    limit = LIMIT.of(request)
    async with open_query(request) as query:
        times = await parse_as_of(query, request)
        rows = await query.connection.fetch(PROGRAMMES, query.ledger.ledger_id, after[0], limit + 1)
        shown, cursor = cut_page(rows, limit, lambda row: (row["id"],))
        ids = [row["id"] for row in shown]
        versions = await _versions(query, ids, times)
        items = [
            {
                "id": programme_id,
                "terms": _terms_in_effect([row for row in versions if row["subject"] == programme_id], times.at),
            }
            for programme_id in ids
        ]
        return page_response(request, items, cursor, **await freshness(query, times))


async def get_programme(request: web.Request) -> web.Response:
    """Return a programme, or a campaign of Voucherify: its description by the vendor, and its terms.

    `description` has the name, the default flag, the ratio and the tiers, as the latest event describes them. `terms`
    are those in effect at the time of the query, and `versions` are all.
    """
    async with open_query(request) as query:
        times = await parse_as_of(query, request)
        programme = await find_programme(query, request.match_info["id"])
        versions = await _versions(query, [programme], times)
        terms = _terms_in_effect(versions, times.at)
        versions_json = [_version_json(version) for version in versions]
        return json_response(
            {
                "id": programme,
                "description": await load_description(query, programme),
                "terms": terms,
                "versions": versions_json,
                **await freshness(query, times),
            }
        )


async def post_terms(request: web.Request) -> web.Response:
    """Set the terms of a programme from a day on.

    Terms state the time zone, the rule of expiry and the worth of a point where the vendor states none. The programme
    may be unknown yet: its id is then `source:org:programme`.
    """
    name = request.match_info["id"]
    context = request.app[APP_CONTEXT]
    terms = await read_json_body(request, dict[str, Any])
    is_dry_run = DRY_RUN.of(request)
    async with open_query(request, "admin", heavy=is_dry_run) as query:
        programme = name if name.count(":") == 2 else await find_programme(query, name)
        by = f"key {query.key_id}"
        if is_dry_run:
            plan = plan_terms(context.vault, query.ledger, programme, terms, by=by)
            return await dry_run_response(query, plan, with_liability=True)
        terms_set = await set_terms(query.connection, context.vault, query.ledger, programme, terms, by=by)
        context.progress.notify_appended()
        return json_response(terms_set._asdict())


async def _versions(query: QueryContext, programmes: Sequence[str], times: AsOfQuery) -> list[Mapping[str, Any]]:
    rows = await query.connection.fetch(VERSIONS, query.ledger.ledger_id, programmes)
    return [row for row in rows if times.position is None or row["position"] <= times.position]


def _terms_in_effect(versions: list[Any], at: datetime) -> dict[str, Any] | None:
    past = [version for version in versions if version["effective_from"] <= at]
    return _version_json(past[-1]) if past else None


def _version_json(version: Mapping[str, Any]) -> dict[str, Any]:
    columns = row_json(version)
    del columns["id"]
    return columns


OPERATIONS = (
    get("/v1/programmes", list_programmes, *TIMES, *PAGE, tag="programmes", answer=ProgrammePage),
    get("/v1/programmes/{id}", get_programme, *TIMES, tag="programmes", answer=ProgrammeDetails),
    change(
        "POST", "/v1/programmes/{id}/terms", post_terms, DRY_RUN, tag="programmes", body=TermsInput, answer=TermsSet
    ),
)
