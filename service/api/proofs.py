"""Proofs about a ledger: its newest checkpoint, that an event is in it, and that it continues an older one."""

from aiohttp import web

from ledger import clock
from ledger.errors import NotSealedYet, PositionUnknown, RequestInvalid
from ledger.store import read
from ledger.transparency import tiles, tree_heads
from ledger.transparency.checkpoints import ProofFile
from service.api.requests.admission import get
from service.api.requests.open_query import open_query
from service.api.responses import json_response
from service.parameters import parse_int
from service.queries.checkpoints import cosigned_note, newest_checkpoint

SIZE_MAX = 2**53

COSIGNED = """
    SELECT witness, cosigned_at, collected_at FROM ledger.cosignatures
     WHERE ledger_id = $1 AND checkpoint = $2 ORDER BY witness
"""


async def prove_inclusion(request: web.Request) -> web.Response:
    """GET /v1/ledger/proofs/inclusion?position=&size=: that an event is in the tree of a size, the newest if none is
    given: leaf index, leaf hash, and the hashes from its sibling up, in hexadecimal."""
    async with open_query(request, "read", "audit") as query:
        signed = await newest_checkpoint(query.connection, query.ledger)
        ledger_id = query.ledger.ledger_id
        size = parse_int(request.query.get("size"), "size", least=1, most=SIZE_MAX) or signed.size
        position = parse_int(request.query.get("position"), "position", least=1, most=SIZE_MAX)
        if position is None:
            raise RequestInvalid("position is needed")
        if size > signed.size:
            raise NotSealedYet(f"size {size}; sealed is {signed.size}")
        if position > size:
            raise PositionUnknown(f"position {position} in the tree of {size}")
        leaf = await read.leaf_hashes(query.connection, ledger_id, position - 1, position)
        return json_response(
            {
                "position": position,
                "index": position - 1,
                "size": size,
                "leaf_hash": leaf,
                "proof": await tiles.inclusion(query.connection, ledger_id, position - 1, size),
                "root": await tiles.root(query.connection, ledger_id, size),
            }
        )


async def prove_consistency(request: web.Request) -> web.Response:
    """GET /v1/ledger/proofs/consistency?from=&to=: that the tree of one size is the beginning of that of another, the
    newest if none is given, in hexadecimal."""
    async with open_query(request, "read", "audit") as query:
        signed = await newest_checkpoint(query.connection, query.ledger)
        ledger_id = query.ledger.ledger_id
        old = parse_int(request.query.get("from"), "from", least=0, most=SIZE_MAX)
        size = parse_int(request.query.get("to"), "to", least=0, most=SIZE_MAX)
        size = signed.size if size is None else size
        if old is None or old > size:
            raise RequestInvalid("from is needed, and is not more than to")
        if size > signed.size:
            raise NotSealedYet(f"size {size}; sealed is {signed.size}")
        return json_response(
            {
                "from": old,
                "to": size,
                "proof": await tiles.consistency(query.connection, ledger_id, old, size),
                "from_root": await tiles.root(query.connection, ledger_id, old),
                "to_root": await tiles.root(query.connection, ledger_id, size),
            }
        )


async def prove_event(request: web.Request) -> web.Response:
    """GET /v1/ledger/events/{position}/proof: a .tlog-proof file that convinces without us; the entry is its extra."""
    position = parse_int(request.match_info["position"], "position", least=1, most=SIZE_MAX)
    assert position is not None
    async with open_query(request, "read", "audit") as query:
        connection, ledger = query.connection, query.ledger
        if position > await read.tail(connection, ledger.ledger_id):
            raise PositionUnknown(position)
        signed = await newest_checkpoint(connection, ledger)
        if position > signed.size:
            raise NotSealedYet(f"position {position}; sealed is {signed.size}")
        [entry] = await read.entries_between(connection, ledger.ledger_id, position - 1, position)
        proof = await tiles.inclusion(connection, ledger.ledger_id, position - 1, signed.size)
        note = await cosigned_note(connection, ledger, signed)
    name = f"{ledger.name}-{position}.tlog-proof"
    return web.Response(
        body=ProofFile(position - 1, proof, note, entry).write(),
        content_type="text/plain",
        charset="utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def get_checkpoint(request: web.Request) -> web.Response:
    """GET /v1/ledger/checkpoint: the newest checkpoint, who cosigned it, how far it is behind, and what the matter is
    if nothing is signed."""
    async with open_query(request, "read", "audit") as query:
        connection, ledger = query.connection, query.ledger
        signed = await tree_heads.latest_checkpoint(connection, ledger.ledger_id)
        tail = await read.tail(connection, ledger.ledger_id)
        problem = await tree_heads.problem_of(connection, ledger.ledger_id)
        told = None if problem is None else problem._asdict()
        if signed is None:
            nothing = {"size": 0, "unsealed_events": tail, "checkpoint": None}
            return json_response({**nothing, "problem": told, "clock": clock.CLOCK.problem()})
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
                "problem": told,
                "clock": clock.CLOCK.problem(),
            }
        )


async def list_keys(request: web.Request) -> web.Response:
    """GET /v1/ledger/keys: every public key that ever signed for the ledger's log, and which sign now."""
    async with open_query(request, "read", "audit") as query:
        ledger_id = query.ledger.ledger_id
        signed = await tree_heads.latest_checkpoint(query.connection, ledger_id)
        keys = await tree_heads.log_keys(query.connection, ledger_id)
        now = set() if signed is None else tree_heads.signers(signed)
        items = [
            {
                "key": one.key.write(),
                "origin": one.key.name,
                "key_id": one.key.key_id,
                "added_at": one.added_at,
                "signs_now": (one.key.name, one.key.key_id) in now,
            }
            for one in keys
        ]
        return json_response({"items": items, "next": None})


PROVING_SCOPES = ("read", "audit")

ROUTES = [
    get("/v1/ledger/checkpoint", get_checkpoint, "why", scopes=PROVING_SCOPES),
    get("/v1/ledger/keys", list_keys, "why", scopes=PROVING_SCOPES),
    get("/v1/ledger/proofs/inclusion", prove_inclusion, "position", "size", "why", scopes=PROVING_SCOPES),
    get("/v1/ledger/proofs/consistency", prove_consistency, "from", "to", "why", scopes=PROVING_SCOPES),
    get("/v1/ledger/events/{position:[0-9]{1,16}}/proof", prove_event, "why", scopes=PROVING_SCOPES),
]
