"""loyalty roles: create PostgreSQL roles and grant their rights. Every command can be repeated."""

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from ledger.database import Connection, connect
from service.cli.terminal.console import DataOption, JsonOption, show_json, show_note, show_result, show_table
from service.database_roles import LOGIN_ROLES, RolesApplied, apply_roles, create_login, create_roles
from service.environment import Environment, load_settings, open_environment, run_with_connection

roles = typer.Typer(help="PostgreSQL roles and their rights.", no_args_is_help=True)


@roles.command("create")
def create(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Create the roles only, before a backup is restored into another cluster. Then restore, then run `loyalty roles
    apply`.

    Needs the right to create roles, and a database, which may be empty.
    """

    async def work(environment: Environment) -> list[str]:
        connection = await connect(environment.dsn)
        try:
            return await create_roles(connection)
        finally:
            await connection.close()

    with open_environment(load_settings(data), may_make=True) as environment:
        made = uvloop.run(work(environment))
    show_result({"roles": made}, f"These roles exist now: {', '.join(made)}.", as_json=as_json)


@roles.command("login")
def login(
    name: Annotated[str, typer.Argument(help="Name of the role that logs in.")],
    password_file: Annotated[Path, typer.Option(help="A file that holds the password.", exists=True, dir_okay=False)],
    role: Annotated[str, typer.Option(help=f"Its rights: {', '.join(LOGIN_ROLES)}.")] = LOGIN_ROLES[0],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a role that can log in, for the service, an auditor or a backup. Again: set its password.

    Needs the role that ran `loyalty migrate`.
    """

    async def work(_environment: Environment, connection: Connection) -> None:
        await create_login(connection, name, password_file.read_text().strip(), role)

    run_with_connection(data, work)
    show_result({"login": name, "role": role}, f"{name} can log in as {role}.", as_json=as_json)


@roles.command("apply")
def apply(
    only_ours: Annotated[
        bool, typer.Option("--only-ours", help="Let only members of these roles connect to the database.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create the roles, grant their rights, and transfer the ledger to loyalty_owner, a role without login.

    Needs the database's owner with the right to create roles. The transfer needs a superuser or a member of
    loyalty_owner. Running it again changes nothing. Only the database's owner keeps the right to temporary tables.
    """

    async def work(_environment: Environment, connection: Connection) -> RolesApplied:
        return await apply_roles(connection, only_ours=only_ours)

    done = run_with_connection(data, work)
    if as_json:
        show_json(done._asdict())
        return
    show_table(("role", "does", "members"), done.roles)
    if done.owner != "loyalty_owner":
        show_note(
            f"The ledger is still owned by {done.owner}, who cannot transfer it to loyalty_owner: {done.kept_because}."
        )
    if done.open_to_all:
        show_note(
            "Any role of this PostgreSQL may connect to the database, although it sees nothing. Use --only-ours to "
            "prevent it."
        )
