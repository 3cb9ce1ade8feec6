"""loyalty ledger, key: the ledgers of a database, and the API keys that open them."""

from typing import Annotated, Any

import typer

from ledger.database import Connection
from ledger.store import api_keys, registry
from ledger.store.read import tail
from ledger.store.registry import Ledger
from service.cli.terminal.console import DataOption, JsonOption, LedgerOption, show, show_json, show_result, show_table
from service.cli.terminal.operators import record_command
from service.environment import Environment, run_with_connection
from service.formatting import format_time

ledgers = typer.Typer(help="Ledgers: a log for each tenant.", no_args_is_help=True)
keys = typer.Typer(help="API keys: credentials for a ledger's HTTP API.", no_args_is_help=True)

LabelOption = Annotated[
    str, typer.Option("--label", help="A label for people, such as the name of its user.", show_default=False)
]


@ledgers.command("create")
def create_ledger(
    name: Annotated[str, typer.Argument(help="Characters: a-z, 0-9, _ and -.", show_default=False)],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a ledger. It can neither be renamed nor removed."""
    made = run_with_connection(
        data, lambda _environment, connection: registry.create_ledger(connection, name), may_make=True
    )
    if as_json:
        show_json({"ledger": made.name})
    else:
        show(f"Created the ledger {made.name}.")


@ledgers.command("list")
def list_ledgers(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the ledgers and the number of events in each."""

    async def work(_environment: Environment, connection: Connection) -> list[tuple[str, int]]:
        found = await registry.list_ledgers(connection)
        return [(ledger.name, await tail(connection, ledger.ledger_id)) for ledger in found]

    rows = run_with_connection(data, work)
    if as_json:
        show_json([{"ledger": name, "events": events} for name, events in rows])
    else:
        show_table(("ledger", "events"), rows)


@keys.command("create")
def create_key(
    ledger: LedgerOption,
    scope: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(api_keys.SCOPES)}; can be repeated.", show_default="read")
    ] = None,
    label: LabelOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an API key. It is shown only once."""

    scopes = sorted(set(scope or ["read"]))

    async def work(environment: Environment, connection: Connection) -> str:
        found = await registry.find_ledger(connection, ledger)
        await record_command(connection, "key create", found)
        return await api_keys.create_key(connection, environment.master_key, found, scopes, label)

    key = run_with_connection(data, work)
    if as_json:
        show_json({"key": key, "ledger": ledger, "scopes": scopes, "key_id": key.split("_")[1], "label": label})
    else:
        show(f"{key}\nSend it as `Authorization: Bearer …`. It is not stored and cannot be shown again.")


@keys.command("list")
def list_keys(
    ledger: Annotated[str | None, typer.Option(help="Show this ledger only.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List API keys without their secrets. Revoked keys are included."""

    async def work(environment: Environment, connection: Connection) -> list[dict[str, Any]]:
        return [
            {"key_id": key.key_id, "label": key.label, "ledger": chosen_ledger.name, "scopes": key.scopes,
             "created_at": format_time(key.created_at), "revoked_at": key.revoked_at and format_time(key.revoked_at)}
            for chosen_ledger in await choose_ledgers(connection, ledger)
            for key in await api_keys.list_keys(connection, environment.master_key, chosen_ledger)
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
    key_id: Annotated[
        str, typer.Argument(metavar="KEY_ID", help="The middle part of a key: ll_KEY_ID_…", show_default=False)
    ],
    ledger: LedgerOption,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke an API key. Requests with it are refused."""

    async def work(environment: Environment, connection: Connection) -> None:
        found = await registry.find_ledger(connection, ledger)
        await record_command(connection, f"key revoke {key_id}", found)
        await api_keys.revoke_key(connection, environment.master_key, found, key_id)

    run_with_connection(data, work)
    done = f"Key {key_id} is revoked; a running service applies it within 5 s."
    show_result({"key_id": key_id, "ledger": ledger, "revoked": True}, done, as_json=as_json)


async def choose_ledgers(connection: Connection, name: str | None) -> list[Ledger]:
    """Return the named ledger, or all ledgers if `name` is None. Raises LedgerUnknown."""
    return await registry.list_ledgers(connection) if name is None else [await registry.find_ledger(connection, name)]
