"""Records internal events. They are appended like any other event, so a replay includes them.

An operation is planned first: its checks are made, and its event is built. Recording appends the event of the plan. A
dry run folds the same event instead (preview.py).

A vendor's event is stored even if it cannot be read. An internal event is interpreted before it is appended: without
facts it is refused, because nobody could reverse it.
"""

import secrets
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import orjson

from ledger import clock
from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.events import Delivery, Origin
from ledger.intake.identify import identify
from ledger.intake.interpret import interpret
from ledger.privacy.vault import Vault
from ledger.store.append import append
from ledger.store.registry import Ledger
from ledger.vendors.internal import SOURCE
from projections.queries.preview import FactChange

CONNECTION = "-"  # internal events have no connection

R = TypeVar("R", bound=Any)  # a NamedTuple with a position


class Planned(NamedTuple, Generic[R]):
    """An operation that is checked but not recorded: its result so far, and the event to append.

    `delivery` is None if there is nothing to append, for example because the operation was done before. `change` holds
    facts that change beside those of the event.
    """

    result: R
    delivery: Delivery | None = None
    change: FactChange = FactChange()


async def record_plan(connection: Connection, vault: Vault, ledger: Ledger, planned: Planned[R]) -> R:
    """Append the event of a plan. Return its result with the position. Without an event the result is returned as it
    is.
    """
    if planned.delivery is None:
        return planned.result
    position = await record_delivery(connection, vault, ledger, planned.delivery)
    result: R = planned.result._replace(position=position)
    return result


async def record_event(connection: Connection, vault: Vault, ledger: Ledger, kind: str, **fields: Any) -> int:
    """Append an internal event that occurs now. Return its position.

    `fields` is JSON; author and reason in it are encrypted. Raises RequestInvalid if the event cannot be interpreted.
    """
    return await record_delivery(connection, vault, ledger, build_event(vault, ledger, kind, **fields))


async def record_delivery(connection: Connection, vault: Vault, ledger: Ledger, delivery: Delivery) -> int:
    """Append an internal event that `build_event` built. Return its position."""
    [[appended]] = await append(connection, vault, ledger.ledger_id, [delivery])
    return appended.position


def build_event(vault: Vault, ledger: Ledger, kind: str, identifier: str | None = None, **fields: Any) -> Delivery:
    """Build an internal event that occurs now. Without an identifier it gets a random one.

    Raises RequestInvalid if the event could be stored but not interpreted. Examples: a NUL character, an invalid number
    or day.
    """
    now = clock.now()
    delivery = _identify_event(vault, ledger, kind, identifier or secrets.token_hex(16), now, fields)
    for event in delivery.as_stored(now):
        interpretation = interpret(event)
        if interpretation.status is not None:
            raise RequestInvalid(interpretation.reason)
    return delivery


def event_key_of(vault: Vault, ledger: Ledger, kind: str, identifier: str) -> bytes:
    """Return the event key of an internal event. It does not depend on the content."""
    return _identify_event(vault, ledger, kind, identifier, clock.now(), {}).events[0].event_key


def _identify_event(
    vault: Vault, ledger: Ledger, kind: str, identifier: str, now: datetime, fields: dict[str, Any]
) -> Delivery:
    written = orjson.dumps({"event": kind, "id": identifier, "at": now.isoformat(), **fields})
    if b"\\u0000" in written:
        raise RequestInvalid("a text must not contain a NUL character")
    return identify(Origin(ledger.name, CONNECTION, SOURCE, None, vault.body_hash_key(ledger.ledger_id)), written)
