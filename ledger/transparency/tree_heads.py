"""Heads of a ledger's tree: signed over everything appended so far, full tiles and the rest.

Before a head is signed, the one that the signer remembers, which is not in the database, must be the beginning of this
very tree, shown by a consistency proof; so must be the last one in the database. Otherwise the ledger has been
rewritten or is an old copy, and nothing is signed until a person says so by `adopt`.

Invariant: no two heads are ever signed under one origin of which one does not continue the other.
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
ADD_CHECKPOINT = """
    INSERT INTO ledger.checkpoints (ledger_id, checkpoint, log, size, root, note, signed_at)
    SELECT $1, coalesce((SELECT max(checkpoint) FROM ledger.checkpoints WHERE ledger_id = $1), 0) + 1, $2, $3, $4, $5,
           greatest(clock_timestamp(),
                    (SELECT at FROM ledger.seal_problems WHERE ledger_id = $1 ORDER BY problem DESC LIMIT 1),
                    (SELECT signed_at FROM ledger.checkpoints WHERE ledger_id = $1 ORDER BY checkpoint DESC LIMIT 1),
                    (SELECT recorded_at FROM ledger.events WHERE ledger_id = $1 AND position = $3))
     WHERE NOT EXISTS (SELECT FROM (SELECT log, size FROM ledger.checkpoints
                                     WHERE ledger_id = $1 ORDER BY checkpoint DESC LIMIT 1) last
                        WHERE last.log = $2 AND last.size > $3)
    RETURNING checkpoint, log, size, root, note, signed_at
"""
# The database's clock may be set back, times here never are: they tell whether a problem or a checkpoint came last.
LOCK = "SELECT pg_advisory_xact_lock($1, $2)"
PROBLEM = """
    SELECT kind, detail, at FROM ledger.seal_problems p WHERE ledger_id = $1
       AND at > coalesce((SELECT signed_at FROM ledger.checkpoints WHERE ledger_id = $1
                           ORDER BY checkpoint DESC LIMIT 1), '-infinity')
     ORDER BY problem DESC LIMIT 1
"""
ADD_PROBLEM = """
    INSERT INTO ledger.seal_problems (ledger_id, problem, kind, detail, at)
    SELECT $1, coalesce(max(problem), 0) + 1, $2, $3,
           greatest(clock_timestamp(), (SELECT signed_at + interval '1 microsecond' FROM ledger.checkpoints
                                         WHERE ledger_id = $1 ORDER BY checkpoint DESC LIMIT 1))
      FROM ledger.seal_problems WHERE ledger_id = $1
