"""Attestations: digests of the projections, recorded in the ledger, so that a changed row can be noticed.

An attestation is an ordinary event under the next signed checkpoint. It holds:
- the digest of every table at a position;
- the sum of all postings;
- the version of the rules.

A replay of the events up to its position by the same rules must give equal digests.
"""

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

import ledger as ledger_package
import projections as projections_package
from ledger.database import Connection, connect
from ledger.decimals import format_decimal
from ledger.errors import LedgerError
from ledger.locks import GENERATION_FILLING
from ledger.privacy.vault import Vault
from ledger.store.read import event_at
from ledger.store.registry import Ledger
from ledger.vendors.internal import SOURCE
from projections.engine import generations, store
from projections.engine.digest import compute_digest, digested_tables
from projections.engine.promotion import drop_generation
from projections.engine.worker import catch_up
from projections.rebuild import RELEASE_FILLING_LOCK, TAKE_FILLING_LOCK
from projections.rebuild.pipeline import fill_generation
from service.operations.record import record_event

KIND = "attested"
LEDGER_RULE_PATHS = ("facts", "vendors", "intake", "parsing.py", "privacy/redaction.py")

# Every posting counts twice, in the class it leaves and in the class it enters. So a ledger's classes sum to zero.
TRIAL_BALANCE = """
    SELECT a.unit, p.class, sum(p.points) AS points
      FROM statement s
      JOIN accounts a ON a.ledger_id = $1 AND a.account_id = s.account_id
      CROSS JOIN LATERAL jsonb_array_elements(s.postings::jsonb) posting
      CROSS JOIN LATERAL (VALUES (posting->>0, -(posting->>2)::numeric), (posting->>1, (posting->>2)::numeric))
                         p (class, points)
     WHERE s.ledger_id = $1
     GROUP BY a.unit, p.class HAVING sum(p.points) <> 0 ORDER BY a.unit, p.class
"""
LATEST_POSITION = """
    SELECT position FROM ledger.events WHERE ledger_id = $1 AND source = $2 AND kind = $3 ORDER BY position DESC LIMIT 1
"""
HAS_EVENTS_SINCE = """
    SELECT EXISTS (SELECT FROM ledger.events WHERE ledger_id = $1 AND position > $2 AND position <= $3
                      AND NOT (source = $4 AND kind = $5))
"""
SET_CHECKPOINT = "INSERT INTO checkpoints (ledger_id, position) VALUES ($1, $2)"


class Attestation(NamedTuple):
    """Attested values, the position that they describe, and the position of the attestation itself."""

    position: int  # the projections' checkpoint
    event_position: int
    digests: Mapping[str, str]
    columns: Mapping[str, Sequence[str]]  # names of the cells in each digested row
    trial_balance: Mapping[str, Mapping[str, str]]
    rules: Mapping[str, Any]


class AttestationCheck(NamedTuple):
    """Result of comparing an attestation with the projections: the tables that differ. None if no comparison was
    possible; `why_not` has the reason.
    """

    attestation: Attestation
    differing: list[str] | None
    why_not: str | None = None


async def attest(connection: Connection, vault: Vault, ledger: Ledger) -> Attestation:
    """Bring the projections up to date and record their digests. Call it outside a transaction."""
    await generations.ensure_active_generation(connection)
    await catch_up(connection, ledger.ledger_id)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        values = await _summarize_tables(connection, ledger.ledger_id)
    event_position = await record_event(connection, vault, ledger, KIND, **values)
    return Attestation(event_position=event_position, **values)


async def _summarize_tables(connection: Connection, ledger_id: int) -> dict[str, Any]:
    """Return the digests and sums of the connection's generation now."""
    return {
        "position": await store.read_checkpoint(connection, ledger_id),
        "digests": (await compute_digest(connection, ledger_id, untimed=True)).tables,
        "columns": {table.name: list(table.columns) for table in digested_tables()},
        "trial_balance": await sum_postings(connection, ledger_id),
        "rules": {"projections": generations.projection_versions(), "code": hash_rule_code()},
    }


