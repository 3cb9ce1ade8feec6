"""loyalty endpoint: the receivers of messages: webhooks and streams."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.database import Connection
from ledger.store import registry
from service.cli.ledgers import LabelOption, choose_ledgers
from service.cli.outgoing.options import (
    CREDENTIALS_HELP,
    AfterOption,
    CredentialsOption,
    EndpointArgument,
    SinceOption,
    plain_text,
    split_words,
)
from service.cli.terminal.console import (
    DataOption,
    JsonOption,
    LedgerOption,
    YesOption,
    confirm,
    show,
    show_json,
    show_result,
    show_table,
)
from service.cli.terminal.operators import record_command
from service.environment import Environment, run_with_connection
from service.outgoing import administration, delivery_state
from service.outgoing import endpoints as store
from service.outgoing.endpoint_options import (
    EVENTS_PER_REQUEST_DEFAULT,
    EVENTS_PER_REQUEST_MAX,
    NOTICE_DAYS_DEFAULT,
    NOTICE_DAYS_MAX,
    EndpointOptions,
)
from service.outgoing.endpoints import Endpoint
from service.outgoing.sinks.stream_credentials import read_credentials_file
from service.parameters import parse_time

endpoints = typer.Typer(help="Endpoints: receivers of messages: webhooks and streams.", no_args_is_help=True)

ATTEMPTS_SHOWN = 20


@endpoints.command("create")
def create_endpoint(
    ledger: LedgerOption,
    url: Annotated[
        str,
        typer.Option(
            help="The URL of a webhook, or of a stream: nats+tls://HOST:4222, kafka+tls://HOST:9093.",
            show_default=False,
        ),
    ],
    types: Annotated[
        str, typer.Option(metavar="TYPE,…", help="Types of messages. Default: all. See docs/outgoing.md.")
    ] = "",
    kinds: Annotated[str, typer.Option(metavar="KIND,…", help="Kinds of facts. Default: all.")] = "",
    events_per_request: Annotated[
        int, typer.Option(min=1, max=EVENTS_PER_REQUEST_MAX, help="The most messages of a request. 1: no array.")
    ] = EVENTS_PER_REQUEST_DEFAULT,
    notice_days: Annotated[
        int, typer.Option(min=1, max=NOTICE_DAYS_MAX, help="Days before a lapse or an expiry at which to give notice.")
    ] = NOTICE_DAYS_DEFAULT,
    after: AfterOption = None,
    since: SinceOption = None,
    credentials_file: CredentialsOption = None,
    corrections: Annotated[
        bool, typer.Option("--corrections", help="Send differences that a promotion uncovers, once.")
    ] = False,
    label: LabelOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an endpoint: a webhook, or a stream of NATS or Kafka. Print the secret that signs requests to a webhook.

    By default it gets what is recorded from now on.
    """
    options = EndpointOptions(
        split_words(types), split_words(kinds), events_per_request, notice_days, label, corrections
    )
    start = parse_time(since, "since")

    async def work(environment: Environment, connection: Connection) -> dict[str, Any]:
        found = await registry.find_ledger(connection, ledger)
        await record_command(connection, "endpoint create", found)
        made = await administration.create(
            connection,
            environment.master_key,
            found,
            url,
            options,
            destinations=environment.settings.allowed_destinations(),
            after=after,
            since=start,
            credentials=None if credentials_file is None else read_credentials_file(credentials_file),
        )
        [described] = await administration.describe(connection, [made])
        return {**described, "secret": made.newest_secret}

    made = run_with_connection(data, work)
    if as_json:
        show_json(made)
        return
    show(f"Endpoint {made['endpoint_id']} gets messages of the ledger {ledger} after position {made['position']}.")
    if made["secret"] is None:
        show(f"Subjects are loyalty.{ledger}.TYPE; the topic of Kafka is loyalty.{ledger}.")
        return
    show("Enter this secret at the receiver; it verifies the header webhook-signature (Standard Webhooks):")
    show(f"  secret  {made['secret']}")


