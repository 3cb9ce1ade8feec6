"""loyalty ledger, connection, key: the logs, who may send into them, and who may ask."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.credentials import SCHEMES, SECRET_CHARACTERS_ADVISED
from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.store import registry
from ledger.store.read import tail
from ledger.store.registry import InboundConnection, Ledger
from service.cli.console import AsJson, Data, InLedger, note, note_guess, show, show_done, show_json, show_table
from service.environment import Environment, run_with_connection

ledgers = typer.Typer(help="Ledgers: a log for each tenant.", no_args_is_help=True)
connections = typer.Typer(help="Connections: the webhooks that feed a ledger.", no_args_is_help=True)
keys = typer.Typer(help="Keys: what opens a ledger's HTTP interface.", no_args_is_help=True)

IDS_BEGIN_ANYHOW = {"ignore_unknown_options": True}  # also with a hyphen, which is no option then
Secret = Annotated[
    str | None,
    typer.Option(help="The shared secret. Other users of the machine see it in `ps`: better --secret-file."),
]
SecretFile = Annotated[
    str | None,
    typer.Option("--secret-file", metavar="FILE", help="A file that holds the shared secret; - for standard input."),
]
SECRET_BYTES_MAX = 4_096
# What to do at the vendor, by scheme.
STEPS = {
    "header": (
        "Enter at the vendor the URL, and a header of this name that carries the secret:",
        "  header  {header}",
        "  secret  {secret}",
    ),
    "voucherify": (
        "Enter at Voucherify, under Project settings, Webhooks, the URL alone. Voucherify made the secret, and sends",
        "its signature in the header {header} by itself.",
    ),
    "standard-webhooks": (
        "Enter at the sender the URL and the secret:",
        "  secret  {secret}",
        "If the sender shows a secret of its own instead, store that one:",
        "  loyalty connection rotate {connection_id} --secret-file -",
    ),
}
Label = Annotated[str, typer.Option("--label", help="A name for people, such as who uses it.", show_default=False)]
ConnectionId = Annotated[str, typer.Argument(metavar="CONNECTION", help="Its id.", show_default=False)]


@ledgers.command("create")
def create_ledger(
    name: Annotated[str, typer.Argument(help="Of a-z, 0-9, _ and -.", show_default=False)],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a ledger. It can neither be renamed nor removed."""
    made = run_with_connection(data, lambda _place, connection: registry.create_ledger(connection, name), may_make=True)
    if as_json:
        show_json({"ledger": made.name})
    else:
        show(f"Made the ledger {made.name}.")


@ledgers.command("list")
def list_ledgers(data: Data = None, as_json: AsJson = False) -> None:
    """List the ledgers, and how many events each holds."""

    async def work(_place: Environment, connection: Connection) -> list[tuple[str, int]]:
        found = await registry.list_ledgers(connection)
        return [(ledger.name, await tail(connection, ledger.ledger_id)) for ledger in found]

    rows = run_with_connection(data, work)
    if as_json:
        show_json([{"ledger": name, "events": events} for name, events in rows])
    else:
        show_table(("ledger", "events"), rows)


