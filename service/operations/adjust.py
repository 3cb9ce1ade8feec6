"""Adjusts a balance or reverses an adjustment, by an internal event and nothing else.

An adjustment is idempotent by its id: a repeated request with the same id changes nothing. Author and reason are
encrypted under the customer's key. The adjustment itself and the API key that made it stay readable.
"""

import re
import secrets
from collections.abc import Awaitable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from ledger import clock
from ledger.database import Connection
from ledger.decimals import format_decimal
from ledger.errors import AdjustmentDiffers, NothingToAdopt, RequestInvalid, SubjectUnknown
from ledger.facts.accounts import account_id_of
from ledger.facts.fact import quote_id
from ledger.privacy.vault import Vault
from ledger.store.append import append
from ledger.store.read import events_with_key, with_bodies
from ledger.store.registry import Ledger
from ledger.vendors.fields import LATEST_DAY
from projections.accounts import ACCOUNTS
from projections.engine.programme_terms import load_terms
from projections.programme_terms import programme_ref
from service.operations.record import Planned, build_event, event_key_of

ID = re.compile(r"[A-Za-z0-9._~:+-]{1,200}")
TEXT_CHARACTERS_MAX = 500

LOCK = "SELECT ledger.lock($1)"
ACCOUNT = """
    SELECT account_id, programme, unit, customer, claimed, drift, missing FROM accounts
     WHERE ledger_id = $1 AND account_id = $2
"""
HOLDS_ADJUSTMENT = "SELECT account_id FROM adjustments WHERE ledger_id = $1 AND account_id = $2 AND adjustment = $3"


class Author(NamedTuple):
    """Author and reason of an operation. `by` is the API key or "operator". The other two are free text and are
    encrypted.
    """

    by: str
    author: str
    reason: str

    def check(self) -> None:
        """Raise RequestInvalid if the author or the reason is empty or too long."""
        for name in ("author", "reason"):
            text = getattr(self, name)
            if not text.strip() or len(text) > TEXT_CHARACTERS_MAX:
                raise RequestInvalid(f"{name} is required, with at most {TEXT_CHARACTERS_MAX} characters")


class AdjustmentResult(NamedTuple):
    """Result of an adjustment or a reversal. `outcome` is "appended", or "duplicate" if it was made before.

    `position` is None in a dry run.
    """

    id: str
    account: str
    points: Decimal
    position: int | None
    outcome: str


async def adjust(
    connection: Connection,
    vault: Vault,
    ledger: Ledger,
    account_id: str,
    points: Decimal | None,
    author: Author,
    *,
    adjustment: str | None = None,
    expires_on: date | None = None,
) -> AdjustmentResult:
    """Add points to an account or take them away; see `plan_adjustment`."""
    plan = plan_adjustment(
        connection, vault, ledger, account_id, points, author, adjustment=adjustment, expires_on=expires_on
    )
    return await _record(connection, vault, ledger, plan)


async def plan_adjustment(
    connection: Connection,
    vault: Vault,
    ledger: Ledger,
    account_id: str,
    points: Decimal | None,
    author: Author,
    *,
    adjustment: str | None = None,
    expires_on: date | None = None,
) -> Planned[AdjustmentResult]:
    """Plan to add points to an account or to take them away. `points` None adopts the vendor's claim as projected now.
    `expires_on`, for added points, is today or later in the programme's time zone.

    Raises SubjectUnknown, RequestInvalid, NothingToAdopt; AdjustmentDiffers if the id belongs to another adjustment.
    """
    author.check()
    adjustment = _checked_id(adjustment or secrets.token_hex(16))
    if points == 0:
        raise RequestInvalid("points must not be 0")
    row = await connection.fetchrow(ACCOUNT, ledger.ledger_id, account_id)
    if row is None:
        raise SubjectUnknown(account_id)
    body = adjustment_body(row, points, author, expires_on)
    made = await _find_adjustment(connection, vault, ledger, adjustment)
    if made is not None:
        return Planned(_repeated_result(made, body))
    if points is None and not row["drift"] and not row["missing"]:
        raise NothingToAdopt(account_id)
    if expires_on is not None:
        await _check_day(connection, ledger, row, expires_on)
    delivery = build_event(vault, ledger, "adjustmentMade", adjustment, **body)
    return Planned(AdjustmentResult(adjustment, account_id, Decimal(body["points"]), None, "appended"), delivery)


async def _record(
    connection: Connection, vault: Vault, ledger: Ledger, plan: Awaitable[Planned[AdjustmentResult]]
) -> AdjustmentResult:
    """Make a plan and append its event, while nothing else is appended to the ledger."""
    async with connection.transaction():
        await connection.execute(LOCK, ledger.ledger_id)
        planned = await plan
        if planned.delivery is None:
            return planned.result
        [[appended]] = await append(connection, vault, ledger.ledger_id, [planned.delivery])
    return planned.result._replace(position=appended.position, outcome=appended.outcome)