@endpoints.command("list")
def list_endpoints(
    ledger: Annotated[str | None, typer.Option(help="Show this ledger only.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List endpoints without their secrets. Disabled endpoints are included."""

    async def work(environment: Environment, connection: Connection) -> list[dict[str, Any]]:
        chosen = await choose_ledgers(connection, ledger)
        found = [one for each in chosen for one in await store.list_endpoints(connection, environment.master_key, each)]
        return await administration.describe(connection, found)

    found = run_with_connection(data, work)
    if as_json:
        show_json(found)
    else:
        columns = ("endpoint_id", "label", "ledger", "status", "position", "events_behind", "failures", "url")
        show_table(columns, ([row[column] for column in columns] for row in found))


@endpoints.command("show")
def show_endpoint(endpoint_id: EndpointArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show one endpoint: its options, its position, its failures."""

    async def work(_: Environment, connection: Connection, endpoint: Endpoint) -> dict[str, Any]:
        [described] = await administration.describe(connection, [endpoint])
        return described

    found = _with_endpoint(data, endpoint_id, work)
    if as_json:
        show_json(found)
    else:
        show_table(("field", "value"), ((name, plain_text(value)) for name, value in found.items()))


@endpoints.command("edit")
def edit_endpoint(
    endpoint_id: EndpointArgument,
    url: Annotated[str | None, typer.Option(help="The URL that receives the messages.")] = None,
    types: Annotated[str | None, typer.Option(metavar="TYPE,…", help="Types of messages; '' means all.")] = None,
    kinds: Annotated[str | None, typer.Option(metavar="KIND,…", help="Kinds of facts; '' means all.")] = None,
    events_per_request: Annotated[
        int | None, typer.Option(min=1, max=EVENTS_PER_REQUEST_MAX, help="The most messages of a request.")
    ] = None,
    notice_days: Annotated[
        int | None, typer.Option(min=1, max=NOTICE_DAYS_MAX, help="Days before a lapse or an expiry to give notice.")
    ] = None,
    corrections: Annotated[bool | None, typer.Option(help="Send differences that a promotion uncovers.")] = None,
    label: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change the address or the options of an endpoint. Options that are not given stay."""
    given = {
        "url": url,
        "types": None if types is None else split_words(types),
        "kinds": None if kinds is None else split_words(kinds),
        "events_per_request": events_per_request,
        "notice_days": notice_days,
        "label": label,
        "corrections": corrections,
    }
    wanted = {name: value for name, value in given.items() if value is not None}

    async def work(environment: Environment, connection: Connection, endpoint: Endpoint) -> dict[str, Any]:
        master_key, destinations = environment.master_key, environment.settings.allowed_destinations()
        changed = await administration.change(connection, master_key, endpoint, wanted, destinations=destinations)
        return (await administration.describe(connection, [changed]))[0]

    changed = _with_endpoint(data, endpoint_id, work, change="edit")
    show_result(
        changed, f"Endpoint {endpoint_id} is changed; a running service applies it within 5 s.", as_json=as_json
    )


@endpoints.command("enable")
def enable_endpoint(endpoint_id: EndpointArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Send messages again, from where the endpoint was disabled."""

    async def work(environment: Environment, connection: Connection, endpoint: Endpoint) -> None:
        await store.enable_endpoint(connection, environment.master_key, endpoint)

    _with_endpoint(data, endpoint_id, work, change="enable")
    done = f"Endpoint {endpoint_id} gets messages again; a running service applies it within 5 s."
    show_result({"endpoint_id": endpoint_id, "disabled": False}, done, as_json=as_json)


@endpoints.command("disable")
def disable_endpoint(endpoint_id: EndpointArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Send nothing until the endpoint is enabled again. Its position stays, so nothing is lost."""

    async def work(environment: Environment, connection: Connection, endpoint: Endpoint) -> None:
        await store.disable_endpoint(connection, environment.master_key, endpoint)

    _with_endpoint(data, endpoint_id, work, change="disable")
    done = f"Endpoint {endpoint_id} gets no more messages; a running service applies it within 5 s."
    show_result({"endpoint_id": endpoint_id, "disabled": True}, done, as_json=as_json)


@endpoints.command("rotate")
def rotate_secret(endpoint_id: EndpointArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Add a second live secret, and print it. Enter it at the receiver, then run `loyalty endpoint settle`."""

    async def work(environment: Environment, connection: Connection, endpoint: Endpoint) -> str:
        return await store.rotate_secret(connection, environment.master_key, endpoint)

    secret = _with_endpoint(data, endpoint_id, work, change="rotate")
    done = f"Messages are signed by this secret too, until `loyalty endpoint settle`.\n  secret  {secret}"
    show_result({"endpoint_id": endpoint_id, "secret": secret}, done, as_json=as_json)


@endpoints.command("settle")
def settle_secret(endpoint_id: EndpointArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """End a rotation: only the newest secret stays live."""

    async def work(environment: Environment, connection: Connection, endpoint: Endpoint) -> None:
        await store.settle_secret(connection, environment.master_key, endpoint)

    _with_endpoint(data, endpoint_id, work, change="settle")
    done = f"Messages to {endpoint_id} are signed by the newest secret only."
    show_result({"endpoint_id": endpoint_id, "live_secrets": 1}, done, as_json=as_json)


@endpoints.command("credentials")
def replace_credentials(
    endpoint_id: EndpointArgument,
    credentials_file: Annotated[Path, typer.Argument(metavar="FILE", help=CREDENTIALS_HELP, show_default=False)],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace the credentials of a stream."""

    async def work(environment: Environment, connection: Connection, endpoint: Endpoint) -> None:
        given = read_credentials_file(credentials_file)
        await store.replace_credentials(connection, environment.master_key, endpoint, given)

    _with_endpoint(data, endpoint_id, work, change="credentials")
    done = f"Endpoint {endpoint_id} has new credentials; a running service applies them within 5 s."
    show_result({"endpoint_id": endpoint_id, "replaced": True}, done, as_json=as_json)


@endpoints.command("test")
def send_test(endpoint_id: EndpointArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Send a test message now, and show the answer. Exit code 1 if the receiver does not accept it."""

    async def work(environment: Environment, connection: Connection, endpoint: Endpoint) -> dict[str, Any]:
        destinations = environment.settings.allowed_destinations()
        return administration.attempt_json(await administration.send_test(connection, endpoint, destinations))

    result = _with_endpoint(data, endpoint_id, work, change="test")
    answer = f"status {result['status']}" if result["status"] else result["detail"]
    done = f"Test {result['outcome']}: {answer}, {result['milliseconds']} ms."
    show_result({"endpoint_id": endpoint_id, **result}, done, as_json=as_json)
    if result["outcome"] != "delivered":
        raise typer.Exit(1)


@endpoints.command("replay")
def replay_messages(
    endpoint_id: EndpointArgument,
    after: AfterOption = None,
    since: SinceOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send everything after a position or since a time again.

    A position ahead of the endpoint's own leaves messages out.
    """
    start = parse_time(since, "since")

    async def work(_: Environment, connection: Connection, endpoint: Endpoint) -> int:
        return await administration.replay(connection, endpoint, after=after, since=start)

    position = _with_endpoint(data, endpoint_id, work, change="replay")
    done = f"Endpoint {endpoint_id} gets all messages after position {position}."
    show_result({"endpoint_id": endpoint_id, "position": position}, done, as_json=as_json)


@endpoints.command("attempts")
def list_attempts(
    endpoint_id: EndpointArgument,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="The most attempts.")] = ATTEMPTS_SHOWN,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the attempts to reach an endpoint, newest first."""

    async def work(_: Environment, connection: Connection, endpoint: Endpoint) -> list[dict[str, Any]]:
        return await delivery_state.list_attempts(connection, endpoint, before=None, limit=limit)

    found = _with_endpoint(data, endpoint_id, work)
    if as_json:
        show_json(found)
    else:
        columns = ("attempt", "at", "outcome", "status", "milliseconds", "events", "first_id", "last_id", "detail")
        show_table(columns, ([row[column] for column in columns] for row in found))


@endpoints.command("delete")
def delete_endpoint(
    endpoint_id: EndpointArgument, yes: YesOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Remove an endpoint with its position and its log."""

    async def work(_: Environment, connection: Connection, endpoint: Endpoint) -> None:
        confirm(f"Remove endpoint {endpoint_id}, which sends to {endpoint.url}?", yes=yes)
        await store.delete_endpoint(connection, endpoint)

    _with_endpoint(data, endpoint_id, work, change="delete")
    done = f"Endpoint {endpoint_id} is removed."
    show_result({"endpoint_id": endpoint_id, "deleted": True}, done, as_json=as_json)


def _with_endpoint(
    data: Any,
    endpoint_id: str,
    work: Callable[[Environment, Connection, Endpoint], Awaitable[Any]],
    *,
    change: str = "",
) -> Any:
    """Run `work` with an endpoint of any ledger. A change is recorded before. Raises EndpointUnknown."""

    async def found(environment: Environment, connection: Connection) -> Any:
        endpoint = await store.find_endpoint(connection, environment.master_key, endpoint_id)
        if change:
            await record_command(connection, f"endpoint {change} {endpoint_id}", endpoint.ledger)
        return await work(environment, connection, endpoint)

    return run_with_connection(data, found)
