"""Sign tree heads of a ledger, over everything appended so far: full tiles and the entries after them.

Before a head is signed, two earlier heads must be proven to be prefixes of this tree:

1. the last head that the signer keeps outside the database;
2. the last checkpoint in the database.

If one is not, the ledger was rewritten or is an old copy. Then nothing is signed until an operator confirms it by
`adopt`.

Invariant: of two heads signed under one origin, one always continues the other.
"""

import asyncio
import secrets
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from ledger.database import Connection
from ledger.errors import (
    HeadForgotten,
    HeadInconsistent,
    KeyWrong,
    NoteWrong,
    SignerUnknown,
    TreeChanged,
    Unavailable,
    Unsealable,
)
from ledger.locks import CHECKPOINTS
from ledger.merkle import TILE_WIDTH, Frontier, verify_consistency
from ledger.store import read
from ledger.store.registry import Ledger
from ledger.transparency import tiles
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.signed_notes import VerifierKey, read_note, verify
from ledger.transparency.signer import HeadMoved, Signer
from ledger.transparency.tree import seal_all

TRIES_MAX = 5

LOG = "SELECT log, origin FROM ledger.logs WHERE ledger_id = $1 ORDER BY log DESC LIMIT 1"
ADD_LOG = "INSERT INTO ledger.logs (ledger_id, log, origin) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
KEYS = "SELECT log, key, added_at FROM ledger.log_keys WHERE ledger_id = $1 ORDER BY log, added_at, key"
ADD_KEY = "INSERT INTO ledger.log_keys (ledger_id, log, key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
LATEST = """
    SELECT checkpoint, log, size, root, note, signed_at FROM ledger.checkpoints
     WHERE ledger_id = $1 ORDER BY checkpoint DESC LIMIT 1
"""
# The number and the time of the next checkpoint. `is_behind`: the last one has the same log and a larger tree.
NEXT_CHECKPOINT = """
    SELECT coalesce((SELECT max(checkpoint) FROM ledger.checkpoints WHERE ledger_id = $1), 0) + 1 AS checkpoint,
           greatest(clock_timestamp(),
                    (SELECT at FROM ledger.seal_problems WHERE ledger_id = $1 ORDER BY problem DESC LIMIT 1),
                    (SELECT signed_at FROM ledger.checkpoints WHERE ledger_id = $1 ORDER BY checkpoint DESC LIMIT 1),
                    (SELECT recorded_at FROM ledger.events WHERE ledger_id = $1 AND position = $3)) AS signed_at,
           coalesce((SELECT log = $2 AND size > $3 FROM ledger.checkpoints
                      WHERE ledger_id = $1 ORDER BY checkpoint DESC LIMIT 1), false) AS is_behind
"""
ADD_CHECKPOINT = """
    INSERT INTO ledger.checkpoints (ledger_id, checkpoint, log, size, root, note, signed_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING checkpoint, log, size, root, note, signed_at
"""
# The database's clock may be set back, but these times never go backwards. Their order shows whether a problem or a
# checkpoint came last.
LOCK = "SELECT pg_advisory_xact_lock($1, $2)"
PROBLEM = """
    SELECT kind, detail, at FROM ledger.seal_problems p WHERE ledger_id = $1
       AND at > coalesce((SELECT signed_at FROM ledger.checkpoints WHERE ledger_id = $1
                           ORDER BY checkpoint DESC LIMIT 1), '-infinity')
     ORDER BY problem DESC LIMIT 1
"""
NEXT_PROBLEM = """
    SELECT coalesce((SELECT max(problem) FROM ledger.seal_problems WHERE ledger_id = $1), 0) + 1,
           greatest(clock_timestamp(), (SELECT signed_at + interval '1 microsecond' FROM ledger.checkpoints
                                         WHERE ledger_id = $1 ORDER BY checkpoint DESC LIMIT 1))
"""
ADD_PROBLEM = "INSERT INTO ledger.seal_problems (ledger_id, problem, at, kind, detail) VALUES ($1, $2, $3, $4, $5)"
AGE_SECONDS = "SELECT extract(epoch FROM clock_timestamp() - $1::timestamptz)::float8"


class Log(NamedTuple):
    """The name of a ledger outside this software. `log` counts from 1; a new one begins if the old one has to end."""

    log: int
    origin: str


class LogKey(NamedTuple):
    """A key that signs a log, or signed it."""

    log: int
    key: VerifierKey
    added_at: datetime


class SignedCheckpoint(NamedTuple):
    """A checkpoint as it is stored."""

    checkpoint: int
    log: int
    size: int
    root: bytes
    note: bytes
    signed_at: datetime


class SealProblem(NamedTuple):
    """The reason why nothing is signed. `kind` is the class of the error."""

    kind: str
    detail: str
    at: datetime