def adjustment_body(
    account: Mapping[str, Any], points: Decimal | None, author: Author, expires_on: date | None
) -> dict[str, Any]:
    """Return the fields of the event that adjusts an account, given its row. `points` None adopts the claim."""
    suffix = f":{quote_id(account['programme'])}:{quote_id(account['unit'])}"
    return {
        "holder": account["account_id"].removesuffix(suffix),
        "programme": account["programme"],
        "unit": account["unit"],
        "customer": account["customer"],
        "points": format_decimal(account["drift"] if points is None else points),
        "adopted": points is None,
        "expires_on": expires_on and expires_on.isoformat(),
        "claimed": None if account["claimed"] is None else format_decimal(account["claimed"]),
        **_reason_text(author),
    }


async def _check_day(connection: Connection, ledger: Ledger, account: Mapping[str, Any], day: date) -> None:
    """Raise RequestInvalid if a last day is over in the programme's time zone, or is LATEST_DAY or later."""
    now = clock.now()
    terms = await load_terms(connection, ledger.ledger_id, ACCOUNTS)
    zone = terms.zone(programme_ref(account["account_id"], account["programme"]), now)
    if not now.astimezone(ZoneInfo(zone)).date() <= day < LATEST_DAY:
        raise RequestInvalid(f"expires_on must be today or later, and before {LATEST_DAY}")


async def reverse(
    connection: Connection, vault: Vault, ledger: Ledger, account_id: str, adjustment: str, author: Author
) -> AdjustmentResult:
    """Reverse an adjustment of an account; see `plan_reversal`."""
    plan = plan_reversal(connection, vault, ledger, account_id, adjustment, author)
    return await _record(connection, vault, ledger, plan)


async def plan_reversal(
    connection: Connection, vault: Vault, ledger: Ledger, account_id: str, adjustment: str, author: Author
) -> Planned[AdjustmentResult]:
    """Plan to reverse an adjustment of an account. After a merge, the account that now holds its points may be named
    too.

    Raises SubjectUnknown or RequestInvalid.
    """
    author.check()
    made = await _find_adjustment(connection, vault, ledger, _checked_id(adjustment))
    if made is None or not await _belongs_to(connection, ledger, made, account_id):
        raise SubjectUnknown(adjustment)
    where = {name: made[name] for name in ("holder", "programme", "unit", "customer")}
    delivery = build_event(vault, ledger, "adjustmentReversed", adjustment, **where, **_reason_text(author))
    before = await events_with_key(connection, ledger.ledger_id, delivery.events[0].event_key)
    points = -Decimal(made["points"])
    if before:
        return Planned(AdjustmentResult(adjustment, account_id, points, before[0].position, "duplicate"))
    return Planned(AdjustmentResult(adjustment, account_id, points, None, "appended"), delivery)


async def _find_adjustment(
    connection: Connection, vault: Vault, ledger: Ledger, adjustment: str
) -> dict[str, Any] | None:
    """Read the stored payload of an adjustment, with its position. None if it was never made."""
    events = await events_with_key(
        connection, ledger.ledger_id, event_key_of(vault, ledger, "adjustmentMade", adjustment)
    )
    async for [event] in with_bodies(connection, ledger.ledger_id, events[:1]):
        return {**msgspec.json.decode(event.payload), "position": event.position}
    return None


def _repeated_result(made: Mapping[str, Any], body: Mapping[str, Any]) -> AdjustmentResult:
    """Return the earlier result for a repeated request. Raises AdjustmentDiffers if the request differs. The claim may
    differ.
    """
    names = ["holder", "programme", "unit", "adopted", "expires_on"]
    if not made["adopted"]:
        names.append("points")
    if any(made[name] != body[name] for name in names):
        raise AdjustmentDiffers(made["id"])
    return AdjustmentResult(made["id"], _account_of(made), Decimal(made["points"]), made["position"], "duplicate")


async def _belongs_to(connection: Connection, ledger: Ledger, made: Mapping[str, Any], account_id: str) -> bool:
    if account_id == _account_of(made):
        return True
    return await connection.fetchval(HOLDS_ADJUSTMENT, ledger.ledger_id, account_id, made["id"]) is not None


def _account_of(made: Mapping[str, Any]) -> str:
    return account_id_of(made["holder"], made["programme"], made["unit"])


def _reason_text(author: Author) -> dict[str, str]:
    return {"by": author.by, "author": author.author.strip(), "reason": author.reason.strip()}


def _checked_id(adjustment: str) -> str:
    if not ID.fullmatch(adjustment):
        raise RequestInvalid("an adjustment's id must consist of letters, digits and ._~:+-, at most 200 characters")
    return adjustment
