"""loyalty tail, send: follow the events of a ledger, and deliver a file as a vendor would."""

import asyncio
import base64
import hmac
import secrets
import sys
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import orjson
import typer

from ledger.credentials import standard_key
from ledger.database import Connection
from ledger.errors import RequestInvalid, Unavailable
from ledger.events import Event
from ledger.intake.identify import KEY_BYTES
from ledger.intake.interpret import interpret
from ledger.parsing import BODY_BYTES_MAX
from ledger.store import registry
from ledger.store.read import events_after, tail
from ledger.store.registry import InboundConnection
from service.cli.terminal.console import DataOption, JsonOption, LedgerOption, show
from service.cli.terminal.exit_codes import FINDINGS
from service.environment import Environment, run_with_connection
from service.formatting import encode_json

POLL_SECONDS = 0.5
EVENTS_PER_READ = 500
SUBJECTS_SHOWN_MAX = 5
ANSWER_SECONDS_MAX = 30.0


def follow_events(
    ledger: LedgerOption,
    after: Annotated[
        int | None, typer.Option(help="Begin after this position. Default: with the next event.", min=0)
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Show only this kind of event.")] = None,
    most: Annotated[int | None, typer.Option("--count", help="Stop after so many events.", min=1)] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the events of a ledger as they are stored, until Ctrl-C: time, position, outcome, kind and subjects.

    Duplicates are not stored, so they are not shown. With --json each event is one line.
    """

    async def work(_environment: Environment, connection: Connection) -> None:
        found = await registry.find_ledger(connection, ledger)
        position = await tail(connection, found.ledger_id) if after is None else after
        shown = count(1)
        while True:
            events = await events_after(connection, found.ledger_id, position, EVENTS_PER_READ)
            for event in events:
                position = event.position
                if kind in (None, event.kind):
                    _show_event(event, as_json=as_json)
                    if next(shown) == most:
                        return
            if not events:
                await asyncio.sleep(POLL_SECONDS)

    run_with_connection(data, work)


def _show_event(event: Event, *, as_json: bool) -> None:
    interpretation = interpret(event)
    subjects = sorted({f"{one.fact.subject_kind} {one.fact.subject}" for one in interpretation.facts})
    outcome = "conflict" if len(event.event_key) > KEY_BYTES else "appended"
    if as_json:
        line = {
            "recorded_at": event.recorded_at,
            "position": event.position,
            "outcome": outcome,
            "source": event.source,
            "kind": event.kind,
            "unread": interpretation.status,
            "reason": interpretation.reason,
            "changed": subjects,
        }
        sys.stdout.write(encode_json(line).decode() + "\n")
        sys.stdout.flush()
        return
    more = f" and {len(subjects) - SUBJECTS_SHOWN_MAX} more" if len(subjects) > SUBJECTS_SHOWN_MAX else ""
    effect = ", ".join(subjects[:SUBJECTS_SHOWN_MAX]) + more
    if interpretation.status:
        effect = f"{interpretation.status}: {interpretation.reason}"
    show(f"{event.recorded_at:%H:%M:%S}  {event.position:>8}  {outcome:<8}  {event.source} {event.kind}  {effect}")


def send_files(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="One delivery each; - is standard input.", show_default=False)
    ],
    connection_id: Annotated[str, typer.Option("--connection", help="The connection's id.", show_default=False)],
    url: Annotated[str | None, typer.Option(help="The service. Default: the one that runs on this database.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deliver files to a running service, signed as the vendor of a connection signs them.

    Prints the answer to each file. Ends with 1 if one was refused. Files are delivered in order.
    """
    bodies = [_read_body(name) for name in files]

    async def work(environment: Environment, connection: Connection) -> list[dict[str, Any]]:
        inbound = await registry.find_connection(connection, environment.master_key, connection_id)
        return await _deliver(url or environment.url(), inbound, bodies)

    answers = [{"file": name, **answer} for name, answer in zip(files, run_with_connection(data, work), strict=True)]
    for answer in answers:
        if as_json:
            sys.stdout.write(orjson.dumps(answer, option=orjson.OPT_UTC_Z).decode() + "\n")
        else:
            show(f"{answer['file']}: {answer['status']} {_describe(answer)}")
    if any(answer["status"] != 200 for answer in answers):
        raise typer.Exit(FINDINGS)


def _describe(answer: dict[str, Any]) -> str:
    if "events" not in answer:
        return str(answer.get("detail", ""))
    return ", ".join(f"{one['kind']} {one['outcome']} at position {one['position']}" for one in answer["events"])


def _read_body(name: str) -> bytes:
    """Read a delivery. Raises RequestInvalid if it cannot be read or is too large."""
    try:
        if name == "-":
            body = sys.stdin.buffer.read(BODY_BYTES_MAX + 1)
        else:
            with Path(name).open("rb") as file:
                body = file.read(BODY_BYTES_MAX + 1)
    except OSError as error:
        raise RequestInvalid(f"{name} cannot be read: {error.strerror}") from None
    if len(body) > BODY_BYTES_MAX:
        raise RequestInvalid(f"{name} is larger than a delivery may be: {BODY_BYTES_MAX:,} bytes")
    return body


async def _deliver(url: str, inbound: InboundConnection, bodies: Sequence[bytes]) -> list[dict[str, Any]]:
    """POST bodies to a connection. Return the status and the fields of each answer. Raises Unavailable."""
    path = f"{url.rstrip('/')}/v1/hooks/{inbound.connection_id}"
    answers = []
    limit = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    async with aiohttp.ClientSession(timeout=limit) as session:
        for body in bodies:
            headers = {"Content-Type": "application/json", **signed_headers(inbound, body)}
            try:
                async with session.post(path, data=body, headers=headers) as response:
                    answers.append({"status": response.status, **orjson.loads(await response.read() or b"{}")})
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise Unavailable(f"the service at {url}: {type(error).__name__}") from None
    return answers


def signed_headers(inbound: InboundConnection, body: bytes) -> dict[str, str]:
    """Return the headers by which the vendor of a connection authenticates a body, by the newest secret."""
    secret = inbound.secrets[-1]
    if inbound.scheme == "voucherify":
        return {inbound.header: hmac.digest(secret, body, "sha256").hex()}
    if inbound.scheme == "standard-webhooks":
        name, at = f"msg_{secrets.token_hex(12)}", str(int(time.time()))
        signature = hmac.digest(standard_key(secret.decode()) or b"", f"{name}.{at}.".encode() + body, "sha256")
        return {
            "webhook-id": name,
            "webhook-timestamp": at,
            inbound.header: f"v1,{base64.b64encode(signature).decode()}",
        }
    return {inbound.header: secret.decode()}
