"""Bodies of deliveries of the simulated programme, in the vendors' formats.

Members have their own organisation and programme, so that figures of the published samples stay apart.
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

ORG, PROGRAMME = 204_500, 12
PROGRAMME_NAME = "Meridian Club"
TIERS = ("Silver", "Gold", "Platinum")  # numbered from 1
WELCOME_SERIES = {"id": 7001, "description": "Welcome: 5 off", "seriesType": "LOYALTY", "discount_type": "ABS"}
PROGRAMME_DETAILS = {
    "id": PROGRAMME,
    "name": PROGRAMME_NAME,
    "isDefault": True,
    "pointsToCurrencyRatio": 0.01,
    "tiers": [{"tierNumber": number, "tierName": name} for number, name in enumerate(TIERS, 1)],
}


class Person(NamedTuple):
    """A member as the vendor names them. All people are invented."""

    customer: int
    first_name: str
    last_name: str
    email: str

    def identifiers(self) -> dict[str, Any]:
        instore = {
            "email": self.email,
            "mobile": f"4670{self.customer:07}",
            "externalId": f"MC-{self.customer:06}",
        }
        return {"customerId": self.customer, "loyaltyType": "loyalty", "instore": instore}


class SimulatedDelivery(NamedTuple):
    """One delivery: the time at which its vendor sends it, its source, and its body."""

    at: datetime
    source: str
    body: bytes


def milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def capillary(
    name: str, event_id: str, at: datetime, data: Mapping[str, Any], *, loyalty_event: str = ""
) -> SimulatedDelivery:
    """Return a delivery of Capillary. Both halves of a transfer have one `loyalty_event`."""
    document = {
        "eventName": name,
        "eventId": event_id,
        "orgId": ORG,
        "refId": f"{ORG}_{event_id[:8]}",
        "createdAt": milliseconds(at),
        "loyaltyEventId": loyalty_event or f"L{event_id[:8]}",
        "data": data,
    }
    return SimulatedDelivery(at, "capillary", json.dumps(document, default=_number).encode())


def _number(points: Any) -> int | float:
    assert isinstance(points, Decimal)
    return float(points) if points % 1 else int(points)


def points_data(person: Person, **more: Any) -> dict[str, Any]:
    """Return the data of each event about a member's points or tier."""
    return {
        "customerIdentifiers": person.identifiers(),
        "entityInformation": {"entityType": "USER", "entityId": person.customer},
        "loyaltyProgramDetails": PROGRAMME_DETAILS,
        "loyaltyProgramId": PROGRAMME,
        **more,
    }


def activity(name: str, **identifiers: object) -> dict[str, Any]:
    """Return the activity that triggered an event, with its identifiers."""
    return {
        "name": name,
        "identifiers": [{"key": key, "value": str(value)} for key, value in identifiers.items()],
        "additionalAttributes": [],
    }


def store_data(store: str) -> dict[str, Any]:
    code = store.lower().replace(" ", ".")
    return {"id": 9001, "till": {"code": f"{code}.1", "name": f"{code}.1"}, "store": {"code": code, "name": store}}


def coupon_data(person: Person, coupon: int, issued: datetime, last_day: date) -> dict[str, Any]:
    """Return the data of a welcome coupon that was issued."""
    valid_till = milliseconds(datetime(last_day.year, last_day.month, last_day.day, 23, 59, 59, tzinfo=UTC))
    one = {
        "id": coupon,
        "code": f"WELCOME{coupon % 1_000_000:06}",
        "valid_till": valid_till,
        "issued_on": milliseconds(issued),
        "customerIdentifiers": {"customerId": person.customer},
    }
    series = {**WELCOME_SERIES, "discount_value": 5}
    return {"addedAt": milliseconds(issued), "coupons": [one], "series_info": series, "issualType": "SINGLE"}


def coupon_redemption_data(person: Person, coupon: int, at: datetime, redemption: int, bill: str) -> dict[str, Any]:
    return {
        "addedAt": milliseconds(at),
        "coupon": {
            "id": coupon,
            "code": f"WELCOME{coupon % 1_000_000:06}",
            "redemptionId": redemption,
            "redemptionDate": milliseconds(at),
            "series_info": {**WELCOME_SERIES, "discount_value": 5},
        },
        "customerIdentifiers": {"customerId": person.customer},
        "transaction": {"bill_id": 0, "number": bill},
    }


def order_item(
    event_id: str, at: datetime, outcome: str, item: str, points: int, partner: str, user: str, *, error: str = ""
) -> SimulatedDelivery:
    """Return a delivery of Ascenda about an item that was ordered with points."""
    placed = f"{at:%Y-%m-%dT08:00:00.000Z}"
    now = f"{at:%Y-%m-%dT%H:%M:%S.000Z}"
    document = {
        "event_id": event_id,
        "event_type": f"order_item.fulfillment.{outcome}",
        "source_type": "system",
        "created_at": now,
        "order_item": {
            "id": item,
            "type": "points_transfer_order_item",
            "status": "fulfilled" if outcome == "confirmed" else outcome,
            "quantity": 1,
            "points_paid": points,
            "points_amount": points,
            "description": f"{points:,} {partner}",
            "data": {"program_name": partner, "loyalty_program_id": f"partner-{partner.split()[0].lower()}"},
            "error_message": error or None,
            "errors": [{"code": "PARTNER", "message": error}] if error else [],
            "created_at": placed,
            "updated_at": now,
        },
        "order": {"id": f"order-{item}", "status": "completed", "user_id": user, "points_paid": points,
                  "created_at": placed, "updated_at": now},
        "metadata": {},
    }  # fmt: skip
    return SimulatedDelivery(at, "ascenda", json.dumps(document).encode())
