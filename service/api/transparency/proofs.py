"""Proofs about a ledger: its newest checkpoint, inclusion of an event, consistency with an older checkpoint."""

from typing import Any

from aiohttp import web

from ledger import clock
from ledger.errors import NotSealedYet, PositionUnknown, RequestInvalid
from ledger.store import read
from ledger.transparency import tiles, tree_heads
from ledger.transparency.checkpoints import ProofFile
from service.api.answers.ledger import Consistency, InclusionProof, NewestCheckpoint, PublicKeys
from service.api.requests.admission import get
from service.api.requests.open_query import open_query
from service.api.requests.parameters import REASON, whole
from service.api.responses import json_response
from service.parameters import parse_int
from service.queries.checkpoints import cosigned_note, newest_checkpoint
from service.queries.context import QueryContext

SIZE_MAX = 2**53

COSIGNED = """
    SELECT witness, cosigned_at, collected_at FROM ledger.cosignatures
     WHERE ledger_id = $1 AND checkpoint = $2 ORDER BY witness
"""


async def prove_inclusion(request: web.Request) -> web.Response:
    """Prove that an event is in the tree.

    The answer has the leaf index, the leaf hash, and the hashes from its sibling upwards, in hexadecimal.
    """
    async with open_query(request, "read", "audit") as query:
        signed = await newest_checkpoint(query.connection, query.ledger)
        ledger_id = query.ledger.ledger_id
        size, position = SIZE.of(request) or signed.size, POSITION.of(request)
        assert position is not None
        await _check_size(query, "size", size, signed.size)
        if position > size:
            raise PositionUnknown(f"position {position} in the tree of {size}")
        leaf = await read.leaf_hashes(query.connection, ledger_id, position - 1, position)
        return json_response(
            {
                "position": position,
                "leaf_index": position - 1,
                "size": size,
                "leaf_hash": leaf,
                "proof": await tiles.prove_inclusion(query.connection, ledger_id, position - 1, size),
                "root": await tiles.compute_root(query.connection, ledger_id, size),
            }
        )


async def prove_consistency(request: web.Request) -> web.Response:
    """Prove that a smaller tree is the beginning of a larger one."""
    async with open_query(request, "read", "audit") as query:
        signed = await newest_checkpoint(query.connection, query.ledger)
        ledger_id = query.ledger.ledger_id
        old, size = FROM_SIZE.of(request), TO_SIZE.of(request)
        assert old is not None
        size = signed.size if size is None else size
        if old > size:
            raise RequestInvalid("`from_size` must not be greater than `to_size`")
        await _check_size(query, "to_size", size, signed.size)
        return json_response(
            {
                "from_size": old,
                "to_size": size,
                "proof": await tiles.prove_consistency(query.connection, ledger_id, old, size),
                "from_root": await tiles.compute_root(query.connection, ledger_id, old),
                "to_root": await tiles.compute_root(query.connection, ledger_id, size),
            }
        )


async def _check_size(query: QueryContext, name: str, size: int, signed: int) -> None:
    """Raise RequestInvalid for a tree larger than the ledger, NotSealedYet for one that no checkpoint covers yet."""
    if size <= signed:
        return
    last = await read.tail(query.connection, query.ledger.ledger_id)
    if size > last:  # waiting would not help
        raise RequestInvalid(f"`{name}` is {size}, but the last event has position {last}")
    raise NotSealedYet(f"`{name}` {size}; the newest checkpoint covers {signed} events")


