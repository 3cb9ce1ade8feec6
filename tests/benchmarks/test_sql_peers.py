"""The peers of an import do their job whole: every transfer has two entries that sum to zero, and counts once."""

import asyncpg

from benchmarks import sql_peers
from benchmarks.environment import build_history
from service.embedded.server import EmbeddedPostgres


async def test_double_entry_balances_and_takes_each_key_once(postgres: EmbeddedPostgres) -> None:
    history = build_history(60)
    deliveries = sql_peers.without_repeats([*history, *history])

    await sql_peers.transfer_by_double_entry(postgres.dsn(), [*deliveries, *deliveries[:10]])

    connection = await asyncpg.connect(postgres.dsn(), database=sql_peers.DATABASE)
    sums = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM transfers), count(*), sum(amount), "
        "(SELECT sum(balance) FROM accounts), (SELECT count(*) FROM accounts WHERE balance < 0) FROM entries"
    )
    unequal = await connection.fetchval(
        "SELECT count(*) FROM accounts a WHERE balance <> "
        "(SELECT coalesce(sum(amount), 0) FROM entries e WHERE e.account_id = a.account_id)"
    )
    await connection.close()
    transfers, entries, total, balance, payers = sums
    assert (transfers, entries, total, balance, unequal) == (len(deliveries), 2 * len(deliveries), 0, 0, 0)
    assert payers == min(len(deliveries), sql_peers.ISSUERS)
