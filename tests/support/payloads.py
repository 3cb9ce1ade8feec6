"""Deliveries for tests: the published samples, and bodies of Capillary's points events from a few arguments."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from ledger.events import Delivery, Origin
from ledger.intake.identify import identify
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault

VAULT = Vault(MasterKey(bytes(range(32))))
SAMPLES = Path(__file__).parents[1] / "samples"
ORG = 9001
PROGRAMME = 77
INTERNAL_EVENT_START = b'{"event": '
START = 1_700_000_000_000  # 2023-11-14


def samples(source: str) -> list[bytes]:
    """Read every published payload of a source, in the order of their names."""
    return [path.read_bytes() for path in sorted((SAMPLES / source).glob("*.json")) if ".facts." not in path.name]


def sample(source: str, name: str) -> bytes:
    """Read one published payload."""
    return (SAMPLES / source / f"{name}.json").read_bytes()


def delivery(body: bytes, source: str | None = None, ledger: str = "acme", kind: str | None = None) -> Delivery:
    """Identify a body as the webhook does. Without a source it is Capillary's, or an internal event."""
    source = source or ("loyalty" if body.startswith(INTERNAL_EVENT_START) else "capillary")
    return identify(Origin(ledger, "connection-1", source, kind, b"mask"), body)


def capillary(name: str, identifier: str, at: int, customer: int | str, /, **data: Any) -> bytes:
    """Return the body of a Capillary event: `at` in seconds after START, `data` in Capillary's fields."""
    body = {
        "eventName": name,
        "eventId": identifier,
        "orgId": ORG,
        "createdAt": START + at * 1000,
        "loyaltyEventId": data.pop("loyaltyEventId", f"L{identifier}"),
        "data": {
            "customerIdentifiers": {"customerId": customer},
            "entityInformation": {"entityType": "USER", "entityId": customer},
            "loyaltyProgramId": PROGRAMME,
            **data,
        },
    }
    return json.dumps(body, default=_number).encode()


def _number(value: Any) -> Any:
    assert isinstance(value, Decimal)
    return float(value) if value % 1 else int(value)


def activity(**identifiers: str) -> dict[str, Any]:
    """Return a triggering activity with identifiers."""
    return {
        "name": "TransactionAdd",
        "identifiers": [{"key": key, "value": value} for key, value in identifiers.items()],
    }


def issued(
    identifier: str, at: int, customer: int, points: int, *, bill: str = "", lapses: str = "", **more: Any
) -> bytes:
    """Points issued in one lot; `more` adds to the data, for example a claim programCurrentPoints."""
    lot: dict[str, Any] = {"points": points, **({"expiryAt": lapses} if lapses else {})}
    return capillary(
        "pointsIssued",
        identifier,
        at,
        customer,
        totalPointsIssued=points,
        regularPointsIssued=points,
        regularPointsBreakup=[lot],
        triggeringActivity=activity(billId=bill) if bill else {},
        **more,
    )


def redeemed(identifier: str, at: int, customer: int, points: int, redemption: str = "", **more: Any) -> bytes:
    """Points redeemed from the one programme."""
    share = {"programId": PROGRAMME, "pointsRedeemed": points, **more}
    return capillary(
        "pointsRedeemed",
        identifier,
        at,
        customer,
        totalPointsRedeemed=points,
        redemptionFromEarningPrograms=[share],
        triggeringActivity=activity(redemptionId=redemption or f"R{identifier}"),
    )


def redemption_reversed(identifier: str, at: int, customer: int, points: int, redemption: str, **details: int) -> bytes:
    """A reversed redemption; `details` are available= and expired=, the vendor's split."""
    return capillary(
        "redeemedPointsReversed",
        identifier,
        at,
        customer,
        redeemedPointsReversed=points,
        **({"redeemedPointsReversedDetails": details} if details else {}),
        triggeringActivity=activity(redemptionId=redemption),
    )


def returned(identifier: str, at: int, customer: int, points: int, bill: str) -> bytes:
    """The points of a returned bill taken back."""
    return capillary(
        "issuedPointsReversed",
        identifier,
        at,
        customer,
        totalIssuedPointsReversed=points,
        currentEventTotalPointsReturned=points,
        triggeringActivity=activity(billId=bill),
    )


def sent(identifier: str, at: int, customer: int, points: int, to: int, transfer: str) -> bytes:
    """The sender's half of a transfer."""
    return capillary(
        "pointsTransferredInitiated",
        identifier,
        at,
        customer,
        loyaltyEventId=transfer,
        totalPointsTransferred=points,
        transferReceivingCustomerIdentifiers={"customerId": to},
        redemptionFromEarningPrograms=[{"programId": PROGRAMME, "pointsRedeemed": points}],
    )


def received(identifier: str, at: int, customer: int, points: int, sender: int, transfer: str) -> bytes:
    """The receiver's half of a transfer."""
    return capillary(
        "pointsTransferredReceived",
        identifier,
        at,
        customer,
        loyaltyEventId=transfer,
        totalPointsTransferred=points,
        transferInitiatingCustomerIdentifiers={"customerId": sender},
    )


def merged(identifier: str, at: int, victim: int, survivor: int) -> bytes:
    """A merge of two customers; the vendor gives it no event id."""
    body = {
        "eventName": "loyaltyCustomerMerge",
        "orgId": ORG,
        "refId": f"{ORG}_{identifier}",
        "createdAt": START + at * 1000,
        "data": {
            "survivorCustomerIdentifiers": {"customerId": survivor},
            "victimCustomerIdentifiers": {"customerId": victim},
        },
    }
    return json.dumps(body).encode()


def expired(identifier: str, at: int, customer: int, points: int) -> bytes:
    """Points reported as expired."""
    return capillary("pointsExpired", identifier, at, customer, pointsExpired=points)


def adjusted(adjustment: str, at: int, customer: int, points: int, *, adopted: bool = False) -> bytes:
    """An adjustment: an internal event."""
    return _internal_event("adjustmentMade", adjustment, at, customer, points=str(points), adopted=adopted)


def adjustment_reversed(adjustment: str, at: int, customer: int) -> bytes:
    """A reversed adjustment: an internal event."""
    return _internal_event("adjustmentReversed", adjustment, at, customer)


def _internal_event(name: str, identifier: str, at: int, customer: int, **data: Any) -> bytes:
    ref = f"capillary:{ORG}:{customer}"
    where = {"holder": ref, "programme": str(PROGRAMME), "unit": "points", "customer": ref}
    body = {"event": name, "id": identifier, "at": str(START + at * 1000), **where, **data}
    return json.dumps({**body, "author": "Jane Roe", "reason": "a letter"}).encode()
