"""Endpoints: the receivers of a ledger's outgoing webhooks."""

from typing import Any

from aiohttp import web

from ledger.errors import EndpointUnknown
from service.api.answers.endpoints import (
    AttemptPage,
    ChangedEndpoint,
    EndpointAnswer,
    EndpointChanged,
    EndpointCreated,
    EndpointCredentialsReplaced,
    EndpointDeleted,
    EndpointPage,
    EndpointReplayed,
    EndpointRotated,
    EndpointSettled,
    EndpointTested,
    NewEndpoint,
    Replay,
)
from service.api.requests.admission import change, get
from service.api.requests.app_context import APP_CONTEXT, AppContext
from service.api.requests.json_bodies import read_json_body
from service.api.requests.open_query import open_query
from service.api.requests.parameters import LIMIT, PAGE
from service.api.responses import json_response, page_response
from service.formatting import cut_page, decode_cursor
from service.outgoing import administration, delivery_state
from service.outgoing import endpoints as store
from service.outgoing.endpoint_options import EndpointOptions
from service.outgoing.endpoints import Endpoint
from service.outgoing.sinks.stream_credentials import StreamCredentials
from service.parameters import parse_time
from service.queries.context import QueryContext


async def create_endpoint(request: web.Request) -> web.Response:
    """Create an endpoint, and return the secret that signs its messages; null for a stream.

    Without `after` and `since` it gets what is recorded from now on. The section `webhooks` of this document describes
    the messages. Requests are signed by Standard Webhooks, and bodies are CloudEvents 1.0.
    """
    context = request.app[APP_CONTEXT]
    body = await read_json_body(request, NewEndpoint)
    options = EndpointOptions(
        body.types, body.kinds, body.events_per_request, body.notice_days, body.label, body.corrections
    )
    since = parse_time(body.since, "since")
    async with open_query(request, "admin") as query:
        made = await administration.create(
            query.connection,
            context.master_key,
            query.ledger,
            body.url,
            options,
            destinations=context.settings.allowed_destinations(),
            after=body.after,
            since=since,
            credentials=body.credentials,
        )
        [described] = await administration.describe(query.connection, [made])
    return json_response({**described, "secret": made.newest_secret}, status=201)


async def list_endpoints(request: web.Request) -> web.Response:
    """List the endpoints of the ledger, oldest first. Secrets are left out."""
    context = request.app[APP_CONTEXT]
    async with open_query(request, "admin") as query:
        found = await store.list_endpoints(query.connection, context.master_key, query.ledger)
        return page_response(request, await administration.describe(query.connection, found), None)


async def get_endpoint(request: web.Request) -> web.Response:
    """Return one endpoint: its options, its position, its failures."""
    async with open_query(request, "admin") as query:
        [described] = await administration.describe(query.connection, [await _find(request, query)])
        return json_response(described)


async def change_endpoint(request: web.Request) -> web.Response:
    """Change the address or the options of an endpoint. Its position and its secrets stay.

    A running service applies the change within 5 s.
    """
    context = _context(request)
    body = await read_json_body(request, ChangedEndpoint)
    wanted = {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not None}
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query)
        changed = await administration.change(
            query.connection,
            context.master_key,
            endpoint,
            wanted,
            destinations=context.settings.allowed_destinations(),
        )
        [described] = await administration.describe(query.connection, [changed])
        return json_response(described)


async def delete_endpoint(request: web.Request) -> web.Response:
    """Remove an endpoint with its position and its log."""
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query)
        await store.delete_endpoint(query.connection, endpoint)
    return json_response({"endpoint_id": endpoint.endpoint_id, "deleted": True})


async def enable_endpoint(request: web.Request) -> web.Response:
    """Send messages again, from where the endpoint was disabled."""
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query)
        await store.enable_endpoint(query.connection, _context(request).master_key, endpoint)
    return json_response({"endpoint_id": endpoint.endpoint_id, "disabled": False})


async def disable_endpoint(request: web.Request) -> web.Response:
    """Send nothing until the endpoint is enabled again. Its position stays."""
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query)
        await store.disable_endpoint(query.connection, _context(request).master_key, endpoint)
    return json_response({"endpoint_id": endpoint.endpoint_id, "disabled": True})


async def rotate_secret(request: web.Request) -> web.Response:
    """Add a second live secret, and return it.

    Requests are signed by both, until `settle` ends the rotation.
    """
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query)
        secret = await store.rotate_secret(query.connection, _context(request).master_key, endpoint)
    return json_response({"endpoint_id": endpoint.endpoint_id, "secret": secret})


