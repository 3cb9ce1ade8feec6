"""Entry point of `loyalty`: the table of commands, and the one place that prints errors.

Only the module of the called command is imported. So `loyalty --help` and short commands start quickly. Exit codes are
in terminal/exit_codes.py.
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
    "serve": Command("serve", "serve", "Receive webhooks and answer queries until SIGTERM or Ctrl-C."),
    "project": Command("serve", "project", "Keep the projections up to date, beside `loyalty serve --no-project`."),
    "dispatch": Command("serve", "dispatch", "Send outgoing webhooks, in a process apart from `loyalty serve`."),
    "endpoint": Command("outgoing.endpoints", "endpoints", "Endpoints: receivers of a ledger's outgoing webhooks."),
    "backup": Command("backup", "back_up", "Back up the embedded database while it runs."),
    "restore": Command("backup", "restore", "Restore a backup of the embedded database into a new data folder."),
    "migrate": Command("serve", "migrate", "Migrate the ledger's schema to this version."),
    "spread": Command("serve", "spread", "Distribute the ledgers over the servers of a PostgreSQL with Citus."),
    "doctor": Command("doctor", "doctor", "Examine the installation, and name the remedy of each problem."),
    "ledger": Command("ledgers", "ledgers", "Ledgers: a log for each tenant."),
    "connection": Command("connections", "connections", "Connections: the webhooks that feed a ledger."),
    "send": Command("deliveries", "send_files", "Deliver files to a running service, signed as the vendor signs them."),
    "tail": Command("deliveries", "follow_events", "Print the events of a ledger as they are stored."),
    "key": Command("ledgers", "keys", "API keys: credentials for a ledger's HTTP API."),
    "import": Command("import_file", "import_file", "Append the deliveries of a file, or restore an exported ledger."),
    "export": Command("export", "export_ledger", "Export a ledger as lines of JSON, to restore it elsewhere."),
    "move": Command("export", "move", "Move a ledger to another installation while it takes deliveries."),
    "report": Command("reporting.reports", "reports", "Report views for SQL tools, and the roles that read them."),
    "rebuild": Command(
        "projections.rebuild", "rebuild_projections", "Rebuild all projections, compare them, and promote them."
    ),
    "generations": Command("projections.generations", "list_generations", "List the generations of the projections."),
    "promote": Command("projections.generations", "promote_generation", "Make a ready generation the active one."),
    "rollback": Command("projections.generations", "roll_back", "Make the previous generation active again."),
    "drop": Command("projections.generations", "drop_generation", "Remove a generation that is not active."),
    "events": Command("projections.rebuild_checks", "events", "Events: check that this version reads them."),
    "parked": Command("parked", "parked", "Parked subjects: those with a fact that cannot be folded."),
    "digest": Command("audit", "show_digest", "Print a hash of all projected rows, without positions."),
    "reconcile": Command("reconcile", "reconcile", "List open matters, or compare a statement with the ledger."),
    "adjust": Command("changes.adjust", "adjust_account", "Adjust a balance, or reverse an adjustment."),
    "explain": Command("explain", "explain", "Explain a balance, a lot, a tier or a coupon, step by step."),
    "trial-balance": Command("finance", "show_trial_balance", "Sum every class of all accounts."),
    "liability": Command("finance", "show_liability", "Roll the outstanding points forward, by vintage."),
    "breakage": Command("reporting.breakage", "show_breakage", "Forecast the points that will lapse unused."),
    "close": Command("finance", "close", "Close a month."),
    "reopen": Command("finance", "reopen", "Reopen the last closed month."),
    "periods": Command("finance", "list_periods", "List the months that are or were closed."),
    "period": Command("finance", "periods", "Periods: one month, its figures, and its late reports."),
    "vendors": Command("vendors", "show_vendors", "List every supported kind of event."),
    "erase": Command(
        "changes.customers", "erase_customer", "Erase a customer: destroy the keys of their personal data."
    ),
    "access-file": Command(
        "customer_file", "write_access_file", "Write everything about one person, for a GDPR request."
    ),
    "unmerge": Command("changes.customers", "unmerge_customer", "Undo the merge of a customer into another."),
    "policy": Command(
        "changes.policies", "policies", "Policies for conflicts: which of several events with one key is folded."
    ),
    "verify": Command("audit", "verify_ledgers", "Verify ledgers against checkpoints, or rows against facts."),
    "attest": Command("audit", "attest_ledger", "Record a digest of the projections in the ledger."),
    "audit": Command("audit", "audit", "Files for auditors."),
    "seal": Command("seals", "seal", "Sign a checkpoint of a ledger now; manage signing keys."),
    "checkpoint": Command("seals", "checkpoint", "Show the newest checkpoint of a ledger."),
    "log": Command("seals", "log", "Published logs: addresses to read a ledger's log without a key."),
    "witness": Command("witness", "witness", "Run a witness, which cosigns checkpoints, without a database."),
    "roles": Command("roles", "roles", "PostgreSQL roles and their rights."),
    "terms": Command("changes.terms", "terms", "Terms of programmes: time zone, expiry, value of a point."),
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
        help="An append-only ledger of loyalty events from several vendors, and the balances derived from them.",
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
