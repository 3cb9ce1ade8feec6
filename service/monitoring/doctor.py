"""Examine an installation: database, schema, roles, keys, signer, disks, clock, and the conditions of the alerts.

Nothing is changed: no key is made, no schema migrated, no event appended.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple

import asyncpg

from ledger.credentials import is_usable
from ledger.database import CONNECTION_LOST, Connection, connect
from ledger.errors import LedgerError, RoleTooPowerful, SchemaOutdated, SchemaUnsupported, SetupWrong
from ledger.store.registry import list_connections, list_ledgers
from ledger.store.row_macs import check_row_macs
from ledger.transparency import tree_heads
from service.environment import MASTER_KEY_FILE, Environment
from service.monitoring import samples
from service.monitoring.conditions import find_problems
from service.monitoring.database_gauges import disk_samples
from service.monitoring.list_gauges import read_list_gauges
from service.monitoring.position_gauges import read_position_gauges
from service.monitoring.samples import Sample
from service.postgres_versions import check_version
from service.startup_checks import check_replication, check_role, check_schema

STATEMENT_SECONDS_MAX = 30.0
LISTS_SECONDS_MAX = 120.0
CONNECTIONS_SHOWN_MAX = 20

Status = Literal["ok", "warning", "problem"]


class Diagnosis(NamedTuple):
    """The result of one check: a sentence, and what to do about it."""

    check: str
    status: Status
    sentence: str
    act: str = ""


Check = Callable[[Environment, Connection], Coroutine[Any, Any, list[Diagnosis]]]


async def examine(environment: Environment) -> list[Diagnosis]:
    """Run all checks. Without a database, or with another schema, those that need it are left out."""
    found = _check_disks(environment)
    try:
        async with _connection(environment) as connection:
            found = [*await _check_database(environment, connection), *found]
            if found[0].status != "problem" and all(one.check != "schema" or one.status == "ok" for one in found):
                for check in (_check_roles, _check_keys, _check_signer, _check_conditions):
                    found += await _run(check, environment, connection)
    except (*CONNECTION_LOST, ValueError, asyncpg.PostgresError) as error:
        act = "Start PostgreSQL, or correct DATABASE_URL: its host, port, database, login and password."
        reason = type(error).__name__
        return [
            Diagnosis("database", "problem", f"{_capital(str(environment))} does not answer: {reason}.", act),
            *found,
        ]
    return found


@asynccontextmanager
async def _connection(environment: Environment) -> AsyncIterator[Connection]:
    connection = await connect(environment.dsn, statement_seconds=STATEMENT_SECONDS_MAX)
    try:
        yield connection
    finally:
        await connection.close()


async def _run(check: Check, environment: Environment, connection: Connection) -> list[Diagnosis]:
    """Run one check. An error of it is a result too: the other checks follow."""
    name = check.__name__.removeprefix("_check_")
    try:
        return await check(environment, connection)
    except LedgerError as error:
        return [Diagnosis(name, "problem", str(error))]
    except asyncpg.InsufficientPrivilegeError:
        act = "Log in as a member of loyalty_service, or run `loyalty roles apply` as the database's owner."
        return [Diagnosis(name, "problem", "The role of the database may not read what this check needs.", act)]


async def _check_database(environment: Environment, connection: Connection) -> list[Diagnosis]:
    """Check the server's version, its replication, and the schema."""
    found = []
    try:
        warning = await check_version(connection, embedded=environment.embedded)
    except SetupWrong as error:
        return [Diagnosis("database", "problem", str(error), "Upgrade PostgreSQL.")]
    if warning is None:
        found.append(Diagnosis("database", "ok", f"{_capital(str(environment))} answers and is up to date."))
    else:
        found.append(Diagnosis("database", "warning", warning, "Install the newest minor release."))
    warning = await check_replication(connection)
    if warning is not None:
        found.append(Diagnosis("replication", "warning", warning, "Set `synchronous_standby_names`."))
    try:
        await check_schema(environment.dsn)
    except SchemaOutdated as error:
        act = "Run `loyalty migrate` as the database's owner."
        found.append(Diagnosis("schema", "problem", str(error), act))
    except SchemaUnsupported as error:
        act = "Use the version of this software that made it, or move the ledgers: see the guide on operations."
        found.append(Diagnosis("schema", "problem", str(error), act))
    else:
        found.append(Diagnosis("schema", "ok", "The schema is that of this version."))
    return found


