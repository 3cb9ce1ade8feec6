"""A preview equals the later effect, and changes nothing: operations, terms, policies and deliveries."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import clock
from ledger.database import Connection
from ledger.errors import NothingToAdopt, PeriodNotClosable, RequestInvalid, SubjectUnknown
from ledger.events import Delivery
from ledger.intake.interpret import interpret_all
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.store.append import append
from ledger.store.read import tail
from ledger.store.registry import Ledger, create_ledger
from projections.engine.conflict_policies import follow_policies
from projections.engine.conflicts import POLICIES
from projections.engine.digest import EXCLUDED_COLUMNS, is_position_column
from projections.engine.worker import catch_up
from projections.queries.account_history import snapshot
from projections.registry import PROJECTIONS
from service.finance.period_close import plan_close
from service.operations.adjust import Author, plan_adjustment, plan_reversal
from service.operations.conflict_policy import plan_with_facts
from service.operations.erase import erase, plan_erasure
from service.operations.preview import Preview, preview_change, preview_operation, resolve_events
from service.operations.programme_terms import plan_terms
from service.operations.record import Planned, record_plan
from service.operations.unmerge import plan_unmerge
from tests.properties.histories import event, histories
from tests.properties.test_terms import RULES
from tests.support.payloads import ORG, PROGRAMME, VAULT, delivery, issued, samples

ANN = Author("key x", "Jane Roe", "a letter")
TABLES = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND (n.nspname = ANY (current_schemas(false)) OR n.nspname IN ('ledger', 'projections'))
     ORDER BY 1
"""
DRIFTING = "SELECT account_id FROM accounts WHERE ledger_id = $1 AND (drift <> 0 OR missing <> 0)"
MERGED = "SELECT subject FROM customers WHERE ledger_id = $1 AND merged_into IS NOT NULL"
ADJUSTED = "SELECT account_id, adjustment FROM adjustments WHERE ledger_id = $1 AND reversed_at IS NULL"
UNTIMED = "SELECT subject FROM subjects WHERE ledger_id = $1 AND untimed"
FEASIBLE = ("points", "expiring points", "adoption", "reversal", "terms", "policy", "unmerge", "close")

Rows = dict[tuple[Any, ...], Mapping[str, Any]]


class Tried(NamedTuple):
    """An operation, ready to be planned and recorded."""

    plan: Callable[[], Awaitable[Planned[Any]]]


async def fingerprint(connection: Connection) -> dict[str, str]:
    """Return a hash of each table of the ledger and of the generation."""
    tables = [row[0] for row in await connection.fetch(TABLES)]
    query = " UNION ALL ".join(
        f"SELECT '{name}', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {name} t"  # noqa: S608
        for name in tables
    )
    return {row[0]: row[1] for row in await connection.fetch(query)}


async def rows_of(connection: Connection, ledger_id: int) -> Rows:
    """Return all projected rows of a ledger by table and key, without positions."""
    found: Rows = {}
    for projection in PROJECTIONS:
        for table in projection.tables:
            names = ", ".join(f'"{name}"' for name in ("subject", *table.columns))
            for row in await connection.fetch(f"SELECT {names} FROM {table.name} WHERE ledger_id = $1", ledger_id):  # noqa: S608
                place = () if table.unique_key else (row["subject"],)
                found[(table.name, *place, *(row[name] for name in table.key))] = without_positions(row)
    return found


def without_positions(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in row.items() if not is_position_column(name) and name not in EXCLUDED_COLUMNS}


async def timed(connection: Connection, ledger_id: int, rows: Rows) -> Rows:
    """Leave out the subjects that are ordered by recorded times, which no preview can know."""
    untimed = {row[0] for row in await connection.fetch(UNTIMED, ledger_id)}
    return {key: row for key, row in rows.items() if row["subject"] not in untimed}


