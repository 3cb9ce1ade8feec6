"""Peers of an import that are functions in PostgreSQL. Both are called 1,000 times in a transaction, pipelined.

- message-db: its `write_message` for each body. Its SQL is not part of this project: `--message-db` names a folder.
- Double entry, as pgledger does it: a transfer for each body, which moves points between two accounts, writes two
  entries with the balances before and after, and is refused if its key is known. Bodies are not stored.

Each has a database of its own on the same server.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from benchmarks.environment import BLOCK, Stopwatch
from benchmarks.simulation import SentDelivery

PlainConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DATABASE = "sql_peer"
STREAMS_PER_EVENT = 0.1  # as a history has customers
ISSUERS = 100
MESSAGE_DB_FOLDERS = ("schema", "types", "tables", "functions", "indexes")
WRITE_MESSAGE = "SELECT write_message($1, $2, $3, $4)"
CREATE_DOUBLE_ENTRY = """
    CREATE TABLE accounts (
        account_id bigint PRIMARY KEY, balance numeric NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT 0,
        updated_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE transfers (
        transfer_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, transfer_key bytea NOT NULL UNIQUE,
        from_account bigint NOT NULL REFERENCES accounts, to_account bigint NOT NULL REFERENCES accounts,
        amount numeric NOT NULL CHECK (amount > 0), created_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE entries (
        entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        transfer_id bigint NOT NULL REFERENCES transfers, account_id bigint NOT NULL REFERENCES accounts,
        amount numeric NOT NULL, balance_before numeric NOT NULL, balance_after numeric NOT NULL,
        version bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON entries (account_id, version);
    CREATE INDEX ON entries (transfer_id);
    CREATE FUNCTION transfer(key bytea, payer bigint, payee bigint, points numeric) RETURNS bigint
    LANGUAGE plpgsql AS $$
    DECLARE
        number bigint;
        account accounts;
        change numeric;
    BEGIN
        INSERT INTO transfers (transfer_key, from_account, to_account, amount) VALUES (key, payer, payee, points)
            ON CONFLICT (transfer_key) DO NOTHING RETURNING transfer_id INTO number;
        IF number IS NULL THEN
            RETURN NULL;
        END IF;
        FOR account IN
            SELECT * FROM accounts WHERE account_id IN (payer, payee) ORDER BY account_id FOR UPDATE
        LOOP
            change := CASE WHEN account.account_id = payer THEN -points ELSE points END;
            UPDATE accounts SET balance = balance + change, version = version + 1, updated_at = now()
             WHERE account_id = account.account_id;
            INSERT INTO entries (transfer_id, account_id, amount, balance_before, balance_after, version)
            VALUES (number, account.account_id, change, account.balance, account.balance + change, account.version + 1);
        END LOOP;
        RETURN number;
    END $$;
"""
CREATE_ACCOUNTS = "INSERT INTO accounts (account_id) SELECT generate_series(1, $1::bigint)"
TRANSFER = "SELECT transfer($1, $2, $3, $4)"


def without_repeats(deliveries: Sequence[SentDelivery]) -> list[SentDelivery]:
    """Return each body once: `write_message` refuses the transaction of a known key."""
    return list({_key(source, body): SentDelivery(source, body) for source, body in deliveries}.values())


async def append_by_message_db(dsn: str, deliveries: Sequence[SentDelivery], folder: Path) -> float:
    """Store each body as a message of one of many streams. Return the messages per second."""
    streams = max(1, int(len(deliveries) * STREAMS_PER_EVENT))
    async with _new_database(dsn) as connection:
        await connection.execute("SET check_function_bodies = off")  # so that their order does not matter
        await connection.execute("SET search_path = message_store, public")
        for name in MESSAGE_DB_FOLDERS:
            for file in sorted((folder / name).glob("*.sql")):
                await connection.execute(file.read_text())
        return await _call(
            connection,
            WRITE_MESSAGE,
            [
                (str(UUID(bytes=_key(source, body))), f"delivery-{number % streams}", source, body.decode())
                for number, (source, body) in enumerate(deliveries)
            ],
        )


async def transfer_by_double_entry(dsn: str, deliveries: Sequence[SentDelivery]) -> float:
    """Transfer points for each body from an issuer to a customer. Return the transfers per second."""
    customers = max(1, int(len(deliveries) * STREAMS_PER_EVENT))
    async with _new_database(dsn) as connection:
        await connection.execute(CREATE_DOUBLE_ENTRY)
        await connection.execute(CREATE_ACCOUNTS, ISSUERS + customers)
        return await _call(
            connection,
            TRANSFER,
            [
                (_key(source, body), 1 + number % ISSUERS, 1 + ISSUERS + number % customers, 1 + number % 500)
                for number, (source, body) in enumerate(deliveries)
            ],
        )


@asynccontextmanager
async def _new_database(dsn: str) -> AsyncIterator[PlainConnection]:
    """Create a database, and connect with the driver's own defaults: plans of statements are kept."""
    administrator = await asyncpg.connect(dsn)
    await administrator.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    await administrator.execute(f"CREATE DATABASE {DATABASE}")
    await administrator.close()
    connection = await asyncpg.connect(dsn, database=DATABASE)
    try:
        yield connection
    finally:
        await connection.close()


async def _call(connection: PlainConnection, query: str, calls: Sequence[Sequence[Any]]) -> float:
    """Call a function for each row of arguments, many in a transaction. Return the calls per second."""
    with Stopwatch() as watch:
        for start in range(0, len(calls), BLOCK):
            async with connection.transaction():
                await connection.executemany(query, calls[start : start + BLOCK])
    return len(calls) / watch.seconds


def _key(source: str, body: bytes) -> bytes:
    """Return the key by which a repeated body is known."""
    return hashlib.sha256(source.encode() + body).digest()[:16]