async def prove_event(request: web.Request) -> web.Response:
    """Return the proof of one event as a file.

    The file is a C2SP .tlog-proof. It can be checked without this service. Its extra data is the entry of the event.
    """
    position = parse_int(request.match_info["position"], "position", least=1, most=SIZE_MAX)
    assert position is not None
    async with open_query(request, "read", "audit") as query:
        connection, ledger = query.connection, query.ledger
        if position > await read.tail(connection, ledger.ledger_id):
            raise PositionUnknown(position)
        signed = await newest_checkpoint(connection, ledger)
        if position > signed.size:
            raise NotSealedYet(f"position {position}; the newest checkpoint covers {signed.size} events")
        [entry] = await read.entries_between(connection, ledger.ledger_id, position - 1, position)
        proof = await tiles.prove_inclusion(connection, ledger.ledger_id, position - 1, signed.size)
        note = await cosigned_note(connection, ledger, signed)
    name = f"{ledger.name}-{position}.tlog-proof"
    return web.Response(
        body=ProofFile(position - 1, proof, note, entry).write(),
        content_type="text/plain",
        charset="utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def get_checkpoint(request: web.Request) -> web.Response:
    """Return the newest checkpoint of the ledger's log.

    The answer has the cosignatures of witnesses, the number of events that are not covered yet, and the problem if
    nothing is signed.
    """
    async with open_query(request, "read", "audit") as query:
        connection, ledger = query.connection, query.ledger
        signed = await tree_heads.latest_checkpoint(connection, ledger.ledger_id)
        tail = await read.tail(connection, ledger.ledger_id)
        problem = await tree_heads.current_seal_problem(connection, ledger.ledger_id)
        problem_json = None if problem is None else problem._asdict()
        if signed is None:
            unsigned = {"size": 0, "unsealed_events": tail, "checkpoint": None}
            return json_response({**unsigned, "problem": problem_json, "clock": clock.CLOCK.problem()})
        note = await cosigned_note(connection, ledger, signed)
        cosigned = await connection.fetch(COSIGNED, ledger.ledger_id, signed.checkpoint)
        return json_response(
            {
                "origin": signed.note.decode().split("\n", 1)[0],
                "size": signed.size,
                "root": signed.root,
                "signed_at": signed.signed_at,
                "unsealed_events": tail - signed.size,
                "checkpoint": note.decode(),
                "cosigned": [dict(row) for row in cosigned],
                "problem": problem_json,
                "clock": clock.CLOCK.problem(),
            }
        )


async def list_keys(request: web.Request) -> web.Response:
    """List every public key that ever signed the ledger's log. `signs_now` marks the present ones."""
    async with open_query(request, "read", "audit") as query:
        ledger_id = query.ledger.ledger_id
        signed = await tree_heads.latest_checkpoint(query.connection, ledger_id)
        keys = await tree_heads.log_keys(query.connection, ledger_id)
        now = set() if signed is None else tree_heads.signing_keys_of(signed)
        items = [
            {
                "key": log_key.key.write(),
                "origin": log_key.key.name,
                "key_id": log_key.key.key_id,
                "added_at": log_key.added_at,
                "signs_now": (log_key.key.name, log_key.key.key_id) in now,
            }
            for log_key in keys
        ]
        return json_response({"items": items, "next": None})


SIZE = whole(
    "size", "The number of events in the tree. Default: that of the newest checkpoint.", least=1, most=SIZE_MAX
)
POSITION = whole("position", "The position of the event.", least=1, most=SIZE_MAX, required=True)
FROM_SIZE = whole("from_size", "The number of events in the smaller tree.", least=0, most=SIZE_MAX, required=True)
TO_SIZE = whole(
    "to_size", "The number of events in the larger tree. Default: as the newest checkpoint.", least=0, most=SIZE_MAX
)
PROVING: dict[str, Any] = {"tag": "proofs", "scopes": ("read", "audit"), "errors": (NotSealedYet,)}
OF_POSITION: dict[str, Any] = {**PROVING, "errors": (NotSealedYet, PositionUnknown)}

OPERATIONS = (
    get("/v1/ledger/checkpoint", get_checkpoint, REASON, answer=NewestCheckpoint, **PROVING),
    get("/v1/ledger/keys", list_keys, REASON, answer=PublicKeys, **PROVING),
    get("/v1/ledger/proofs/inclusion", prove_inclusion, POSITION, SIZE, REASON, answer=InclusionProof, **OF_POSITION),
    get("/v1/ledger/proofs/consistency", prove_consistency, FROM_SIZE, TO_SIZE, REASON, answer=Consistency, **PROVING),
    get(
        "/v1/ledger/events/{position:[0-9]{1,16}}/proof",
        prove_event,
        REASON,
        answer=None,
        media=("text/plain",),
        **OF_POSITION,
    ),
)
