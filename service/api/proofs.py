"""Proofs about a ledger: its newest checkpoint, inclusion of an event, consistency with an older checkpoint."""

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
    """GET /v1/ledger/proofs/inclusion?position=&size=: proof that an event is in the tree of a size (default the
    newest).

    The answer has the leaf index, the leaf hash, and the hashes from its sibling upwards, in hexadecimal.
    """
    async with open_query(request, "read", "audit") as query:
        signed = await newest_checkpoint(query.connection, query.ledger)
        ledger_id = query.ledger.ledger_id
        size = parse_int(request.query.get("size"), "size", least=1, most=SIZE_MAX) or signed.size
        position = parse_int(request.query.get("position"), "position", least=1, most=SIZE_MAX)
        if position is None:
            raise RequestInvalid("`position` is missing")
        if size > signed.size:
            raise NotSealedYet(f"`size` {size}; the newest checkpoint covers {signed.size} events")
        if position > size:
            raise PositionUnknown(f"position {position} in the tree of {size}")
        leaf = await read.leaf_hashes(query.connection, ledger_id, position - 1, position)
        return json_response(
            {
                "position": position,
                "index": position - 1,
                "size": size,
                "leaf_hash": leaf,
                "proof": await tiles.prove_inclusion(query.connection, ledger_id, position - 1, size),
                "root": await tiles.compute_root(query.connection, ledger_id, size),
            }
        )


async def prove_consistency(request: web.Request) -> web.Response:
    """GET /v1/ledger/proofs/consistency?from=&to=: proof that the smaller tree is the beginning of the larger one.

    `to` is the newest size by default. Hashes are hexadecimal.
    """
    async with open_query(request, "read", "audit") as query:
        signed = await newest_checkpoint(query.connection, query.ledger)
        ledger_id = query.ledger.ledger_id
        old = parse_int(request.query.get("from"), "from", least=0, most=SIZE_MAX)
        size = parse_int(request.query.get("to"), "to", least=0, most=SIZE_MAX)
        size = signed.size if size is None else size
        if old is None or old > size:
            raise RequestInvalid("`from` is missing, or greater than `to`")
        if size > signed.size:
            raise NotSealedYet(f"`size` {size}; the newest checkpoint covers {signed.size} events")
        return json_response(
            {
                "from": old,
                "to": size,
                "proof": await tiles.prove_consistency(query.connection, ledger_id, old, size),
                "from_root": await tiles.compute_root(query.connection, ledger_id, old),
                "to_root": await tiles.compute_root(query.connection, ledger_id, size),
            }
        )


async def prove_event(request: web.Request) -> web.Response:
    """GET /v1/ledger/events/{position}/proof: a .tlog-proof file, checkable without this service. Its extra is the
    entry.
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
    """GET /v1/ledger/checkpoint: the newest checkpoint, its cosignatures, its delay, and the problem if nothing is
    signed.
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
    """GET /v1/ledger/keys: every public key that ever signed the ledger's log. `signs_now` marks the present ones."""
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


PROVING_SCOPES = ("read", "audit")

ROUTES = [
    get("/v1/ledger/checkpoint", get_checkpoint, "why", scopes=PROVING_SCOPES),
    get("/v1/ledger/keys", list_keys, "why", scopes=PROVING_SCOPES),
    get("/v1/ledger/proofs/inclusion", prove_inclusion, "position", "size", "why", scopes=PROVING_SCOPES),
    get("/v1/ledger/proofs/consistency", prove_consistency, "from", "to", "why", scopes=PROVING_SCOPES),
    get("/v1/ledger/events/{position:[0-9]{1,16}}/proof", prove_event, "why", scopes=PROVING_SCOPES),
]
