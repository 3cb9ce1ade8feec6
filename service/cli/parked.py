"""loyalty parked list, retry: subjects whose fold failed, and another attempt after a fix."""

from typing import Annotated, Any

import typer

from ledger.database import Connection
from ledger.store import registry
from projections.engine import retry
from projections.engine.parked import list_parked
from projections.engine.store import decode_fact
from service.cli.terminal.console import DataOption, JsonOption, LedgerOption, show, show_json, show_table
from service.cli.terminal.exit_codes import FINDINGS
from service.cli.terminal.operators import record_command
from service.environment import Environment, run_with_connection
from service.queries.explain_steps import fact_json

LISTED_MAX = 1_000

parked = typer.Typer(help="Parked subjects: those with a fact that cannot be folded.", no_args_is_help=True)


@parked.command("list")
def list_parked_subjects(ledger: LedgerOption, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List parked subjects, each with its error and the fact at which its fold failed."""

    async def work(_environment: Environment, connection: Connection) -> list[dict[str, Any]]:
        found = await registry.find_ledger(connection, ledger)
        listed = await list_parked(connection, found.ledger_id, LISTED_MAX)
        return [
            {
                **parked_subject._asdict(),
                "body": fact_json(decode_fact(parked_subject.fact, parked_subject.body))
                if parked_subject.fact is not None and parked_subject.body is not None
                else None,
            }
            for parked_subject in listed
        ]

    listed = run_with_connection(data, work)
    if as_json:
        show_json(listed)
    else:
        columns = ("subject_kind", "subject", "parked_position", "fact", "reason")
        show_table(columns, ([parked_subject[column] for column in columns] for parked_subject in listed))


@parked.command("retry")
def retry_parked(
    ledger: LedgerOption,
    subject_kind: Annotated[str | None, typer.Option(help="This kind of subject only.", show_default=False)] = None,
    subject: Annotated[str | None, typer.Option(help="This subject only.", show_default=False)] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fold parked subjects from the start. Ends with 1 if some are still parked."""

    async def work(_environment: Environment, connection: Connection) -> retry.RetryResult:
        found = await registry.find_ledger(connection, ledger)
        await record_command(connection, "parked retry", found)
        return await retry.retry_parked(connection, found.ledger_id, subject_kind=subject_kind, subject=subject)

    done = run_with_connection(data, work)
    if as_json:
        show_json(done._asdict())
    else:
        show(f"Folded {done.tried:,} subjects again; {done.still_parked:,} are still parked.")
    if done.still_parked:
        raise typer.Exit(FINDINGS)