async def _check_roles(environment: Environment, _connection: Connection) -> list[Diagnosis]:
    if environment.embedded:
        return [Diagnosis("roles", "warning", "The embedded PostgreSQL has one login, which owns the ledger.",
                          "Use a PostgreSQL of your own in production.")]  # fmt: skip
    try:
        await check_role(environment.dsn)
    except RoleTooPowerful as error:
        act = "Log in as a member of loyalty_service only: `loyalty roles login` creates such a role."
        return [Diagnosis("roles", "problem", str(error), act)]
    return [Diagnosis("roles", "ok", "The role of the service can neither change nor remove an event.")]


async def _check_keys(environment: Environment, connection: Connection) -> list[Diagnosis]:
    """Check that the master key fits the configuration, and that each connection can authenticate a delivery."""
    settings = environment.settings
    if settings.master_key is None and not (settings.data / MASTER_KEY_FILE).exists():
        act = "Set LOYALTY_MASTER_KEY_FILE or LOYALTY_MASTER_KEY to the key with which connections were created."
        return [Diagnosis("keys", "problem", "No master key is configured.", act)]
    found = []
    for ledger in await list_ledgers(connection):
        macs = await check_row_macs(connection, environment.master_key, ledger.ledger_id)
        act = "Restore the master key of this database. If the row was changed by SQL, create it again."
        found += [Diagnosis("keys", "problem", f"{_capital(one)}.", act) for one in macs.wrong[:CONNECTIONS_SHOWN_MAX]]
        if macs.wrong:
            continue
        for inbound in await list_connections(connection, environment.master_key, ledger):
            if inbound.disabled_at is None and not any(is_usable(inbound.scheme, one) for one in inbound.secrets):
                sentence = f"No delivery can be authenticated over connection {inbound.connection_id}."
                found.append(Diagnosis("keys", "problem", sentence, "Run `loyalty connection rotate`."))
    return found or [Diagnosis("keys", "ok", "The master key fits the API keys and connections of all ledgers.")]


async def _check_signer(environment: Environment, connection: Connection) -> list[Diagnosis]:
    """Check that this process could continue the signed heads, and that the last attempt to sign succeeded."""
    found = []
    signer = environment.signer
    for ledger in await list_ledgers(connection):
        problem = await tree_heads.current_seal_problem(connection, ledger.ledger_id)
        if problem is not None:
            act = "Mount the signer's folder where the projector runs. Use `loyalty seal --adopt` only if it is lost."
            found.append(Diagnosis("signer", "problem", f"Ledger {ledger.name} is not signed: {problem.detail}.", act))
        signed = await tree_heads.latest_checkpoint(connection, ledger.ledger_id)
        if signed is not None and signer.last_head(ledger.name) is None:
            sentence = f"The folder {signer.folder} is not that of the signer of ledger {ledger.name}."
            act = "On the machine of `loyalty project`, mount the folder and name it in LOYALTY_SIGNER."
            found.append(Diagnosis("signer", "warning", sentence, act))
    return found or [Diagnosis("signer", "ok", f"The folder {signer.folder} holds the signer of all ledgers.")]


def _check_disks(environment: Environment) -> list[Diagnosis]:
    found = list(disk_samples(environment.settings))
    problems = _diagnoses(found)
    if problems or not found:
        return problems
    free = ", ".join(
        f"{sample.labels[0]} {sample.value / 2**30:.1f} GiB" for sample in found if sample.family is samples.DISK_FREE
    )
    return [Diagnosis("disks", "ok", f"Free: {free}. The disks of another PostgreSQL are not seen from here.")]


async def _check_conditions(environment: Environment, connection: Connection) -> list[Diagnosis]:
    """Check every condition of the alerts that is about a gauge."""
    witnesses = [witness.key.name for witness in environment.settings.witness_addresses()]
    found = await read_position_gauges(connection, witnesses)
    by_ledger = await read_list_gauges(connection, {}, LISTS_SECONDS_MAX)
    found += [sample for of_ledger in by_ledger.values() for sample in of_ledger]
    problems = _diagnoses(found)
    ledgers = sum(sample.family is samples.LEDGER_POSITION for sample in found)
    return problems or [Diagnosis("ledgers", "ok", f"{ledgers} ledgers are projected, signed and without alerts.")]


def _diagnoses(found: list[Sample]) -> list[Diagnosis]:
    return [
        Diagnosis(problem.condition.name, "problem", problem.sentence(), problem.condition.act)
        for problem in find_problems(found)
    ]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