"""
AGE_SECONDS = "SELECT extract(epoch FROM clock_timestamp() - $1::timestamptz)::float8"


class Log(NamedTuple):
    """As which log a ledger is known outside. `log` counts from 1: a further one begins where one is given up."""

    log: int
    origin: str


class LogKey(NamedTuple):
    """A key that signs or signed for a log."""

    log: int
    key: VerifierKey
    added_at: datetime


class SignedCheckpoint(NamedTuple):
    """A checkpoint as it is kept."""

    checkpoint: int
    log: int
    size: int
    root: bytes
    note: bytes
    signed_at: datetime


class SealProblem(NamedTuple):
    """Why nothing is signed."""

    kind: str
    detail: str
    at: datetime


async def sign_head(
    connection: Connection, signer: Signer, ledger: Ledger, *, adopt: bool = False, frontier: Frontier | None = None
) -> SignedCheckpoint:
    """Seal all of a ledger, and sign a checkpoint over it, at once. With `adopt`, over what is there, whatever was
    signed before: where that is not continued, a new log begins, under another origin.

    Raises Unsealable if there is no signing over it, KeyWrong, or Unavailable if others sign all the time.
    """
    for _ in range(TRIES_MAX):
        try:
            return await _sign_head(connection, signer, ledger, adopt, frontier)
        except HeadMoved:
            continue
    raise Unavailable("others sign this ledger all the time")


async def _sign_head(
    connection: Connection, signer: Signer, ledger: Ledger, adopt: bool, frontier: Frontier | None
) -> SignedCheckpoint:
    ledger_id = ledger.ledger_id
    frontier = await seal_all(connection, ledger_id, frontier)
    size = min(await read.tail(connection, ledger_id), frontier.size + TILE_WIDTH - 1)
    log = await find_or_create_log(connection, signer, ledger)
    remembered = signer.remembered(ledger.name)
    try:
        await _check_continued(connection, ledger_id, log, size, remembered, forgotten=adopt)
    except HeadInconsistent:
        if not adopt:
            raise
        log = await _begin_log(connection, signer, ledger, log)
        remembered = None
    await _check_keys(connection, signer, ledger_id, log, adopt=adopt)
    rest = await read.leaf_hashes(connection, ledger_id, frontier.size, size)
    root = await tiles.compute_root(connection, ledger_id, size)
    whole = Frontier(frontier.rows())
    for _ in whole.extend(rest):
        raise AssertionError("the rest does not fill a tile")
    if whole.root() != root:
        raise TreeChanged("the tiles were changed while they were read")
    head = Checkpoint(log.origin, size, root)
    note = await asyncio.to_thread(signer.sign, ledger.name, head, after=remembered)
    async with connection.transaction():
        await connection.execute(LOCK, CHECKPOINTS, ledger_id)
        await _check_keys(connection, signer, ledger_id, log, adopt=adopt)  # another signer may have begun meanwhile
        for key in signer.keys(log.origin):
            await connection.execute(ADD_KEY, ledger_id, log.log, key.public.write())
        row = await connection.fetchrow(ADD_CHECKPOINT, ledger_id, log.log, size, root, note)
        row = row or await connection.fetchrow(LATEST, ledger_id)  # another signer was quicker, and has signed more
    assert row is not None
    return SignedCheckpoint(*row)


async def _check_continued(
    connection: Connection, ledger_id: int, log: Log, size: int, remembered: bytes | None, *, forgotten: bool
) -> None:
    """See that the tree over `size` events continues the last head that was signed here, and the last one kept in the
    database, which another signer may have signed.

    Raises HeadInconsistent, or HeadForgotten unless that is allowed.
    """
    latest = await latest_checkpoint(connection, ledger_id)
    if latest is not None and latest.log != log.log:
        latest = None
    if remembered is None and latest is not None and not forgotten:
        raise HeadForgotten(f"checkpoint {latest.checkpoint}, of size {latest.size}")
    if latest is not None:
        keys = [one.key for one in await log_keys(connection, ledger_id) if one.log == log.log]
        try:
            note = read_note(latest.note)
            verify(note, keys)
            head = Checkpoint.read(note.text)
        except NoteWrong as error:
            raise HeadInconsistent(f"checkpoint {latest.checkpoint} was changed: {error}") from None
        if head != (log.origin, latest.size, latest.root):
            raise HeadInconsistent(f"checkpoint {latest.checkpoint} was changed")
        await _check_prefix(connection, ledger_id, head, size)
    if remembered is not None:
        head = Checkpoint.read(read_note(remembered).text)
        if head.origin != log.origin:
            raise HeadInconsistent(f"the last head was signed for {head.origin}, and the log is {log.origin}")
        await _check_prefix(connection, ledger_id, head, size)


async def _check_prefix(connection: Connection, ledger_id: int, head: Checkpoint, size: int) -> None:
    if size < head.size:
        raise HeadInconsistent(f"it has {size} events, and a head of {head.size} was signed")
    proof = await tiles.prove_consistency(connection, ledger_id, head.size, size)
    root = await tiles.compute_root(connection, ledger_id, size)
    if not verify_consistency(head.size, size, head.root, root, proof):
        raise HeadInconsistent(f"its first {head.size} events are not those that were signed")


async def _check_keys(connection: Connection, signer: Signer, ledger_id: int, log: Log, *, adopt: bool) -> None:
    """See that one of our keys has signed for this log before, or that it is new; then a key is made if there is none.

    Raises SignerUnknown.
    """
    known = {one.key for one in await log_keys(connection, ledger_id) if one.log == log.log}
    if not known or adopt:
        signer.first_key()
    elif not known & {key.public for key in signer.keys(log.origin)}:
        raise SignerUnknown(", ".join(sorted(key.key_id.hex() for key in known)))


async def find_or_create_log(connection: Connection, signer: Signer, ledger: Ledger) -> Log:
    """Give the log that a ledger is; named on first use.

    A ledger that was moved into another database goes on under the origin that the signer remembers.
    """
    row = await connection.fetchrow(LOG, ledger.ledger_id)
    if row is None:
        # Without a name of ours in the world a random one, so that two installations are never taken for one log.
        site = signer.site or f"loyalty.local/{secrets.token_hex(4)}"
        remembered = signer.remembered(ledger.name)
        origin = f"{site}/{ledger.name}" if remembered is None else read_note(remembered).text.split("\n", 1)[0]
        await connection.execute(ADD_LOG, ledger.ledger_id, 1, origin)
        row = await connection.fetchrow(LOG, ledger.ledger_id)
    assert row is not None
    return Log(*row)


async def _begin_log(connection: Connection, signer: Signer, ledger: Ledger, old: Log) -> Log:
    """Give a log up and begin another: what was signed for the old one is never to be continued by something else."""
    signer.forget(ledger.name)
    number = old.log + 1
    begun = old.origin.removesuffix(f"/{old.log}")
    await connection.execute(ADD_LOG, ledger.ledger_id, number, f"{begun}/{number}")
    return Log(number, f"{begun}/{number}")


async def latest_checkpoint(connection: Connection, ledger_id: int) -> SignedCheckpoint | None:
    """Give the newest checkpoint; None before the first."""
    row = await connection.fetchrow(LATEST, ledger_id)
    return None if row is None else SignedCheckpoint(*row)


async def log_keys(connection: Connection, ledger_id: int) -> list[LogKey]:
    """List every key that ever signed for the ledger's logs, oldest first. One that cannot be read verifies nothing and
    is left out; `loyalty verify` tells of it."""
    found = []
    for row in await connection.fetch(KEYS, ledger_id):
        with suppress(KeyWrong):
            found.append(LogKey(row["log"], VerifierKey.read(row["key"]), row["added_at"]))
    return found


async def checkpoint_age_seconds(connection: Connection, signed: SignedCheckpoint) -> float:
    """Return how long ago a checkpoint was signed, by the database's clock, which wrote it down."""
    age: float = await connection.fetchval(AGE_SECONDS, signed.signed_at)
    return age