async def sign_head(
    connection: Connection, signer: Signer, ledger: Ledger, *, adopt: bool = False, frontier: Frontier | None = None
) -> SignedCheckpoint:
    """Seal all of a ledger, and sign a checkpoint over it.

    With `adopt` it is signed whatever was signed before. If the ledger does not continue the last head, a new log with
    another origin begins.

    Raises Unsealable if signing is not allowed, KeyWrong for a malformed key, Unavailable if other signers keep
    signing.
    """
    for _ in range(TRIES_MAX):
        try:
            return await _sign_head(connection, signer, ledger, adopt, frontier)
        except HeadMoved:
            continue
    raise Unavailable("other processes sign this ledger all the time")


async def _sign_head(
    connection: Connection, signer: Signer, ledger: Ledger, adopt: bool, frontier: Frontier | None
) -> SignedCheckpoint:
    ledger_id = ledger.ledger_id
    frontier = await seal_all(connection, ledger_id, frontier)
    size = min(await read.tail(connection, ledger_id), frontier.size + TILE_WIDTH - 1)
    log = await find_or_create_log(connection, signer, ledger)
    last_head = signer.last_head(ledger.name)
    try:
        await _check_continued(connection, ledger_id, log, size, last_head, may_be_forgotten=adopt)
    except HeadInconsistent:
        if not adopt:
            raise
        log = await _begin_log(connection, signer, ledger, log)
        last_head = None
    await _check_keys(connection, signer, ledger_id, log, adopt=adopt)
    leaves = await read.leaf_hashes(connection, ledger_id, frontier.size, size)
    root = await tiles.compute_root(connection, ledger_id, size)
    complete = Frontier(frontier.rows())
    for _ in complete.extend(leaves):
        raise AssertionError("the rest does not fill a tile")
    if complete.root() != root:
        raise TreeChanged("the tiles were changed while they were read")
    head = Checkpoint(log.origin, size, root)
    note = await asyncio.to_thread(signer.sign, ledger.name, head, after=last_head)
    async with connection.transaction():
        await connection.execute(LOCK, CHECKPOINTS, ledger_id)
        await _check_keys(connection, signer, ledger_id, log, adopt=adopt)  # another may have begun
        for key in signer.keys(log.origin):
            await connection.execute(ADD_KEY, ledger_id, log.log, key.public.write())
        following = await connection.fetchrow(NEXT_CHECKPOINT, ledger_id, log.log, size)
        assert following is not None
        if following["is_behind"]:  # another signed a larger tree first
            row = await connection.fetchrow(LATEST, ledger_id)
        else:
            values = (following["checkpoint"], log.log, size, root, note, following["signed_at"])
            row = await connection.fetchrow(ADD_CHECKPOINT, ledger_id, *values)
    assert row is not None
    return SignedCheckpoint(*row)


async def _check_continued(
    connection: Connection, ledger_id: int, log: Log, size: int, last_head: bytes | None, *, may_be_forgotten: bool
) -> None:
    """Check that the tree over `size` events continues the signer's last head and the last checkpoint in the database.

    Another signer may have signed the latter. Raises HeadInconsistent if it does not, and HeadForgotten if the signer
    has no head, unless `may_be_forgotten`.
    """
    latest = await latest_checkpoint(connection, ledger_id)
    if latest is not None and latest.log != log.log:
        latest = None
    if last_head is None and latest is not None and not may_be_forgotten:
        raise HeadForgotten(f"checkpoint {latest.checkpoint}, of size {latest.size}")
    if latest is not None:
        keys = [log_key.key for log_key in await log_keys(connection, ledger_id) if log_key.log == log.log]
        try:
            note = read_note(latest.note)
            verify(note, keys)
            head = Checkpoint.read(note.text)
        except NoteWrong as error:
            raise HeadInconsistent(f"checkpoint {latest.checkpoint} was changed: {error}") from None
        if head != (log.origin, latest.size, latest.root):
            raise HeadInconsistent(f"checkpoint {latest.checkpoint} was changed")
        await _check_prefix(connection, ledger_id, head, size)
    if last_head is not None:
        head = Checkpoint.read(read_note(last_head).text)
        if head.origin != log.origin:
            raise HeadInconsistent(f"the last head was signed for {head.origin}, and the log is {log.origin}")
        await _check_prefix(connection, ledger_id, head, size)


async def _check_prefix(connection: Connection, ledger_id: int, head: Checkpoint, size: int) -> None:
    if size < head.size:
        raise HeadInconsistent(f"it has {size} events, and a head of {head.size} was signed")
    proof = await tiles.prove_consistency(connection, ledger_id, head.size, size)
    root = await tiles.compute_root(connection, ledger_id, size)
    if not verify_consistency(head.size, size, head.root, root, proof):
        raise HeadInconsistent(f"its first {head.size} events differ from the signed ones")


