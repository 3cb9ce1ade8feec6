"""loyalty verify, attest, digest, audit bundle: checks of a ledger, and the file for an auditor."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.privacy.vault import Vault
from ledger.store import registry
from ledger.transparency.kept_checkpoints import read_kept_checkpoints
from projections.engine import generations
from projections.engine.digest import compute_digest
from projections.engine.worker import catch_up
from service.audit.attestation import Attestation, attest
from service.audit.bundle import BundleFile, BundleScope, write_bundle
from service.audit.verify_ledger import Finding, verify_ledger
from service.cli.ledgers import choose_ledgers
from service.cli.projections.rebuild_checks import verify_projections
from service.cli.terminal.console import (
    OUT,
    DataOption,
    JsonOption,
    LedgerOption,
    show,
    show_json,
    show_note,
    show_table,
)
from service.cli.terminal.exit_codes import FINDINGS
from service.environment import Environment, run_with_connection

audit = typer.Typer(help="Files for auditors.", no_args_is_help=True)

OlderOption = Annotated[
    Path | None,
    typer.Option(
        "--older",
        help="A checkpoint that was kept: a note, an e-mail or an anchor's file.",
        exists=True,
        dir_okay=False,
    ),
]


def verify_ledgers(
    ledger: Annotated[str | None, typer.Option("--ledger", help="Verify this ledger only.")] = None,
    older: OlderOption = None,
    replay: Annotated[
        bool, typer.Option(help="Derive the tables of the last attestation again from the events, and compare.")
    ] = False,
    projections: Annotated[bool, typer.Option("--projections", help="Check rows and facts instead.")] = False,
    sample: Annotated[
        int | None, typer.Option(min=1, help="With --projections: number of subjects of each kind, and of events.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="With --projections: check every subject and event.")
    ] = False,
    seed: Annotated[int, typer.Option(help="With --projections: seed of the sample.")] = 0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify ledgers against signed checkpoints, hashes and attestations; with --projections, rows against facts and
    events.

    Changes nothing. Ends with 1 if a check fails.
    """
    if projections:
        verify_projections(sample=sample, everything=everything, seed=seed, ledger=ledger, data=data, as_json=as_json)
        return
    if older is not None and ledger is None:
        raise typer.BadParameter("--ledger is required with --older", param_hint="--ledger")

    async def work(environment: Environment, connection: Connection) -> dict[str, list[Finding]]:
        await generations.ensure_active_generation(connection)
        kept = None if older is None else older.read_bytes()
        chosen = await choose_ledgers(connection, ledger)
        return {
            chosen_ledger.name: await verify_ledger(
                connection,
                environment.dsn,
                chosen_ledger,
                environment.signer,
                master_key=environment.master_key,
                older=kept,
                replay=replay,
            )
            for chosen_ledger in chosen
        }

    found = run_with_connection(data, work)
    verified = all(finding.holds for findings in found.values() for finding in findings)
    if as_json:
        ledgers = {name: [finding._asdict() for finding in findings] for name, findings in found.items()}
        show_json({"verified": verified, "ledgers": ledgers})
    else:
        for name, findings in found.items():
            show(f"{name}:")
            for finding in findings:
                mark = ("  ok    ", "green") if finding.holds else ("  WRONG ", "bold red")
                OUT.print(Text.assemble(mark, f"{finding.check}: {finding.detail}"), soft_wrap=True)
    if not verified:
        raise typer.Exit(FINDINGS)


def attest_ledger(ledger: LedgerOption, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Record a digest of every projection table, the sum of all postings and the version of the rules in the ledger."""

    async def work(environment: Environment, connection: Connection) -> Attestation:
        chosen = await registry.find_ledger(connection, ledger)
        return await attest(connection, Vault(environment.master_key), chosen)

    attested = run_with_connection(data, work)
    if as_json:
        show_json(attested._asdict())
    else:
        show(
            f"Attested {len(attested.digests)} tables as of position {attested.position}, at {attested.event_position}."
        )


def show_digest(
    ledger: Annotated[str | None, typer.Option(help="Show this ledger only.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a hash of all projected rows without their positions. Equal histories give equal digests."""

    async def work(_environment: Environment, connection: Connection) -> dict[str, dict[str, Any]]:
        await generations.ensure_active_generation(connection)
        chosen = await choose_ledgers(connection, ledger)
        return {
            chosen_ledger.name: {
                "position": await catch_up(connection, chosen_ledger.ledger_id),
                **(await compute_digest(connection, chosen_ledger.ledger_id))._asdict(),
            }
            for chosen_ledger in chosen
        }

    found = run_with_connection(data, work)
    if as_json:
        show_json(found if ledger is None else {"ledger": ledger, **found[ledger]})
    else:
        columns = ("position", "digest", "untimed_left_out")
        show_table(
            ("ledger", *columns),
            ((name, *(chosen_ledger[key] for key in columns)) for name, chosen_ledger in found.items()),
        )


@audit.command("bundle")
def make_bundle(
    ledger: LedgerOption,
    output: Annotated[Path, typer.Option("--output", help="The file to write.", dir_okay=False, show_default=False)],
    customer: Annotated[
        str | None, typer.Option("--customer", help="Include only this customer, source:org:id.")
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(
            "--first-position", min=1, help="Include only events from this position on, with --last-position."
        ),
    ] = None,
    last: Annotated[
        int | None, typer.Option("--last-position", min=1, help="Include only events up to this position.")
    ] = None,
    older: OlderOption = None,
    attested: Annotated[bool, typer.Option("--attest", help="Record an attestation first.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write everything that an auditor needs into one file, and sign a checkpoint. `loyalty-verify` checks the file
    offline.

    With --customer, or with --first-position and --last-position, the file holds a part of the ledger. Each event then
    has a proof. --older takes a checkpoint that the auditor kept. It adds the proof that no earlier event was changed.
    The file holds no personal data.
    """
    if (first is None) != (last is None) or (customer is not None and first is not None):
        raise typer.BadParameter("give --customer, or both --first-position and --last-position, not a mixture")
    scope = BundleScope(customer, None if first is None or last is None else (first, last))

    async def work(environment: Environment, connection: Connection) -> BundleFile:
        await generations.ensure_active_generation(connection)
        chosen = await registry.find_ledger(connection, ledger)
        checkpoints = None if older is None else read_kept_checkpoints(older.read_bytes())
        if attested:
            await attest(connection, Vault(environment.master_key), chosen)
        part_file = output.with_name(f"{output.name}.part")  # an interrupted write never looks like a bundle
        try:
            with part_file.open("xb") as file:
                written = await write_bundle(environment.dsn, environment.signer, chosen, file, scope, checkpoints)
                file.flush()
                os.fsync(file.fileno())
            part_file.replace(output)
        except FileExistsError:
            raise RequestInvalid(
                f"{part_file} exists: another command is writing it, or was interrupted. Remove it to try again"
            ) from None
        except BaseException:
            part_file.unlink(missing_ok=True)
            raise
        return written

    written = run_with_connection(data, work)
    report: dict[str, Any] = {"file": str(output), "bytes": output.stat().st_size, **written._asdict()}
    if as_json:
        show_json(report)
    else:
        show(f"Wrote {output}: {written.events:,} events of a tree of {written.size:,}, {report['bytes']:,} bytes.")
        show_note("Check it with `loyalty-verify` on any machine: see verify/README.md.")