async def settle_secret(request: web.Request) -> web.Response:
    """End a rotation: requests are signed by the newest secret only."""
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query)
        await store.settle_secret(query.connection, _context(request).master_key, endpoint)
    return json_response({"endpoint_id": endpoint.endpoint_id, "live_secrets": 1})


async def replace_credentials(request: web.Request) -> web.Response:
    """Replace the credentials of a stream. They are stored encrypted, and never returned."""
    credentials = await read_json_body(request, StreamCredentials)
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query)
        await store.replace_credentials(query.connection, _context(request).master_key, endpoint, credentials)
    return json_response({"endpoint_id": endpoint.endpoint_id, "replaced": True})


async def send_test_message(request: web.Request) -> web.Response:
    """Send a test message now, also to a disabled endpoint, and return the result."""
    context = _context(request)
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query)
    attempt = await administration.post_test(endpoint, context.settings.allowed_destinations())
    async with open_query(request, "admin") as query:
        await delivery_state.log_test(query.connection, endpoint, attempt)
    return json_response({"endpoint_id": endpoint.endpoint_id, **administration.attempt_json(attempt)})


async def replay_messages(request: web.Request) -> web.Response:
    """Send everything after a position, or since a time, again.

    A position ahead of the endpoint's own leaves messages out.
    """
    body = await read_json_body(request, Replay)
    since = parse_time(body.since, "since")
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query)
        position = await administration.replay(query.connection, endpoint, after=body.after, since=since)
    return json_response({"endpoint_id": endpoint.endpoint_id, "position": position})


async def list_attempts(request: web.Request) -> web.Response:
    """List the attempts to reach an endpoint, newest first. The newest 10,000 are kept."""
    before = decode_cursor(request.query.get("cursor"), int) or [None]
    limit = LIMIT.of(request)
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query)
        rows = await delivery_state.list_attempts(query.connection, endpoint, before=before[0], limit=limit + 1)
    shown, cursor = cut_page(rows, limit, lambda row: (row["attempt"],))
    return page_response(request, shown, cursor)


def _context(request: web.Request) -> AppContext:
    return request.app[APP_CONTEXT]


async def _find(request: web.Request, query: QueryContext) -> Endpoint:
    """Find the endpoint of the path. Raises EndpointUnknown, also for an endpoint of another ledger."""
    master_key = _context(request).master_key
    return await store.find_endpoint_of(query.connection, master_key, query.ledger, request.match_info["endpoint_id"])


OF_ENDPOINT: dict[str, Any] = {"tag": "outgoing", "errors": (EndpointUnknown,)}
ONE = "/v1/endpoints/{endpoint_id}"

OPERATIONS = (
    get("/v1/endpoints", list_endpoints, tag="outgoing", answer=EndpointPage, scopes=("admin",)),
    change(
        "POST", "/v1/endpoints", create_endpoint, tag="outgoing", answer=EndpointCreated, body=NewEndpoint, status=201
    ),
    get(ONE, get_endpoint, answer=EndpointAnswer, scopes=("admin",), **OF_ENDPOINT),
    change("PATCH", ONE, change_endpoint, answer=EndpointAnswer, body=ChangedEndpoint, **OF_ENDPOINT),
    change("DELETE", ONE, delete_endpoint, answer=EndpointDeleted, **OF_ENDPOINT),
    change("POST", f"{ONE}/enable", enable_endpoint, answer=EndpointChanged, **OF_ENDPOINT),
    change("POST", f"{ONE}/disable", disable_endpoint, answer=EndpointChanged, **OF_ENDPOINT),
    change("POST", f"{ONE}/rotate", rotate_secret, answer=EndpointRotated, **OF_ENDPOINT),
    change("POST", f"{ONE}/settle", settle_secret, answer=EndpointSettled, **OF_ENDPOINT),
    change(
        "PUT",
        f"{ONE}/credentials",
        replace_credentials,
        answer=EndpointCredentialsReplaced,
        body=StreamCredentials,
        **OF_ENDPOINT,
    ),
    change("POST", f"{ONE}/test", send_test_message, answer=EndpointTested, **OF_ENDPOINT),
    change("POST", f"{ONE}/replay", replay_messages, answer=EndpointReplayed, body=Replay, **OF_ENDPOINT),
    get(f"{ONE}/attempts", list_attempts, *PAGE, answer=AttemptPage, scopes=("admin",), **OF_ENDPOINT),
)
