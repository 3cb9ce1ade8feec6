"""Entry point of `loyalty`: the table of commands, and the one place that prints errors.

Only the module of the called command is imported, so that `loyalty --help` and short commands start quickly. Exit codes
are in terminal/exit_codes.py.
"""

import importlib
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import typer


class Command(NamedTuple):
    """A command or a group of commands: its module, the name in it, and a summary for the help page."""

    module: str
    name: str
    summary: str


COMMANDS = {
    "demo": Command("demo", "run_demo", "Start a service, send it every sample, and show the results."),
    "serve": Command("serve", "serve", "Receive webhooks and answer requests until SIGTERM or Ctrl-C."),
    "project": Command("serve", "project", "Keep the projections up to date, beside `loyalty serve --no-project`."),
    "migrate": Command("serve", "migrate", "Bring the ledger's schema to this version."),
    "ledger": Command("ledgers", "ledgers", "Ledgers: a log for each tenant."),
    "connection": Command("connections", "connections", "Connections: the webhooks that feed a ledger."),
    "key": Command("ledgers", "keys", "Keys: what opens a ledger's HTTP interface."),
    "import": Command("import_file", "import_file", "Append the deliveries of a file, or restore an exported ledger."),
    "export": Command("export", "export_ledger", "Write a ledger as lines of JSON, to be imported elsewhere."),
    "rebuild": Command("generations", "rebuild_projections", "Build all projections again, compare, and promote them."),
    "generations": Command("generations", "list_generations", "List the built copies of the projections."),
    "promote": Command("generations", "promote_generation", "Let readers see a generation that is ready."),
    "rollback": Command("generations", "roll_back", "Let readers see the generation that was active before."),
    "drop": Command("generations", "drop_generation", "Remove a generation that is not active."),
    "events": Command("rebuild_checks", "events", "Events: check that this version reads them."),
    "parked": Command("parked", "parked", "Parked subjects: those with a fact that cannot be folded."),
    "digest": Command("audit", "show_digest", "Print a hash of every projected row, positions aside."),
    "reconcile": Command("reconcile", "reconcile", "Show what is open between the vendors' word and ours."),
    "adjust": Command("adjust", "adjust_account", "Change a balance by an event of ours."),
    "explain": Command("explain", "explain", "Explain a balance, a lot, a tier, a coupon, step by step."),
    "trial-balance": Command("finance", "show_trial_balance", "Sum every class of all accounts."),
    "liability": Command("finance", "show_liability", "Roll the points outstanding forward, by vintage."),
    "close": Command("finance", "close", "Close a month."),
    "reopen": Command("finance", "reopen", "Open the last closed month again."),
    "periods": Command("finance", "list_periods", "List the months that were ever closed."),
    "period": Command("finance", "periods", "Periods: one month, its figures, and what was told of it late."),
    "vendors": Command("vendors", "show_vendors", "List every kind of event that is read."),
    "erase": Command("customers", "erase_customer", "Forget a customer: destroy the keys of their personal data."),
    "unmerge": Command("customers", "unmerge_customer", "Undo the merge of a customer into another."),
    "policy": Command("policies", "policies", "Policies: which of the events that share a key is folded."),
    "verify": Command("audit", "verify_ledgers", "Verify ledgers against what was signed, or rows against facts."),
    "attest": Command("audit", "attest_ledger", "Write a digest of the projections into the ledger."),
    "audit": Command("audit", "audit", "Audits: what an auditor takes away."),
    "seal": Command("seals", "seal", "Sign the head of a ledger's tree now; and the keys that sign."),
    "checkpoint": Command("seals", "checkpoint", "Checkpoints: what was signed."),
    "log": Command("seals", "log", "Logs: addresses at which others read a ledger's log without a key."),
    "witness": Command("witness", "witness", "Cosign checkpoints of logs, without a database."),
    "roles": Command("roles", "roles", "Roles: what each may do in PostgreSQL."),
    "terms": Command("terms", "terms", "Terms of programmes: time zone, expiry, what a point is worth."),
}


def main() -> None:
    """Run the command line. SIGTERM stops a command in order, as Ctrl-C does."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback while modules load
    signal.signal(signal.SIGTERM, _interrupt)
    command = command_for(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command(prog_name="loyalty")
    except Exception as error:
        sys.exit(_fail(error))


def command_for(arguments: Sequence[str]) -> Any:
    """Load the command named by the arguments. Without a command, return a table of all commands for the help page."""
    import typer

    from service.cli.terminal import help as help_pages

    app = typer.Typer(
        name="loyalty",
        help="An append-only ledger of loyalty events of several vendors, and what they come to.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    wanted = arguments[0] if arguments and arguments[0] in COMMANDS else None
    for name, entry in COMMANDS.items():
        if name == wanted:
            _add(app, name, entry)
        elif wanted is None:
            app.command(name, help=entry.summary)(_nothing)
    app.callback()(_nothing)  # makes a group even of a single command
    return help_pages.simplify_value_names(typer.main.get_command(app))


def _add(app: "typer.Typer", name: str, entry: Command) -> None:
    import typer

    loaded = getattr(importlib.import_module(f"service.cli.{entry.module}"), entry.name)
    if isinstance(loaded, typer.Typer):
        app.add_typer(loaded, name=name)
    else:
        app.command(name)(loaded)


def _nothing() -> None:
    pass


def _fail(error: Exception) -> int:
    """Print an error as one line, or the traceback of an unexpected one. Return the exit code."""
    from rich.text import Text

    from service.cli.terminal import errors
    from service.cli.terminal.console import ERR

    sentence = errors.describe_error(error)
    if sentence is None:
        sys.excepthook(type(error), error, error.__traceback__)
    else:
        ERR.print(Text.assemble(("error: ", "red"), " ".join(sentence.split())), soft_wrap=True)
    return errors.exit_code_for(error)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
