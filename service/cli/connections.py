"""loyalty connection: the inbound webhooks of a ledger, their secrets and addresses."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.credentials import SCHEMES, SECRET_CHARACTERS_ADVISED
from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.store import registry
from ledger.store.registry import InboundConnection
from service.cli.ledgers import LabelOption, choose_ledgers
from service.cli.terminal.console import (
    DataOption,
    JsonOption,
    LedgerOption,
    show,
    show_json,
    show_note,
    show_result,
    show_table,
    warn_if_url_guessed,
)
from service.cli.terminal.operators import record_command
from service.environment import Environment, run_with_connection
from service.formatting import format_time

connections = typer.Typer(help="Connections: the webhooks that feed a ledger.", no_args_is_help=True)

ALLOW_LEADING_HYPHEN = {"ignore_unknown_options": True}  # random ids may begin with a hyphen
SecretOption = Annotated[
    str | None,
    typer.Option(help="The shared secret. Other users of the machine can see it in `ps`; prefer --secret-file."),
]
SecretFileOption = Annotated[
    str | None,
    typer.Option("--secret-file", metavar="FILE", help="A file with the shared secret; - is standard input."),
]
SECRET_BYTES_MAX = 4_096
# Instructions for the vendor's settings, by scheme.
VENDOR_INSTRUCTIONS = {
    "header": (
        "Enter the URL at the vendor, and a header with this name and the secret as its value:",
        "  header  {header}",
        "  secret  {secret}",
    ),
    "voucherify": (
        "Enter the URL at Voucherify, under Project settings, Webhooks. Voucherify made the secret, and sends its",
        "signature in the header {header}; nothing else is to be entered.",
    ),
    "standard-webhooks": (
        "Enter the URL and the secret at the sender:",
        "  secret  {secret}",
        "If the sender shows its own secret instead, store it:",
        "  loyalty connection rotate {connection_id} --secret-file -",
    ),
}
ConnectionIdArgument = Annotated[
    str, typer.Argument(metavar="CONNECTION", help="The connection's id.", show_default=False)
]


@connections.command("create")
def create_connection(
    ledger: LedgerOption,
    source: Annotated[str, typer.Option(help="The vendor; `loyalty vendors` lists them.", show_default=False)],
    kind: Annotated[str | None, typer.Option(help="The kind of event, if the vendor's body does not name it.")] = None,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    header: Annotated[str | None, typer.Option(help="The header with the secret, if not the vendor's default.")] = None,
    scheme: Annotated[str | None, typer.Option(help=f"{', '.join(SCHEMES)}; default: the vendor's scheme.")] = None,
    label: LabelOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Configure a webhook, and print the values to enter at the vendor.

    Without --secret or --secret-file a random secret is made. Voucherify makes its secret itself.
    """
    given = _secret_from_options(secret, secret_file)

    async def work(environment: Environment, connection: Connection) -> dict[str, Any]:
        found = await registry.find_ledger(connection, ledger)
        await record_command(connection, "connection create", found)
        made = await registry.create_connection(
            connection,
            environment.master_key,
            found,
            source=source,
            kind=kind,
            scheme=scheme,
            header=header,
            secret=given,
            label=label,
        )
        warn_if_url_guessed(environment)
        return {
            **_connection_json(made),
            "secret": made.secrets[-1].decode(),
            **_webhook_address(environment, made.connection_id),
        }

    made = run_with_connection(data, work)
    _warn_if_short(made["secret"])
    if as_json:
        show_json(made)
        return
    show(f"Connection {made['connection_id']} receives {source} events for the ledger {ledger}.")
    for line in ("  URL     {url}", *VENDOR_INSTRUCTIONS[made["scheme"]]):
        show(line.format_map(made))


