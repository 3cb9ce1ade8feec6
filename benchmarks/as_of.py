"""What an account of 1,000 facts costs: now, at a time, as known at a position, explained; and finance's whole ledger.

One question after the other, since what counts is how long it takes to be answered.
"""

import time
from collections.abc import Sequence
from datetime import date

from benchmarks import servers
from benchmarks.environment import Book, Place, a_history, fill, new_book, opened
from benchmarks.figures import Figure
from benchmarks.load import Offered, get, offer
from benchmarks.servers import MASTER_KEY
from ledger.database import Connection
from ledger.intake.identify import identify
from ledger.store import api_keys
from ledger.store.append import append
from projections.engine.worker import catch_up
from projections.queries.account_history import LINE_ROWS, ROWS_PER_FETCH, snapshot
from projections.queries.roll_forward import RollForwardQuery
from service.finance.liability import roll_forward
from tests.support.payloads import issued, redeemed

FACTS = 1_000
ASKED = 40
ACCOUNT = "/v1/accounts/capillary:9001:1:77:points"
POSITION_IN_THE_MIDDLE = """
    SELECT position FROM facts WHERE ledger_id = $1 AND subject_kind = 'account' AND subject = 'capillary:9001:1'
     ORDER BY position OFFSET $2 LIMIT 1
"""
LINES = "SELECT count(*) FROM statement WHERE ledger_id = $1"


async def know(events: int, runs: int) -> list[Figure]:
    """GET one account in every way that folds it on the spot, beside a row by its key."""
    async with opened() as place:
        book = await new_book(place, "bench")
        await fill(place, book, a_history(events))
        await _tell_one(place, book)
        await catch_up(place.connection, book.ledger.ledger_id)
        key = await api_keys.create_key(place.connection, MASTER_KEY, book.ledger, ["read"])
        access = await api_keys.find_key(place.connection, MASTER_KEY, key)
        known = await place.connection.fetchval(POSITION_IN_THE_MIDDLE, book.ledger.ledger_id, FACTS // 2)
        last = known + FACTS // 2
        asked = {
            "one row by its key": ACCOUNT,
            "now": ACCOUNT,
            "at a time, 500 facts": f"{ACCOUNT}?at=2023-12-05T00:00:00Z",
            "as known, 500 facts": f"{ACCOUNT}?as_of_position={known}",
            "both, 1,000 facts": f"{ACCOUNT}?at=2026-01-01T00:00:00Z&as_of_position={last - 1}",
            "statement as known, 1,000 lines": f"{ACCOUNT}/statement?as_of_position={last - 1}&limit=1000",
            "explained, 1,000 steps": f"{ACCOUNT}?explain=true",
        }
        measured: dict[str, list[Offered]] = {name: [] for name in asked}
        with (
            servers.running(servers.bare_window, place.dsn, access) as window,
            servers.running(servers.house, place.dsn, place.folder, False) as house,
        ):
            for _ in range(runs):
                for name, path in asked.items():
                    requests = [get(path, f"Authorization: Bearer {key}\r\n")] * ASKED
                    port = window if name == "one row by its key" else house
                    measured[name].append(await offer(port, requests, connections=1))
    return [_figure(name, runs_of) for name, runs_of in measured.items()]


async def _tell_one(place: Place, book: Book) -> None:
    """Tell 1,000 facts of one account, an hour apart: two of three are credits."""
    origin = book.inbound["capillary"].origin(book.vault)
    bodies = [
        redeemed(f"k{n}", n * 3600, 1, 15) if n % 3 == 2 else issued(f"k{n}", n * 3600, 1, 10, lapses="2025-12-31")
        for n in range(FACTS)
    ]
    await append(place.connection, book.vault, book.ledger.ledger_id, [identify(origin, body) for body in bodies])


async def finance(events: int, runs: int) -> list[Figure]:
    """Roll a whole ledger forward over a year by month, as known now and before the last tenth, beside reading all its
    statement lines."""
    limit, ours, then = "all lines read", "liability by month and vintage", "the same, as known before the last tenth"
    measured: dict[str, list[float]] = {limit: [], ours: [], then: []}
    async with opened() as place:
        book = await new_book(place, "bench")
        told = await fill(place, book, a_history(events))
        await catch_up(place.connection, book.ledger.ledger_id)
        lines = await place.connection.fetchval(LINES, book.ledger.ledger_id)
        ask = RollForwardQuery(date(2025, 1, 1), date(2026, 12, 31), monthly=True)
        for _ in range(runs):
            begun = time.perf_counter()
            await _read_lines(place.connection, book.ledger.ledger_id)
            measured[limit].append(lines / (time.perf_counter() - begun))
            for name, position in ((ours, None), (then, told * 9 // 10)):
                begun = time.perf_counter()
                await roll_forward(place.connection, book.ledger.ledger_id, ask, position)
                measured[name].append(lines / (time.perf_counter() - begun))
    return [
        Figure(name, "lines", lines, runs_of, None if name == limit else limit) for name, runs_of in measured.items()
    ]


async def _read_lines(connection: Connection, ledger_id: int) -> None:
    async with snapshot(connection):
        cursor = await connection.cursor(LINE_ROWS, ledger_id)
        while await cursor.fetch(ROWS_PER_FETCH):
            pass


def _figure(name: str, runs: Sequence[Offered]) -> Figure:
    limit = "one row by its key"
    return Figure(
        name,
        "answers",
        ASKED,
        [run.per_second for run in runs],
        limit if name != limit else None,
        [run.p50_ms for run in runs],
        [run.p99_ms for run in runs],
    )
