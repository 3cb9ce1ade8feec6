"""Reconciliation lists over many accounts: the cost of one page and of the summary of all lists, if few matters are
open.

The limit is one account by its key. A history is appended and folded. Its accounts are then copied under other names,
with a drift in every thousandth. So the table has the requested size and realistic rows.
"""

from benchmarks import servers
from benchmarks.environment import append_history, build_history, create_bench_ledger, open_database
from benchmarks.figures import Figure
from benchmarks.load import LoadResult, get, send_requests
from benchmarks.servers import MASTER_KEY
from ledger.database import Connection
from ledger.store import api_keys
from projections.engine.worker import catch_up
from projections.registry import BY_SUBJECT

DELIVERIES = 2_000
REQUESTS = 20
ACCOUNTS_PER_DRIFT = 1_000
VACUUM_ACCOUNTS = "VACUUM ANALYZE accounts"
ACCOUNT_WITHOUT_DRIFT = (
    "SELECT account_id FROM accounts WHERE ledger_id = $1 AND drift = 0 AND missing = 0 ORDER BY account_id LIMIT 1"
)


async def lists(accounts: int, runs: int) -> list[Figure]:
    """GET pages of the list of drifts, and the summary, of a ledger with `accounts` accounts."""
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "bench")
        ledger_id = bench_ledger.ledger.ledger_id
        await append_history(database, bench_ledger, build_history(DELIVERIES))
        await catch_up(database.connection, ledger_id)
        account_count = await _copy_accounts(database.connection, ledger_id, accounts)
        key = await api_keys.create_key(database.connection, MASTER_KEY, bench_ledger.ledger, ["read"])
        headers = f"Authorization: Bearer {key}\r\n"
        list_of = "/v1/reconciliation/drift?grace_hours=0&limit=100"
        account_id = await database.connection.fetchval(ACCOUNT_WITHOUT_DRIFT, ledger_id)
        paths = {
            "one account by its key": f"/v1/accounts/{account_id}",
            "100 drifts, the first page": list_of,
            "the summary of all lists": "/v1/reconciliation",
        }
        measured: dict[str, list[LoadResult]] = {name: [] for name in paths}
        with servers.run_server(servers.whole_service, database.dsn, database.folder, False) as (service_port, _):
            for _ in range(runs):
                for name, path in paths.items():
                    measured[name].append(
                        await send_requests(service_port, [get(path, headers)] * REQUESTS, connections=1)
                    )
    limit = "one account by its key"
    return [
        Figure(
            name if name == limit else f"{name}, of {account_count:,} accounts",
            "answers",
            REQUESTS,
            [run.per_second for run in runs_of],
            limit if name != limit else None,
            [run.p50_ms for run in runs_of],
            [run.p99_ms for run in runs_of],
        )
        for name, runs_of in measured.items()
    ]


async def _copy_accounts(connection: Connection, ledger_id: int, accounts: int) -> int:
    """Copy the accounts under other names until there are `accounts`. Return their number."""
    (table,) = (one for one in BY_SUBJECT["account"].tables if one.name == "accounts")
    account_count: int = await connection.fetchval("SELECT count(*) FROM accounts WHERE ledger_id = $1", ledger_id)
    values = {
        "account_id": "a.account_id || '~' || n",
        "drift": f"CASE WHEN row_number() OVER () % {ACCOUNTS_PER_DRIFT} = 0 THEN 7 ELSE 0 END",
        "missing": f"CASE WHEN row_number() OVER () % {ACCOUNTS_PER_DRIFT} = 0 THEN 7 ELSE 0 END",
        "drift_since": f"CASE WHEN row_number() OVER () % {ACCOUNTS_PER_DRIFT} = 0 THEN a.last_at END",
        "drift_position": f"CASE WHEN row_number() OVER () % {ACCOUNTS_PER_DRIFT} = 0 THEN a.last_position END",
    }
    columns = ", ".join(("ledger_id", "subject", *table.columns))
    written = ", ".join(("a.ledger_id", "a.subject", *(values.get(name, f"a.{name}") for name in table.columns)))
    await connection.execute(
        f"INSERT INTO accounts ({columns}) SELECT {written} FROM accounts a, generate_series(1, $2::int) n "  # noqa: S608
        "WHERE a.ledger_id = $1",
        ledger_id,
        accounts // account_count,
    )
    await connection.execute(VACUUM_ACCOUNTS)
    return account_count + account_count * (accounts // account_count)