@connections.command("list")
def list_connections(
    ledger: Annotated[str | None, typer.Option(help="Show this ledger only.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List connections without their secrets. Disabled connections are included."""

    async def work(environment: Environment, connection: Connection) -> list[dict[str, Any]]:
        chosen = await choose_ledgers(connection, ledger)
        return [
            {
                **_connection_json(found),
                "live_secrets": len(found.secrets),
                "disabled_at": found.disabled_at and format_time(found.disabled_at),
                **_webhook_address(environment, found.connection_id),
            }
            for chosen_ledger in chosen
            for found in await registry.list_connections(connection, environment.master_key, chosen_ledger)
        ]

    found = run_with_connection(data, work)
    if as_json:
        show_json(found)
    else:
        columns = ("connection_id", "label", "ledger", "source", "kind", "live_secrets", "disabled_at")
        show_table(columns, ([row[column] for column in columns] for row in found))


@connections.command("enable", context_settings=ALLOW_LEADING_HYPHEN)
def enable_connection(
    connection_id: ConnectionIdArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Enable a disabled connection. It accepts deliveries again, with the same secrets."""

    async def work(environment: Environment, connection: Connection) -> None:
        async with connection.transaction():  # a disabled connection cannot be found
            await registry.enable_connection(connection, environment.master_key, connection_id)
            found = await registry.find_connection(connection, environment.master_key, connection_id)
            await record_command(connection, f"connection enable {connection_id}", found.ledger)

    run_with_connection(data, work)
    done = f"Connection {connection_id} accepts deliveries again; a running service applies it within 5 s."
    show_result({"connection_id": connection_id, "disabled": False}, done, as_json=as_json)


@connections.command("disable", context_settings=ALLOW_LEADING_HYPHEN)
def disable_connection(
    connection_id: ConnectionIdArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Disable a connection. It accepts no further deliveries; events that it brought stay."""

    async def work(environment: Environment, connection: Connection) -> None:
        found = await registry.find_connection(connection, environment.master_key, connection_id)
        await record_command(connection, f"connection disable {connection_id}", found.ledger)
        await registry.disable_connection(connection, environment.master_key, found.ledger, connection_id)

    run_with_connection(data, work)
    done = f"Connection {connection_id} accepts no more deliveries; a running service applies it within 5 s."
    show_result({"connection_id": connection_id, "disabled": True}, done, as_json=as_json)


@connections.command("rotate", context_settings=ALLOW_LEADING_HYPHEN)
def rotate_secret(
    connection_id: ConnectionIdArgument,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a second live secret to a connection. Enter it at the vendor, then run `loyalty connection settle`.

    Without --secret or --secret-file a random secret is made. Voucherify makes its secret itself.
    """
    given = _secret_from_options(secret, secret_file)

    async def work(environment: Environment, connection: Connection) -> dict[str, Any]:
        found = await registry.find_connection(connection, environment.master_key, connection_id)
        await record_command(connection, f"connection rotate {connection_id}", found.ledger)
        made = await registry.add_secret(connection, environment.master_key, found, given)
        return {"connection_id": connection_id, "header": found.header, "secret": made}

    made = run_with_connection(data, work)
    _warn_if_short(made["secret"])
    if as_json:
        show_json(made)
    else:
        show(f"The new secret is {made['secret']}; earlier secrets stay live until `loyalty connection settle`.")


@connections.command("settle", context_settings=ALLOW_LEADING_HYPHEN)
def settle_secret(connection_id: ConnectionIdArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """End a rotation: only the newest secret stays live."""

    async def work(environment: Environment, connection: Connection) -> None:
        found = await registry.find_connection(connection, environment.master_key, connection_id)
        await record_command(connection, f"connection settle {connection_id}", found.ledger)
        await registry.drop_old_secrets(connection, environment.master_key, found)

    run_with_connection(data, work)
    done = f"Connection {connection_id} accepts its newest secret only; a running service applies it within 5 s."
    show_result({"connection_id": connection_id, "live_secrets": 1}, done, as_json=as_json)


def _secret_from_options(secret: str | None, secret_file: str | None) -> str | None:
    """Return the secret from the options, or None without one. Raises RequestInvalid if both options are set, or the
    file cannot be read.
    """
    if secret_file is None:
        given = secret
    elif secret is not None:
        raise RequestInvalid("give either --secret or --secret-file, not both")
    else:
        given = _read_secret(secret_file)
    return given


def _warn_if_short(secret: str) -> None:
    """Warn about a secret that is accepted but short."""
    if len(secret) < SECRET_CHARACTERS_ADVISED:
        show_note(f"The secret is short: {SECRET_CHARACTERS_ADVISED} characters or more are advised.")


def _read_secret(name: str) -> str:
    """Read a secret from a file, or from standard input for `-`. One line end after it is dropped."""
    try:
        if name == "-":
            text = sys.stdin.buffer.read(SECRET_BYTES_MAX).decode()
        else:
            with Path(name).open("rb") as file:
                text = file.read(SECRET_BYTES_MAX).decode()
    except UnicodeDecodeError:
        raise RequestInvalid("--secret-file must hold UTF-8 text") from None
    except OSError as error:
        raise RequestInvalid(f"--secret-file cannot be read: {error.strerror}") from None
    return text.removesuffix("\n").removesuffix("\r")


def _connection_json(inbound: InboundConnection) -> dict[str, Any]:
    return {
        "connection_id": inbound.connection_id,
        "label": inbound.label,
        "ledger": inbound.ledger.name,
        "source": inbound.source,
        "kind": inbound.kind,
        "scheme": inbound.scheme,
        "header": inbound.header,
    }


def _webhook_address(environment: Environment, connection_id: str) -> dict[str, str]:
    path = f"/v1/hooks/{connection_id}"
    return {"url": environment.url() + path, "path": path}
