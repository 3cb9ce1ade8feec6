"""Acts of an operator on endpoints, for the command line and the API: create, describe, replay, test."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from ledger import clock
from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.privacy.encryption import MasterKey
from ledger.store.read import tail
from ledger.store.registry import Ledger
from projections.queries.as_of import position_at
from service.outgoing import delivery_state, endpoints
from service.outgoing.addresses import Destinations
from service.outgoing.delivery_state import Attempt, DeliveryState
from service.outgoing.endpoint_options import EndpointOptions
from service.outgoing.endpoint_sender import attempt_of
from service.outgoing.endpoints import Endpoint
from service.outgoing.http_client import ReceiverClient
from service.outgoing.message_types import ENDPOINT_TEST
from service.outgoing.messages import Message
from service.outgoing.open_sinks import open_sink
from service.outgoing.sinks.stream_credentials import StreamCredentials


async def start_position(
    connection: Connection, ledger: Ledger, *, after: int | None, since: datetime | None
) -> int | None:
    """Return the position after which messages are sent: a position, or the last one recorded before a time.

    None if neither is given. Raises RequestInvalid if both are, or for a position beyond the ledger or a time to come.
    """
    if after is not None and since is not None:
        raise RequestInvalid("give either `after` or `since`, not both")
    if since is not None:
        position = await position_at(connection, ledger.ledger_id, since)
        if position is None:
            raise RequestInvalid("`since` must not be in the future")
        return position
    last = await tail(connection, ledger.ledger_id)
    if after is not None and not 0 <= after <= last:
        raise RequestInvalid(f"`after` must be a position of the ledger: 0 to {last}")
    return after


async def create(
    connection: Connection,
    master_key: MasterKey,
    ledger: Ledger,
    url: str,
    options: EndpointOptions,
    *,
    destinations: Destinations,
    after: int | None,
    since: datetime | None,
    credentials: StreamCredentials | None = None,
) -> Endpoint:
    """Create an endpoint. Without a place to begin it gets what is recorded from now on. Raises RequestInvalid."""
    chosen = await start_position(connection, ledger, after=after, since=since)
    begin = await tail(connection, ledger.ledger_id) if chosen is None else chosen
    return await endpoints.create_endpoint(
        connection, master_key, ledger, url, options, destinations=destinations, after=begin, credentials=credentials
    )


async def change(
    connection: Connection,
    master_key: MasterKey,
    endpoint: Endpoint,
    wanted: Mapping[str, Any],
    *,
    destinations: Destinations,
) -> Endpoint:
    """Change the named options of an endpoint, or its address. Return it as it is then. Raises RequestInvalid."""
    options = options_of(endpoint)._replace(**{name: value for name, value in wanted.items() if name != "url"})
    url = wanted.get("url", endpoint.url)
    await endpoints.change_options(connection, master_key, endpoint, url, options, destinations=destinations)
    return await endpoints.find_endpoint(connection, master_key, endpoint.endpoint_id)


def options_of(endpoint: Endpoint) -> EndpointOptions:
    """Return the options that an endpoint has now."""
    return EndpointOptions(*(getattr(endpoint, name) for name in EndpointOptions._fields))


async def replay(connection: Connection, endpoint: Endpoint, *, after: int | None, since: datetime | None) -> int:
    """Send everything after a position or since a time again. Return the position. Raises RequestInvalid."""
    position = await start_position(connection, endpoint.ledger, after=after, since=since)
    if position is None:
        raise RequestInvalid("give `after`, a position, or `since`, a time: from there on everything is sent again")
    await delivery_state.replay_after(connection, endpoint, position)
    return position


async def send_test(connection: Connection, endpoint: Endpoint, destinations: Destinations) -> Attempt:
    """Send a test at once, also to a disabled endpoint, and log it. The cursor stays."""
    attempt = await post_test(endpoint, destinations)
    await delivery_state.log_test(connection, endpoint, attempt)
    return attempt


async def post_test(endpoint: Endpoint, destinations: Destinations) -> Attempt:
    """Send a test without logging it."""
    now = clock.now()
    message = Message(
        None,
        f"test/{int(now.timestamp() * 1_000_000)}",
        ENDPOINT_TEST,
        endpoint.endpoint_id,
        now,
        None,
        orjson.dumps({"endpoint": endpoint.endpoint_id}),
    )
    async with ReceiverClient(destinations.networks) as client:
        sink = open_sink(endpoint, client, destinations)
        try:
            answer = await sink.send([message])
        finally:
            await sink.close()
    return attempt_of(endpoint, [message], answer, "test")._replace(at=now)


async def describe(connection: Connection, described: Sequence[Endpoint]) -> list[dict[str, Any]]:
    """Return endpoints with their states, as they are shown. Secrets are left out."""
    states = await delivery_state.read_states(connection, [one.endpoint_id for one in described])
    tails: dict[int, int] = {}
    for one in described:
        if one.ledger.ledger_id not in tails:
            tails[one.ledger.ledger_id] = await tail(connection, one.ledger.ledger_id)
    return [
        endpoint_json(one, states[one.endpoint_id], tails[one.ledger.ledger_id])
        for one in described
        if one.endpoint_id in states
    ]


def endpoint_json(endpoint: Endpoint, state: DeliveryState, last: int) -> dict[str, Any]:
    """Return an endpoint and its state. `last` is the last position of the ledger."""
    status = "disabled" if endpoint.disabled_at else "failing" if state.failures else "active"
    return {
        "endpoint_id": endpoint.endpoint_id,
        "ledger": endpoint.ledger.name,
        "label": endpoint.label,
        "url": endpoint.url,
        "types": endpoint.types,
        "kinds": endpoint.kinds,
        "events_per_request": endpoint.events_per_request,
        "notice_days": endpoint.notice_days,
        "corrections": endpoint.corrections,
        "live_secrets": len(endpoint.signing_secrets),
        "created_at": endpoint.created_at,
        "status": status,
        "disabled_at": endpoint.disabled_at,
        "stop_reason": state.stop_reason,
        "position": state.cursor.position,
        "events_behind": max(0, last - state.cursor.position),
        "attempts": state.attempts,
        "succeeded": state.succeeded,
        "failures": state.failures,
        "failing_since": state.failing_since,
        "retry_at": state.retry_at,
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt that was just made."""
    return {
        "at": attempt.at,
        "message_id": attempt.message_id,
        "outcome": "delivered" if attempt.answer.is_success else "failed",
        "status": attempt.answer.status,
        "milliseconds": attempt.answer.milliseconds,
        "detail": attempt.answer.detail,
    }
