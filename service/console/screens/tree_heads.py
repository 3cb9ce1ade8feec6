"""The screen of tree heads: the newest signed checkpoints, and the witnesses with their last cosignatures."""

from aiohttp import web

from ledger.transparency import tree_heads
from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.pages import Page
from service.console.tables import PageColumn, PageTable
from service.parameters import parse_int

HEADS_PER_PAGE = 50
NEWEST = 2**62  # above every number of a checkpoint
HEADS = """
    SELECT c.checkpoint, c.log, c.size, encode(c.root, 'hex') AS root, c.signed_at,
           array(SELECT s.witness FROM ledger.cosignatures s
                  WHERE s.ledger_id = $1 AND s.checkpoint = c.checkpoint ORDER BY s.witness) AS witnesses
      FROM ledger.checkpoints c WHERE c.ledger_id = $1 AND c.checkpoint < $3 ORDER BY c.checkpoint DESC LIMIT $2
"""
WITNESSES = """
    SELECT DISTINCT ON (s.witness) s.witness, c.size, s.cosigned_at, s.collected_at
      FROM ledger.cosignatures s JOIN ledger.checkpoints c USING (checkpoint)
     WHERE s.ledger_id = $1 AND c.ledger_id = $1 ORDER BY s.witness, s.checkpoint DESC
"""
HEAD_COLUMNS = (
    PageColumn("size", "Events", "points"),
    PageColumn("signed_at", "Signed", "time"),
    PageColumn("witnesses", "Cosigned by", "list"),
    PageColumn("root", "Root hash", "short"),
    PageColumn("log", "Log", "number"),
)
WITNESS_COLUMNS = (
    PageColumn("witness", "Witness", "code"),
    PageColumn("size", "Events of its last tree head", "points"),
    PageColumn("cosigned_at", "Last cosignature", "time"),
    PageColumn("collected_at", "Collected", "time"),
)


async def show_tree_heads(request: web.Request) -> Page:
    """Return the newest tree heads, and the last cosignature of each witness."""
    before = parse_int(request.query.get("before") or None, "before", least=0, most=NEWEST) or NEWEST
    async with open_query(request) as query:
        connection, ledger_id = query.connection, query.ledger.ledger_id
        heads = await connection.fetch(HEADS, ledger_id, HEADS_PER_PAGE + 1, before)
        witnesses = await connection.fetch(WITNESSES, ledger_id)
        problem = await tree_heads.current_seal_problem(connection, ledger_id)
    rows = [dict(row) for row in heads[:HEADS_PER_PAGE]]
    older = str(rows[-1]["checkpoint"]) if len(heads) > HEADS_PER_PAGE else None
    no_witness = "No witness has cosigned a tree head. docs/auditors.md explains how to ask one."
    tables = (
        PageTable("witnesses", "Witnesses", WITNESS_COLUMNS, [dict(row) for row in witnesses], no_witness),
        PageTable(
            "heads",
            "Tree heads, newest first",
            HEAD_COLUMNS,
            rows,
            "Nothing is signed yet.",
            older,
            cursor_name="before",
        ),
    )
    return Page("tree_heads.html", "Tree heads and witnesses", tables, {"problem": problem, "older": older})


ROUTES = [page("/operations/tree-heads", show_tree_heads, "before")]
