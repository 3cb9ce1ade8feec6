"""The lists of reconciliation over many accounts: what a page, and the summary of all lists, cost where few of them are
open, beside one account by its key.

A history is told and folded; its accounts are then written again and again under other names, every thousandth with a
drift, so that the table is as large as is asked for and its rows are real ones.
"""

from benchmarks import servers
from benchmarks.environment import a_history, fill, new_book, opened
from benchmarks.figures import Figure
from benchmarks.load import Offered, get, offer
from benchmarks.servers import MASTER_KEY
from ledger.database import Connection
from ledger.store import api_keys
from projections.engine.worker import catch_up
from projections.registry import BY_SUBJECT

TOLD = 2_000
ASKED = 20
A_DRIFT_IN = 1_000
SETTLE = "VACUUM ANALYZE accounts"
NAME = "SELECT account_id FROM accounts WHERE ledger_id = $1 AND drift = 0 AND missing = 0 ORDER BY account_id LIMIT 1"


async def lists(accounts: int, runs: int) -> list[Figure]:
    """GET pages of the list of drifts, and the summary, of a ledger with so many accounts."""
    async with opened() as place:
        book = await new_book(place, "bench")
        ledger_id = book.ledger.ledger_id
        await fill(place, book, a_history(TOLD))
        await catch_up(place.connection, ledger_id)
        held = await _multiply(place.connection, ledger_id, accounts)
        key = await api_keys.create_key(place.connection, MASTER_KEY, book.ledger, ["read"])
        headers = f"Authorization: Bearer {key}\r\n"
        list_of = "/v1/reconciliation/drift?grace_hours=0&limit=100"
        asked = {
            "one account by its key": f"/v1/accounts/{await place.connection.fetchval(NAME, ledger_id)}",
            "100 drifts, the first page": list_of,
            "the summary of all lists": "/v1/reconciliation",
        }
        measured: dict[str, list[Offered]] = {name: [] for name in asked}
        with servers.running(servers.house, place.dsn, place.folder, False) as house:
            for _ in range(runs):
                for name, path in asked.items():
                    measured[name].append(await offer(house, [get(path, headers)] * ASKED, connections=1))
    limit = "one account by its key"
    return [
        Figure(
            name if name == limit else f"{name}, of {held:,} accounts",
            "answers",
            ASKED,
            [run.per_second for run in runs_of],
            limit if name != limit else None,
            [run.p50_ms for run in runs_of],
            [run.p99_ms for run in runs_of],
        )
        for name, runs_of in measured.items()
    ]


async def _multiply(connection: Connection, ledger_id: int, accounts: int) -> int:
    """Write the accounts again under other names until there are so many; give how many there are."""
    (table,) = (one for one in BY_SUBJECT["account"].tables if one.name == "accounts")
    held: int = await connection.fetchval("SELECT count(*) FROM accounts WHERE ledger_id = $1", ledger_id)
    values = {
        "account_id": "a.account_id || '~' || n",
        "drift": f"CASE WHEN row_number() OVER () % {A_DRIFT_IN} = 0 THEN 7 ELSE 0 END",
        "missing": f"CASE WHEN row_number() OVER () % {A_DRIFT_IN} = 0 THEN 7 ELSE 0 END",
        "drift_since": f"CASE WHEN row_number() OVER () % {A_DRIFT_IN} = 0 THEN a.last_at END",
        "drift_position": f"CASE WHEN row_number() OVER () % {A_DRIFT_IN} = 0 THEN a.last_position END",
    }
    columns = ", ".join(("ledger_id", "subject", *table.columns))
    written = ", ".join(("a.ledger_id", "a.subject", *(values.get(name, f"a.{name}") for name in table.columns)))
    await connection.execute(
        f"INSERT INTO accounts ({columns}) SELECT {written} FROM accounts a, generate_series(1, $2::int) n "  # noqa: S608
        "WHERE a.ledger_id = $1",
        ledger_id,
        accounts // held,
    )
    await connection.execute(SETTLE)
    return held + held * (accounts // held)