async def pending_keys(connection: Connection, signer: Signer, ledger: Ledger) -> list[VerifierKey]:
    """List the keys of a signer that have not signed for the ledger's log yet, and will from the next checkpoint on."""
    row = await connection.fetchrow(LOG, ledger.ledger_id)
    if row is None:
        return []
    log = Log(*row)
    known = {one.key for one in await log_keys(connection, ledger.ledger_id) if one.log == log.log}
    return [key.public for key in signer.keys(log.origin) if key.public not in known]


def signing_keys_of(signed: SignedCheckpoint) -> set[tuple[str, bytes]]:
    """Name the keys, by name and id, that a checkpoint says it is signed by."""
    return {(one.name, one.key_id) for one in read_note(signed.note).signatures}


async def current_seal_problem(connection: Connection, ledger_id: int) -> SealProblem | None:
    """Say what the matter is, if the last thing that happened was no signature."""
    row = await connection.fetchrow(PROBLEM, ledger_id)
    return None if row is None else SealProblem(*row)


async def record_seal_problem(connection: Connection, ledger_id: int, error: Unsealable) -> None:
    """Write down why nothing was signed, unless that is what was written last."""
    kind, detail = type(error).__name__, str(error)
    async with connection.transaction():
        await connection.execute(LOCK, CHECKPOINTS, ledger_id)
        known = await current_seal_problem(connection, ledger_id)
        if known is None or (known.kind, known.detail) != (kind, detail):
            await connection.execute(ADD_PROBLEM, ledger_id, kind, detail)
