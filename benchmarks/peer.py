"""The peer of an import and of a rebuild: the library `eventsourcing`, as its documentation shows it.

- Import: aggregates saved in batches.
- Rebuild: one balance projection by its own ProjectionRunner. A materialised view records each event's effect and its
  tracking id in one transaction.

Its store and its view are in a database of their own on the same server.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.application import Application
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, DomainEvent, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL

from benchmarks.environment import Stopwatch

DATABASE = "peer"
EVENTS_PER_ACCOUNT = 10
ACCOUNTS_PER_SAVE = 50
SECONDS_MAX = 600.0


class Account(Aggregate):
    class Credited(Aggregate.Event):
        points: Decimal

    def __init__(self) -> None:
        self.balance = Decimal(0)

    @event(Credited)
    def credit(self, points: Decimal) -> None:
        self.balance += points


class Accounts(Application[UUID]):
    pass


class Balances(PostgresTrackingRecorder):
    def __init__(self, datastore: PostgresDatastore, **more: Any) -> None:
        super().__init__(datastore, **more)
        self.sql_create_statements.append(
            SQL("CREATE TABLE IF NOT EXISTS balances (account_id uuid PRIMARY KEY, balance numeric NOT NULL)").format()
        )

    def add(self, account_id: UUID, points: Decimal, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "INSERT INTO balances VALUES (%s, %s) ON CONFLICT (account_id) "
                "DO UPDATE SET balance = balances.balance + excluded.balance",
                (account_id, points),
            )

    def skip(self, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)


class BalanceProjection(Projection[Balances]):
    name = "balances"

    @singledispatchmethod
    def process_event(self, _event: DomainEvent, tracking: Tracking) -> None:
        self.view.skip(tracking)

    @process_event.register
    def _(self, event: Account.Credited, tracking: Tracking) -> None:
        self.view.add(event.originator_id, event.points, tracking)


def append_by_peer(dsn: str, events: int) -> float:
    """Store events with the library. Return the events per second."""
    with _accounts(dsn) as accounts, Stopwatch() as watch:
        stored, _ = _store(accounts, events)
    return stored / watch.seconds


def rebuild_by_peer(dsn: str, events: int) -> float:
    """Store events with the library and project all of them. Return the events per second of the projection."""
    with _accounts(dsn) as accounts:
        stored, last = _store(accounts, events)
    return _project(environment(dsn), stored, last)


@contextmanager
def _accounts(dsn: str) -> Iterator[Accounts]:
    """Open the library's application on a new database."""
    with psycopg.connect(dsn, autocommit=True) as administrator:
        administrator.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        administrator.execute(f"CREATE DATABASE {DATABASE}")
    accounts = Accounts(env=environment(dsn))
    try:
        yield accounts
    finally:
        accounts.close()


def environment(dsn: str) -> dict[str, str]:
    """Return the library's settings for its stores."""
    parts = conninfo_to_dict(dsn)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": DATABASE,
        "POSTGRES_HOST": str(parts["host"]),
        "POSTGRES_PORT": str(parts["port"]),
        "POSTGRES_USER": str(parts["user"]),
        "POSTGRES_PASSWORD": str(parts["password"]),
    }


def _store(accounts: Accounts, events: int) -> tuple[int, int]:
    """Save accounts with some events each, many in one transaction. Return the number of events and the last id."""
    stored = last = 0
    while stored < events:
        opened = [Account() for _ in range(ACCOUNTS_PER_SAVE)]
        for account in opened:
            for points in range(1, EVENTS_PER_ACCOUNT):
                account.credit(Decimal(points))
        last = max(recording.notification.id for recording in accounts.save(*opened))
        stored += len(opened) * EVENTS_PER_ACCOUNT
    return stored, last


def _project(env: dict[str, str], stored: int, last: int) -> float:
    with (
        Stopwatch() as watch,
        ProjectionRunner(
            application_class=Accounts, projection_class=BalanceProjection, view_class=Balances, env=env
        ) as runner,
    ):
        runner.wait(last, timeout=SECONDS_MAX)
    return stored / watch.seconds
