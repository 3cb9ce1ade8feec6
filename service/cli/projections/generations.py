"""loyalty generations, promote, rollback, drop: list the generations, and choose the active one."""

from typing import Annotated

import typer

from ledger.database import Connection
from ledger.errors import NotPromoted
from ledger.store import registry
from projections import rebuild
from projections.engine import generations, promotion
from projections.engine.generations import Generation
from service.cli.projections.rebuild import ExpectOption, ForceOption
from service.cli.terminal.console import (
    DataOption,
    JsonOption,
    show,
    show_json,
    show_table,
)
from service.cli.terminal.operators import record_command
from service.environment import Environment, run_with_connection
from service.queries.generations import generation_json


def list_generations(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the generations of the projections with their states."""

    async def work(_environment: Environment, connection: Connection) -> list[Generation]:
        await generations.ensure_active_generation(connection)
        return await generations.list_generations(connection)

    listed = run_with_connection(data, work)
    if as_json:
        show_json([generation_json(generation_listed) for generation_listed in listed])
        return
    columns = ("generation", "status", "basis", "created_at", "promoted_at", "unexpected")
    rows = [
        {**generation_json(generation_listed), "unexpected": (generation_listed.comparison or {}).get("unexpected")}
        for generation_listed in listed
    ]
    show_table(columns, ([row[column] for column in columns] for row in rows))


def promote_generation(
    generation: Annotated[
        int | None, typer.Argument(help="The generation's number. Default: the newest ready one.")
    ] = None,
    expect: ExpectOption = None,
    force: ForceOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a ready generation the active one. With --expect it is compared again first."""

    async def work(environment: Environment, connection: Connection) -> Generation:
        ready = [
            generation_listed.generation
            for generation_listed in await generations.list_generations(connection)
            if generation_listed.state == "ready"
        ]
        if generation is None and not ready:
            raise NotPromoted("no generation is ready; run `loyalty rebuild` first")
        chosen = await generations.find_generation(connection, ready[-1] if generation is None else generation)
        if expect and chosen.state == "ready":
            await rebuild.compare_with_active(environment.dsn, chosen, expect)
        ledgers = await registry.list_ledgers(connection)
        await record_command(connection, f"promote {chosen.generation}", *ledgers)
        return await promotion.promote(environment.dsn, chosen.generation, force=force)

    _show_active(run_with_connection(data, work), as_json=as_json)


def roll_back(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Make the previous generation active again, at once. It has followed the ledger."""

    async def work(environment: Environment, connection: Connection) -> Generation:
        await record_command(connection, "rollback", *await registry.list_ledgers(connection))
        return await promotion.roll_back(environment.dsn)

    _show_active(run_with_connection(data, work), as_json=as_json)


def drop_generation(
    generation: Annotated[int, typer.Argument(show_default=False)], data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Remove a generation that is not active. If a reader still uses it, it is removed when the reader has switched."""

    async def work(_environment: Environment, connection: Connection) -> bool:
        ledgers = await registry.list_ledgers(connection)
        await record_command(connection, f"generation drop {generation}", *ledgers)
        return await promotion.drop_generation(connection, generation)

    gone = run_with_connection(data, work)
    if as_json:
        show_json({"generation": generation, "dropped": gone})
    else:
        show(
            f"Generation {generation} is dropped."
            if gone
            else f"Generation {generation} will be dropped when no reader uses it."
        )


def _show_active(active: Generation, *, as_json: bool) -> None:
    if as_json:
        show_json(generation_json(active))
    else:
        show(f"Generation {active.generation} is active now.")