async def sum_postings(connection: Connection, ledger_id: int) -> dict[str, dict[str, str]]:
    """Sum all postings by unit and class. Classes with sum zero are left out."""
    sums: dict[str, dict[str, str]] = {}
    for unit, name, points in await connection.fetch(TRIAL_BALANCE, ledger_id):
        sums.setdefault(unit, {})[name] = format_decimal(Decimal(points))
    return sums


async def latest_attestation(connection: Connection, ledger_id: int, last: int) -> Attestation | None:
    """Read the latest attestation if it is not after position `last`; otherwise None."""
    event_position = await connection.fetchval(LATEST_POSITION, ledger_id, SOURCE, KIND)
    if event_position is None or event_position > last:
        return None
    values = msgspec.json.decode((await event_at(connection, ledger_id, event_position)).payload)
    return Attestation(
        values["position"],
        event_position,
        values["digests"],
        values.get("columns") or {},
        values["trial_balance"],
        dict(values.get("rules") or {}),
    )


async def compare_attestation(
    connection: Connection, dsn: str, ledger: Ledger, found: Attestation, *, replay: bool
) -> AttestationCheck:
    """Compare an attestation with the projections.

    Without `replay`, the current rows are compared, if no other event was recorded since. With `replay`, the rows are
    derived again as of the attested position. Rows of another version of the rules prove nothing and are not compared.
    """
    if found.rules.get("code") != hash_rule_code():
        return AttestationCheck(found, None, "it was made by another version of the rules")
    if replay:
        now = await _replay(connection, dsn, ledger, found.position)
    else:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            reached = await store.read_checkpoint(connection, ledger.ledger_id)
            since = (ledger.ledger_id, found.position, reached, SOURCE, KIND)
            if reached < found.position or await connection.fetchval(HAS_EVENTS_SINCE, *since):
                return AttestationCheck(found, None, "events were recorded since; use --replay to compare")
            now = await _summarize_tables(connection, ledger.ledger_id)
    differing = [name for name in now["digests"] if found.digests.get(name) != now["digests"][name]]
    if found.trial_balance != now["trial_balance"]:
        differing.append("trial balance")
    return AttestationCheck(found, differing)


async def _replay(connection: Connection, dsn: str, ledger: Ledger, position: int) -> dict[str, Any]:
    """Derive one ledger's projections as of a position, in a generation that is dropped afterwards."""
    async with connection.transaction():
        scope = {"ledgers": [ledger.name], "attested": position}  # no rebuild has this scope, so none resumes it
        made = await generations.create_generation(connection, scope=scope)
        await connection.fetchval(TAKE_FILLING_LOCK, GENERATION_FILLING, made.generation)
        async with generations.in_schema(connection, made.schema_name):
            await connection.execute(SET_CHECKPOINT, ledger.ledger_id, position)
    try:
        await fill_generation(dsn, made.schema_name, workers=1)
        derived = await connect(dsn, search_path=made.schema_name)
        try:
            return await _summarize_tables(derived, ledger.ledger_id)
        finally:
            await derived.close()
    finally:
        await connection.fetchval(RELEASE_FILLING_LOCK, GENERATION_FILLING, made.generation)
        await drop_generation(connection, made.generation)


@cache
def hash_rule_code() -> str:
    """Hash the source code that interprets events and folds facts. The hash is the version of the rules."""
    sha256 = hashlib.sha256()
    for package, names in ((ledger_package, LEDGER_RULE_PATHS), (projections_package, (".",))):
        root = Path(package.__file__ or "").parent
        if not root.is_dir():
            raise LedgerError("the source code of the rules cannot be read")
        for path in sorted(path for name in names for path in _files(root / name)):
            sha256.update(f"{path.relative_to(root.parent)}\n".encode() + path.read_bytes())
    return sha256.hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]
