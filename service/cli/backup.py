"""loyalty backup, restore: physical copies of the embedded database, without its keys."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer

import migrations
from ledger import clock
from ledger.database import Connection
from ledger.errors import BackupWrong, MasterKeyWrong, NoteWrong, SetupWrong
from ledger.store import registry
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.signed_notes import read_note
from ledger.transparency.signer import Signer
from service.cli.terminal.console import DataOption, JsonOption, show_json, show_note, show_result, show_table
from service.cli.terminal.exit_codes import FINDINGS
from service.embedded import backup
from service.environment import Environment, load_settings, open_environment, run_with_connection
from service.settings import Settings

TAIL = """
    SELECT position, recorded_at FROM ledger.events WHERE ledger_id = $1 ORDER BY position DESC LIMIT 1
"""


class LedgerEnd(msgspec.Struct, frozen=True):
    """The last event of a ledger: its position, and when it was recorded (None for an empty ledger)."""

    ledger: str
    position: int
    recorded_at: datetime | None


class BackupDescription(msgspec.Struct, frozen=True):
    """The content of backup.json. The backup holds at least the events up to the ends of its ledgers."""

    taken_at: datetime
    schema: str
    ledgers: list[LedgerEnd]


class RestoredEnd(NamedTuple):
    """The end of a restored ledger, and the number of later events that the signer has signed."""

    ledger: str
    position: int
    recorded_at: datetime | None
    signed_later: int


def back_up(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.", show_default=False)],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back up the embedded database, also while a service runs on it. The backup is verified.

    It holds neither the master key nor the signer's folder: keep copies of both elsewhere. See docs/backup.md.
    """
    settings = _embedded_settings(data)

    async def work(_environment: Environment, connection: Connection) -> BackupDescription:
        return BackupDescription(clock.now(), migrations.head(), await read_ends(connection))

    with open_environment(settings):
        description = run_with_connection(settings.data, work)
        backup.back_up(settings.data, folder, msgspec.json.encode(description))
    document = {"backup": str(folder), "taken_at": description.taken_at, "ledgers": _rows(description.ledgers)}
    show_result(document, f"Backed up to {folder}, and verified.", as_json=as_json)


def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that `loyalty backup` made.", show_default=False)],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into a data folder without a database, and list the ends of its ledgers.

    The master key must be there already. The signer's folder is never restored: it shows if signed events are missing.
    Ends with 1 if some are.
    """
    settings = _embedded_settings(data)
    taken_at = read_description(folder).taken_at
    if settings.master_key is None and not (settings.data / "master.key").exists():
        raise MasterKeyWrong(f"put the key of the backed-up ledgers into {settings.data / 'master.key'} first")
    backup.restore_backup(folder, settings.data)

    async def work(environment: Environment, connection: Connection) -> list[RestoredEnd]:
        return [compare_with_signer(end, environment.signer) for end in await read_ends(connection)]

    ends = run_with_connection(settings.data, work)
    if as_json:
        show_json({"backup": str(folder), "taken_at": taken_at, "ledgers": _rows(ends)})
    else:
        show_table(RestoredEnd._fields, ends)
        show_note(f"Later events than these are not in the backup of {taken_at:%Y-%m-%d %H:%M:%S} UTC.")
    if any(end.signed_later for end in ends):
        show_note("Signed events are missing, so nothing is signed until `loyalty seal --adopt`. See docs/backup.md.")
        raise typer.Exit(FINDINGS)


def read_description(folder: Path) -> BackupDescription:
    """Read the description of a backup. Raises BackupFailed or BackupWrong."""
    try:
        return msgspec.json.decode(backup.read_description(folder), type=BackupDescription)
    except msgspec.DecodeError:
        raise BackupWrong(f"{folder / backup.DESCRIPTION_FILE} cannot be read") from None


async def read_ends(connection: Connection) -> list[LedgerEnd]:
    """Return the last event of each ledger."""
    ends = []
    for ledger in await registry.list_ledgers(connection):
        last = await connection.fetchrow(TAIL, ledger.ledger_id)
        ends.append(LedgerEnd(ledger.name, *(last or (0, None))))
    return ends


def compare_with_signer(end: LedgerEnd, signer: Signer) -> RestoredEnd:
    """Compare a restored ledger with the last head that the signer remembers of it."""
    remembered = signer.last_head(end.ledger)
    try:
        signed = 0 if remembered is None else Checkpoint.read(read_note(remembered).text).size
    except NoteWrong:
        signed = 0
    return RestoredEnd(end.ledger, end.position, end.recorded_at, max(0, signed - end.position))


def _embedded_settings(data: Path | None) -> Settings:
    settings = load_settings(data)
    if settings.database_url:
        raise SetupWrong("only the embedded database is backed up by this command; see docs/backup.md for others")
    return settings


def _rows(ends: list[LedgerEnd] | list[RestoredEnd]) -> list[dict[str, object]]:
    return [end._asdict() if isinstance(end, RestoredEnd) else msgspec.structs.asdict(end) for end in ends]
