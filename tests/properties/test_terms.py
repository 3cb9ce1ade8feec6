"""Invariants 5 and 6 with terms: rows do not depend on the time at which terms are recorded."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.database import Connection, connect
from ledger.store.append import append
from ledger.store.registry import Ledger, create_ledger
from projections.engine import advance
from projections.engine.digest import Digest, compute_digest
from projections.engine.worker import catch_up
from projections.rebuild import rebuild
from tests.properties.histories import histories
from tests.support.payloads import ORG, PROGRAMME, START, VAULT, delivery

RULES = (
    {"rule": "never"},
    {"rule": "fixed", "days": 2},
    {"rule": "fixed", "months": 1, "round_to_end_of": "quarter"},
    {"rule": "sliding", "days": 3},
    {"rule": "sliding", "days": 1, "activities": ["earning"]},
)
POLICIES = ({"policy": "lapse"}, {"policy": "original"}, {"policy": "grace", "grace_days": 2})


def terms_set(identifier: str, terms: dict[str, Any]) -> bytes:
    """Build the internal event."""
    programme = f"capillary:{ORG}:{PROGRAMME}"
    at = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    said = {"event": "programmeTermsSet", "id": identifier, "at": at, "programme": programme, "terms": terms}
    return json.dumps(said).encode()


@st.composite
def versions(draw: st.DrawFn, number: int) -> tuple[str, bytes]:
    """Draw one version of the programme's terms."""
    since = datetime.fromtimestamp(START / 1000, UTC) + timedelta(days=draw(st.integers(-1, 8)))
    terms = {
        "effective_from": since.date().isoformat(),
        "time_zone": draw(st.sampled_from(["UTC", "Asia/Kolkata", "America/Sao_Paulo"])),
        "expiry": draw(st.sampled_from(RULES)),
        "existing_lots": draw(st.booleans()),
        "reversal_after_expiry": draw(st.sampled_from(POLICIES)),
    }
    return ("loyalty", terms_set(f"v{number}", terms))


@st.composite
def histories_with_terms(draw: st.DrawFn) -> list[tuple[str | None, bytes]]:
    """Draw a history as (source, body), with versions of terms at the end."""
    history: list[tuple[str | None, bytes]] = [(None, body) for body in draw(histories(20))]
    return [*history, *(draw(versions(number)) for number in range(draw(st.integers(1, 3))))]


async def told(connection: Connection, ledger: Ledger, history: list[tuple[str | None, bytes]], batch: int) -> Digest:
    for start in range(0, len(history), batch):
        drafts = [delivery(body, source, ledger.name) for source, body in history[start : start + batch]]
        await append(connection, VAULT, ledger.ledger_id, drafts)
        await advance.advance(connection, ledger.ledger_id)
    await catch_up(connection, ledger.ledger_id)
    return await compute_digest(connection, ledger.ledger_id)


@given(data=st.data())
async def test_terms_set_early_late_or_in_between_give_the_same_rows(
    connection: Connection, data: st.DataObject
) -> None:
    history = data.draw(histories_with_terms())
    shuffled = data.draw(st.permutations(history))
    number = await connection.fetchval("SELECT count(*) FROM ledger.ledgers")
    straight = await create_ledger(connection, f"straight-{number}")
    mixed = await create_ledger(connection, f"mixed-{number}")

    in_order = await told(connection, straight, history, 1_000)
    in_any_order = await told(connection, mixed, shuffled, data.draw(st.integers(1, 5)))

    assert in_any_order == in_order
    assert await connection.fetchval("SELECT count(*) FROM subjects WHERE parked IS NOT NULL") == 0


@settings(max_examples=5)
@given(data=st.data())
async def test_rows_under_terms_can_be_rebuilt(connection: Connection, dsn: str, data: st.DataObject) -> None:
    number = await connection.fetchval("SELECT count(*) FROM ledger.ledgers")
    ledger = await create_ledger(connection, f"ledger-{number}")
    live = await told(connection, ledger, data.draw(st.permutations(data.draw(histories_with_terms()))), 3)

    assert (await rebuild(dsn)).differing == {}

    fresh = await connect(dsn)
    assert await compute_digest(fresh, ledger.ledger_id) == live
    await fresh.close()