async def _check_keys(connection: Connection, signer: Signer, ledger_id: int, log: Log, *, adopt: bool) -> None:
    """Check that one of the signer's keys has signed this log before, or that the log is new. Generate a first key if
    needed.

    Raises SignerUnknown.
    """
    known = {log_key.key for log_key in await log_keys(connection, ledger_id) if log_key.log == log.log}
    if not known or adopt:
        signer.ensure_key()
    elif not known & {key.public for key in signer.keys(log.origin)}:
        raise SignerUnknown(", ".join(sorted(key.key_id.hex() for key in known)))


async def find_or_create_log(connection: Connection, signer: Signer, ledger: Ledger) -> Log:
    """Return the log of a ledger. It is named on first use.

    A ledger that was moved into another database keeps the origin of the signer's last head.
    """
    row = await connection.fetchrow(LOG, ledger.ledger_id)
    if row is None:
        # Without a site the name is random, so that two installations are never taken for one log.
        site = signer.site or f"loyalty.local/{secrets.token_hex(4)}"
        last_head = signer.last_head(ledger.name)
        origin = f"{site}/{ledger.name}" if last_head is None else read_note(last_head).text.split("\n", 1)[0]
        await connection.execute(ADD_LOG, ledger.ledger_id, 1, origin)
        row = await connection.fetchrow(LOG, ledger.ledger_id)
    assert row is not None
    return Log(*row)


async def _begin_log(connection: Connection, signer: Signer, ledger: Ledger, old: Log) -> Log:
    """End a log and begin another. So heads of the old log are never continued by other content."""
    signer.set_aside_head(ledger.name)
    number = old.log + 1
    base = old.origin.removesuffix(f"/{old.log}")
    await connection.execute(ADD_LOG, ledger.ledger_id, number, f"{base}/{number}")
    return Log(number, f"{base}/{number}")


async def latest_checkpoint(connection: Connection, ledger_id: int) -> SignedCheckpoint | None:
    """Return the newest checkpoint; None before the first."""
    row = await connection.fetchrow(LATEST, ledger_id)
    return None if row is None else SignedCheckpoint(*row)


async def log_keys(connection: Connection, ledger_id: int) -> list[LogKey]:
    """List every key that ever signed the ledger's logs, oldest first.

    Malformed keys verify nothing and are left out; `loyalty verify` reports them.
    """
    keys = []
    for row in await connection.fetch(KEYS, ledger_id):
        with suppress(KeyWrong):
            keys.append(LogKey(row["log"], VerifierKey.read(row["key"]), row["added_at"]))
    return keys


async def checkpoint_age_seconds(connection: Connection, signed: SignedCheckpoint) -> float:
    """Return the age of a checkpoint by the database's clock, which also set its time."""
    age: float = await connection.fetchval(AGE_SECONDS, signed.signed_at)
    return age


async def pending_keys(connection: Connection, signer: Signer, ledger: Ledger) -> list[VerifierKey]:
    """List the signer's keys that will sign the ledger's log for the first time with the next checkpoint."""
    row = await connection.fetchrow(LOG, ledger.ledger_id)
    if row is None:
        return []
    log = Log(*row)
    known = {log_key.key for log_key in await log_keys(connection, ledger.ledger_id) if log_key.log == log.log}
    return [key.public for key in signer.keys(log.origin) if key.public not in known]


def signing_keys_of(signed: SignedCheckpoint) -> set[tuple[str, bytes]]:
    """Return the name and id of each key in the signatures of a checkpoint. Nothing is verified."""
    return {(signature.name, signature.key_id) for signature in read_note(signed.note).signatures}


async def current_seal_problem(connection: Connection, ledger_id: int) -> SealProblem | None:
    """Return the reason why nothing was signed; None if a checkpoint was signed since."""
    row = await connection.fetchrow(PROBLEM, ledger_id)
    return None if row is None else SealProblem(*row)


async def record_seal_problem(connection: Connection, ledger_id: int, error: Unsealable) -> None:
    """Record why nothing was signed, unless the last record is the same."""
    kind, detail = type(error).__name__, str(error)
    async with connection.transaction():
        await connection.execute(LOCK, CHECKPOINTS, ledger_id)
        known = await current_seal_problem(connection, ledger_id)
        if known is None or (known.kind, known.detail) != (kind, detail):
            following = await connection.fetchrow(NEXT_PROBLEM, ledger_id)
            assert following is not None
            await connection.execute(ADD_PROBLEM, ledger_id, *following, kind, detail)