def with_effects(rows: Rows, preview: Preview) -> Rows:
    """Apply the previewed effects to rows."""
    tables = {table.name: table for projection in PROJECTIONS for table in projection.tables}
    changed = dict(rows)
    for change in preview.rows:
        table = tables[change.table]
        row = change.after or change.before
        assert row is not None
        place = () if table.unique_key else (change.subject,)
        key = (table.name, *place, *(row[name] for name in table.key))
        if change.before is not None:
            known = without_positions({"subject": changed[key]["subject"], **change.before})
            assert changed[key] == known
        if change.after is None:
            del changed[key]
        else:
            changed[key] = without_positions({"subject": change.subject, **change.after})
    return changed


async def operation(draw: Any, connection: Connection, ledger: Ledger, kind: str) -> Tried | None:
    """Draw an operation that the ledger can record. None if it has no occasion for one."""
    of = (connection, VAULT, ledger)
    accounts = [
        row[0]
        for row in await connection.fetch("SELECT account_id FROM accounts WHERE ledger_id = $1", ledger.ledger_id)
    ]
    account = draw(st.sampled_from(accounts)) if accounts else "capillary:9001:1:77:points"
    points = Decimal(draw(st.integers(1, 400)))
    match kind:
        case "points":
            return Tried(lambda: plan_adjustment(*of, account, -points, ANN))
        case "expiring points":
            day = clock.now().date() + timedelta(days=draw(st.integers(1, 40)))
            return Tried(lambda: plan_adjustment(*of, account, points, ANN, expires_on=day))
        case "adoption":
            drifting = [row[0] for row in await connection.fetch(DRIFTING, ledger.ledger_id)]
            chosen = draw(st.sampled_from(drifting)) if drifting else account
            return Tried(lambda: plan_adjustment(*of, chosen, None, ANN))
        case "reversal":
            adjusted = await connection.fetch(ADJUSTED, ledger.ledger_id)
            if not adjusted:
                return None
            one = draw(st.sampled_from(adjusted))
            return Tried(lambda: plan_reversal(*of, one["account_id"], one["adjustment"], ANN))
        case "terms":
            terms = {
                "effective_from": draw(st.sampled_from(["2023-11-01", "2023-11-18", "2024-03-01"])),
                "time_zone": draw(st.sampled_from(["UTC", "Asia/Kolkata"])),
                "expiry": draw(st.sampled_from(RULES)),
                "existing_lots": draw(st.booleans()),
                "points_to_currency": {"ratio": "0.25", "currency": "INR"},
            }
            return Tried(lambda: plan_terms(VAULT, ledger, f"capillary:{ORG}:{PROGRAMME}", terms, by="ann"))
        case "policy":
            policy = draw(st.sampled_from(sorted(POLICIES)))
            return Tried(lambda: plan_with_facts(*of, "capillary", "pointsIssued", policy, by="ann"))
        case "unmerge":
            merged = [row[0] for row in await connection.fetch(MERGED, ledger.ledger_id)]
            return Tried(lambda: plan_unmerge(*of, draw(st.sampled_from(merged)), ANN)) if merged else None
    return Tried(lambda: plan_close(*of, "2023-12", by="ann"))


async def start(connection: Connection, bodies: list[bytes], vault: Vault = VAULT) -> Ledger:
    """Make a ledger with some deliveries."""
    number = await connection.fetchval("SELECT count(*) FROM ledger.ledgers")
    ledger = await create_ledger(connection, f"ledger-{number}")
    await append(connection, vault, ledger.ledger_id, [delivery(body, None, ledger.name) for body in bodies])
    await catch_up(connection, ledger.ledger_id)
    return ledger


async def preview_delivery(connection: Connection, ledger: Ledger, arriving: Delivery) -> Preview:
    events = arriving.as_stored(clock.now(), await tail(connection, ledger.ledger_id) + 1)
    change = await resolve_events(connection, ledger.ledger_id, events, list(interpret_all(events)))
    return await preview_change(connection, ledger.ledger_id, change)


