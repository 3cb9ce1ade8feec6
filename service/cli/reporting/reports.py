"""loyalty report: list the report views, and create database roles that read those of one ledger."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.store import registry
from projections.engine import generations
from projections.reports.views import REPORT_VIEWS
from service.cli.terminal.console import (
    DataOption,
    JsonOption,
    LedgerOption,
    YesOption,
    confirm,
    show_json,
    show_result,
    show_table,
)
from service.environment import Environment, run_with_connection
from service.reporting.report_roles import ReportRole, create_report_role, drop_report_role, list_report_roles

RoleArgument = Annotated[str, typer.Argument(metavar="ROLE", help="Name of the role.", show_default=False)]

reports = typer.Typer(help="Report views, and the roles that read them.", no_args_is_help=True)
roles = typer.Typer(help="Database roles that read the views of one ledger.", no_args_is_help=True)
reports.add_typer(roles, name="role")


@reports.command("views")
def show_views(
    view: Annotated[str | None, typer.Argument(help="Show the columns of this view.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the report views, or the columns of one. Needs no database."""
    shown = [one for one in REPORT_VIEWS if view in (None, one.name)]
    if not shown:
        raise RequestInvalid(f"there is no view {view}: see `loyalty report views`")
    if as_json:
        show_json(
            [
                {
                    "view": f"report.{one.name}",
                    "description": one.description,
                    "columns": [column._asdict() for column in one.columns],
                }
                for one in shown
            ]
        )
    elif view is None:
        show_table(("view", "rows"), [(f"report.{one.name}", one.description) for one in shown])
    else:
        rows = [(column.name, column.sql_type, column.description) for column in shown[0].columns]
        show_table(("column", "type", "meaning"), rows)


@roles.command("create")
def create_role(
    role: RoleArgument,
    ledger: LedgerOption,
    password_file: Annotated[
        Path | None,
        typer.Option(help="A file that holds the password; - is standard input.", allow_dash=True, dir_okay=False),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a role that reads the report views of one ledger. Again: set its password.

    Without a password it cannot log in: grant it to roles that do. Needs the role that ran `loyalty migrate`.
    """
    password = None
    if password_file is not None:
        password = (sys.stdin.read() if str(password_file) == "-" else password_file.read_text()).strip()

    async def work(_environment: Environment, connection: Connection) -> None:
        await generations.ensure_active_generation(connection)
        await create_report_role(connection, await registry.find_ledger(connection, ledger), role, password)

    run_with_connection(data, work)
    use = "can log in" if password else "cannot log in: grant it to roles that do"
    show_result(
        {"role": role, "ledger": ledger, "can_login": password is not None},
        f"{role} reads the report views of the ledger {ledger}. It {use}.",
        as_json=as_json,
    )


@roles.command("list")
def list_roles(
    ledger: Annotated[str | None, typer.Option("--ledger", help="Only those of this ledger.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the roles that read report views."""

    async def work(_environment: Environment, connection: Connection) -> list[ReportRole]:
        found = None if ledger is None else await registry.find_ledger(connection, ledger)
        return list(await list_report_roles(connection, found))

    listed = run_with_connection(data, work)
    if as_json:
        show_json([one._asdict() for one in listed])
    else:
        show_table(ReportRole._fields, listed)


@roles.command("drop")
def drop_role(role: RoleArgument, yes: YesOption = False, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Drop a role that reads report views. Its sessions see no rows from now on."""
    confirm(f"Drop the role {role}?", yes=yes)

    async def work(_environment: Environment, connection: Connection) -> None:
        await drop_report_role(connection, role)

    run_with_connection(data, work)
    show_result({"role": role, "dropped": True}, f"{role} reads no reports any more.", as_json=as_json)
