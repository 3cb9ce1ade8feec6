"""The command `loyalty`: its commands, and the one place that turns what goes wrong into a line for a person.

Exit codes: 0 done, 1 an error that the line explains, 2 a command that was not understood, 130 interrupted.
"""

import logging
import signal
import sys
from types import FrameType

import asyncpg
import typer
from pydantic import ValidationError
from rich.text import Text

from ledger.errors import LedgerError
from service.commands import (
    adjusting,
    auditing,
    demonstration,
    explaining,
    exports,
    files,
    finance,
    generations,
    history,
    ledgers,
    parking,
    people,
    planning,
    reconciling,
    roles,
    seals,
    serving,
    terms,
    vendors,
    witnesses,
)
from service.commands.screen import ERR

FAILED = 1

app = typer.Typer(
    name="loyalty",
    help="An append-only ledger of loyalty events of several vendors, and what they come to.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demonstration.show_demo)
app.command("serve")(serving.serve)
app.command("project")(serving.project)
app.command("migrate")(serving.migrate)
app.add_typer(ledgers.ledgers, name="ledger")
app.add_typer(ledgers.connections, name="connection")
app.add_typer(ledgers.keys, name="key")
app.command("import")(files.import_file)
app.command("export")(exports.export_ledger)
app.command("rebuild")(generations.rebuild_views)
app.command("generations")(generations.list_generations)
app.command("promote")(generations.promote_generation)
app.command("rollback")(generations.roll_back)
app.command("drop")(generations.drop_generation)
app.add_typer(planning.events, name="events")
app.add_typer(parking.parked, name="parked")
app.command("digest")(history.show_digest)
app.command("reconcile")(reconciling.reconcile)
app.command("adjust")(adjusting.adjust_account)
app.command("explain")(explaining.explain)
app.command("trial-balance")(finance.show_trial_balance)
app.command("liability")(finance.show_liability)
app.command("close")(finance.close)
app.command("reopen")(finance.reopen)
app.command("vendors")(vendors.show_vendors)
app.command("erase")(people.erase_customer)
app.command("unmerge")(people.unmerge_customer)
app.add_typer(people.policies, name="policy")
app.command("verify")(auditing.verify_ledgers)
app.command("attest")(auditing.attest_views)
app.add_typer(auditing.audit, name="audit")
app.add_typer(seals.seal, name="seal")
app.add_typer(seals.checkpoint, name="checkpoint")
app.add_typer(seals.log, name="log")
app.command("witness")(witnesses.witness)
app.add_typer(roles.roles, name="roles")
app.add_typer(terms.terms, name="terms")


def main() -> None:
    """Run the command line. SIGTERM stops a command in order, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        app(prog_name="loyalty")
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        ERR.print(Text.assemble(("error: ", "red"), " ".join(sentence.split())), soft_wrap=True)
        sys.exit(FAILED)


def explain(error: Exception) -> str | None:
    """Say in a sentence what went wrong; None for what we did not foresee, which deserves its traceback."""
    match error:
        case LedgerError():
            return str(error)
        case ValidationError():  # only settings are validated outside of a ledger
            wrong = (f"{_variable(part['loc'])}: {part['msg']}" for part in error.errors(include_input=False))
            return f"The settings are wrong: {'; '.join(wrong)}"
        case asyncpg.PostgresError():  # its details may quote rows
            return f"The database refuses: {error.message or type(error).__name__}"
        case asyncpg.InterfaceError():
            return f"The database cannot be asked: {error}"
        case TimeoutError():
            return "The database or the network did not answer in time"
        case OSError():
            named = f": {error.filename}" if error.filename is not None else ""
            return f"{error.strerror or str(error) or type(error).__name__}{named}"
    return None


def _variable(location: tuple[str | int, ...]) -> str:
    name = "_".join(str(part) for part in location).upper()
    return name if name == "DATABASE_URL" else f"LOYALTY_{name}"


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