@settings(max_examples=40)
@given(data=st.data(), kind=st.sampled_from(FEASIBLE))
async def test_the_preview_of_an_operation_is_what_then_happens(
    connection: Connection, data: st.DataObject, kind: str
) -> None:
    ledger = await start(connection, [issued("first", 0, 1, 50, bill="0"), *data.draw(histories(20))])
    tried = await operation(data.draw, connection, ledger, kind)
    if tried is None:
        return
    try:
        planned = await tried.plan()
    except (NothingToAdopt, PeriodNotClosable, RequestInvalid, SubjectUnknown):
        return

    async def plan() -> Planned[Any]:
        return planned

    stored, rows = await fingerprint(connection), await rows_of(connection, ledger.ledger_id)
    result, preview = await preview_operation(connection, ledger.ledger_id, plan(), with_liability=True)
    assert await fingerprint(connection) == stored

    recorded = await record_plan(connection, VAULT, ledger, planned)
    await follow_policies(connection, ledger.ledger_id)
    await catch_up(connection, ledger.ledger_id)
    assert recorded._replace(position=None) == result._replace(position=None)
    assert with_effects(rows, preview) == await rows_of(connection, ledger.ledger_id)
    assert not preview.parked


@settings(max_examples=15)
@given(data=st.data())
async def test_the_preview_of_a_delivery_is_what_then_happens(connection: Connection, data: st.DataObject) -> None:
    ledger = await start(connection, data.draw(histories(15)))
    arriving = delivery(data.draw(event(data.draw(st.integers(0, 15)))), None, ledger.name)

    stored, rows = await fingerprint(connection), await rows_of(connection, ledger.ledger_id)
    async with snapshot(connection):
        preview = await preview_delivery(connection, ledger, arriving)
    assert await fingerprint(connection) == stored

    await append(connection, VAULT, ledger.ledger_id, [arriving])
    await catch_up(connection, ledger.ledger_id)
    assert with_effects(rows, preview) == await rows_of(connection, ledger.ledger_id)


@pytest.mark.parametrize("source", ["capillary", "voucherify", "ascenda", "fabric"])
async def test_the_preview_of_each_published_payload_is_what_then_happens(connection: Connection, source: str) -> None:
    ledger = await start(connection, [])
    rows: Rows = {}
    for body in samples(source):
        arriving = delivery(body, source, ledger.name)
        async with snapshot(connection):
            preview = await preview_delivery(connection, ledger, arriving)
        await append(connection, VAULT, ledger.ledger_id, [arriving])
        await catch_up(connection, ledger.ledger_id)
        expected, rows = with_effects(rows, preview), await rows_of(connection, ledger.ledger_id)
        assert await timed(connection, ledger.ledger_id, expected) == await timed(connection, ledger.ledger_id, rows)


async def test_the_preview_of_an_erasure_is_what_then_happens(connection: Connection) -> None:
    vault = Vault(MasterKey(bytes(32)))  # of its own: keys are cached for each database
    ledger = await start(connection, samples("capillary"), vault)
    customers = await connection.fetch(
        "SELECT subject FROM ledger.personal_keys WHERE ledger_id = $1", ledger.ledger_id
    )
    customer = customers[0]["subject"]
    stored, rows = await fingerprint(connection), await rows_of(connection, ledger.ledger_id)

    plan = plan_erasure(connection, vault, ledger, customer, by="ann", reason="asked")
    result, preview = await preview_operation(connection, ledger.ledger_id, plan)
    assert await fingerprint(connection) == stored

    erased = await erase(connection, vault, ledger, customer, by="ann", reason="asked")
    await catch_up(connection, ledger.ledger_id)
    assert erased._replace(position=None) == result
    assert erased.position is not None
    assert result.destroyed >= 1
    assert with_effects(rows, preview) == await rows_of(connection, ledger.ledger_id)