@connections.command("create")
def create_connection(
    ledger: InLedger,
    source: Annotated[str, typer.Option(help="The vendor; `loyalty vendors` lists them.", show_default=False)],
    kind: Annotated[str | None, typer.Option(help="The event it brings, if the vendor does not name it.")] = None,
    secret: Secret = None,
    secret_file: SecretFile = None,
    header: Annotated[str | None, typer.Option(help="The header that carries it, if not the usual one.")] = None,
    scheme: Annotated[str | None, typer.Option(help=f"{', '.join(SCHEMES)}; the vendor's by default.")] = None,
    label: Label = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Configure a webhook, and print what to enter at the vendor.

    Without a secret a random one is made, unless the vendor makes it, as Voucherify does.
    """
    given = _secret(secret, secret_file)

    async def work(place: Environment, connection: Connection) -> dict[str, Any]:
        made = await registry.create_connection(
            connection,
            place.master_key,
            await registry.find_ledger(connection, ledger),
            source=source,
            kind=kind,
            scheme=scheme,
            header=header,
            secret=given,
            label=label,
        )
        note_guess(place)
        return {**_shown(made), "secret": made.secrets[-1].decode(), **_address(place, made.connection_id)}

    made = run_with_connection(data, work)
    _advise(made["secret"])
    if as_json:
        show_json(made)
        return
    show(f"Connection {made['connection_id']} brings {source} into {ledger}.")
    for line in ("  URL     {url}", *STEPS[made["scheme"]]):
        show(line.format_map(made))


@connections.command("list")
def list_connections(
    ledger: Annotated[str | None, typer.Option(help="Of this ledger only.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List connections, disabled ones too, without their secrets."""

    async def work(place: Environment, connection: Connection) -> list[dict[str, Any]]:
        chosen = await _chosen(connection, ledger)
        return [
            {
                **_shown(found),
                "live_secrets": len(found.secrets),
                "disabled_at": found.disabled_at and found.disabled_at.isoformat(),
                **_address(place, found.connection_id),
            }
            for one in chosen
            for found in await registry.list_connections(connection, place.master_key, one)
        ]

    found = run_with_connection(data, work)
    if as_json:
        show_json(found)
    else:
        columns = ("connection_id", "label", "ledger", "source", "kind", "live_secrets", "disabled_at")
        show_table(columns, ([row[column] for column in columns] for row in found))


@connections.command("enable", context_settings=IDS_BEGIN_ANYHOW)
def enable_connection(connection_id: ConnectionId, data: Data = None, as_json: AsJson = False) -> None:
    """Take deliveries again over a connection that was disabled, with the same secrets."""

    async def work(place: Environment, connection: Connection) -> None:
        await registry.enable_connection(connection, place.master_key, connection_id)

    run_with_connection(data, work)
    done = f"Connection {connection_id} takes deliveries again; a running service knows within 5 s."
    show_done({"connection_id": connection_id, "disabled": False}, done, as_json=as_json)


@connections.command("disable", context_settings=IDS_BEGIN_ANYHOW)
def disable_connection(connection_id: ConnectionId, data: Data = None, as_json: AsJson = False) -> None:
    """Take no more deliveries over a connection. What it brought stays."""

    async def work(place: Environment, connection: Connection) -> None:
        found = await registry.find_connection(connection, place.master_key, connection_id)
        await registry.disable_connection(connection, place.master_key, found.ledger, connection_id)

    run_with_connection(data, work)
    done = f"Connection {connection_id} takes no more deliveries; a running service knows within 5 s."
    show_done({"connection_id": connection_id, "disabled": True}, done, as_json=as_json)


@connections.command("rotate", context_settings=IDS_BEGIN_ANYHOW)
def rotate_secret(
    connection_id: ConnectionId,
    secret: Secret = None,
    secret_file: SecretFile = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give a connection one more live secret. Enter it at the vendor, then `loyalty connection settle`.

    Without a secret a random one is made, unless the vendor makes it, as Voucherify does.
    """
    given = _secret(secret, secret_file)

    async def work(place: Environment, connection: Connection) -> dict[str, Any]:
        found = await registry.find_connection(connection, place.master_key, connection_id)
        made = await registry.add_secret(connection, place.master_key, found, given)
        return {"connection_id": connection_id, "header": found.header, "secret": made}

    made = run_with_connection(data, work)
    _advise(made["secret"])
    if as_json:
        show_json(made)
    else:
        show(f"The new secret is {made['secret']}; those before it stay live until `loyalty connection settle`.")


@connections.command("settle", context_settings=IDS_BEGIN_ANYHOW)
def settle_secret(connection_id: ConnectionId, data: Data = None, as_json: AsJson = False) -> None:
    """End a rotation: only the newest secret stays live."""

    async def work(place: Environment, connection: Connection) -> None:
        found = await registry.find_connection(connection, place.master_key, connection_id)
        await registry.drop_old_secrets(connection, place.master_key, found)

    run_with_connection(data, work)
    done = f"Connection {connection_id} takes its newest secret only; a running service knows within 5 s."
    show_done({"connection_id": connection_id, "live_secrets": 1}, done, as_json=as_json)


@keys.command("create")
def create_key(
    ledger: InLedger,
    scope: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(registry.SCOPES)}; may be given again.", show_default="read")
    ] = None,
    label: Label = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown this once."""

    scopes = sorted(set(scope or ["read"]))

    async def work(place: Environment, connection: Connection) -> str:
        found = await registry.find_ledger(connection, ledger)
        return await registry.create_key(connection, place.master_key, found, scopes, label)

    key = run_with_connection(data, work)
    if as_json:
        show_json({"key": key, "ledger": ledger, "scopes": scopes, "key_id": key.split("_")[1], "label": label})
    else:
        show(f"{key}\nSend it as `Authorization: Bearer …`. It is not kept and cannot be shown again.")


@keys.command("list")
def list_keys(
    ledger: Annotated[str | None, typer.Option(help="Of this ledger only.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List keys, revoked ones too, without what opens anything."""

    async def work(place: Environment, connection: Connection) -> list[dict[str, Any]]:
        return [
            {"key_id": key.key_id, "label": key.label, "ledger": one.name, "scopes": key.scopes,
             "created_at": key.created_at.isoformat(), "revoked_at": key.revoked_at and key.revoked_at.isoformat()}
            for one in await _chosen(connection, ledger)
            for key in await registry.list_keys(connection, place.master_key, one)
        ]  # fmt: skip

    found = run_with_connection(data, work)
    if as_json:
        show_json(found)
    else:
        columns = ("key_id", "label", "ledger", "scopes", "created_at", "revoked_at")
        rows = ({**row, "scopes": " ".join(row["scopes"])} for row in found)
        show_table(columns, ([row[column] for column in columns] for row in rows))


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="ll_KEY_ID_…", show_default=False)],
    ledger: InLedger,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a key open nothing any more."""

    async def work(place: Environment, connection: Connection) -> None:
        await registry.revoke_key(connection, place.master_key, await registry.find_ledger(connection, ledger), key_id)

    run_with_connection(data, work)
    done = f"Key {key_id} opens nothing any more; a running service knows within 5 s."
    show_done({"key_id": key_id, "ledger": ledger, "revoked": True}, done, as_json=as_json)


def _secret(secret: str | None, secret_file: str | None) -> str | None:
    """Read the secret that an option names; None if there is no such option. Raises RequestInvalid."""
    if secret_file is None:
        given = secret
    elif secret is not None:
        raise RequestInvalid("give --secret or --secret-file, not both")
    else:
        given = _read_secret(secret_file)
    return given


def _advise(secret: str) -> None:
    """Print a warning about a secret that is accepted, but short."""
    if len(secret) < SECRET_CHARACTERS_ADVISED:
        note(f"The secret is short: {SECRET_CHARACTERS_ADVISED} characters or more are harder to guess.")


def _read_secret(name: str) -> str:
    """Read a secret from a file, or from standard input for `-`; the line end after it does not belong to it."""
    try:
        if name == "-":
            text = sys.stdin.buffer.read(SECRET_BYTES_MAX).decode()
        else:
            with Path(name).open("rb") as file:
                text = file.read(SECRET_BYTES_MAX).decode()
    except UnicodeDecodeError:
        raise RequestInvalid("--secret-file holds no text in UTF-8") from None
    except OSError as error:
        raise RequestInvalid(f"--secret-file cannot be read: {error.strerror}") from None
    return text.removesuffix("\n").removesuffix("\r")


async def _chosen(connection: Connection, name: str | None) -> list[Ledger]:
    return await registry.list_ledgers(connection) if name is None else [await registry.find_ledger(connection, name)]


def _shown(inbound: InboundConnection) -> dict[str, Any]:
    return {
        "connection_id": inbound.connection_id,
        "label": inbound.label,
        "ledger": inbound.ledger.name,
        "source": inbound.source,
        "kind": inbound.kind,
        "scheme": inbound.scheme,
        "header": inbound.header,
    }


def _address(place: Environment, connection_id: str) -> dict[str, str]:
    path = f"/v1/hooks/{connection_id}"
    return {"url": place.url() + path, "path": path}
