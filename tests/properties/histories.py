"""Random histories of a few customers: facts that move points, in any order."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.support import payloads as d

CUSTOMERS = (1, 2, 3)
KINDS = ("issued", "redeemed", "reversed", "returned", "sent", "received", "expired", "merged", "issued", "redeemed")
# Numbers that drivers and encoders may write in another form: 1E+4, 1E-6.
FIGURES = (10_000, 20_000, 5_000_000, Decimal("1E+7"), Decimal("0.000001"), Decimal("3011.50"))
DAYS = ("", "2023-11-15", "2023-11-20", "2024-01-31", "2099-12-31")


@st.composite
def event(draw: st.DrawFn, number: int) -> bytes:
    """Draw one event. Few customers, bills, redemptions and times exist, so that events collide."""
    identifier = f"e{draw(st.sampled_from([number, number, number, max(0, number - 1)]))}"  # sometimes in conflict
    at = draw(st.integers(0, 8)) * 86_400 + draw(st.integers(0, 2))
    customer = draw(st.sampled_from(CUSTOMERS))
    other = draw(st.sampled_from([one for one in CUSTOMERS if one != customer]))
    points: Any = draw(st.one_of(st.integers(1, 300), st.integers(1, 300), st.sampled_from(FIGURES)))
    name = draw(st.integers(0, 3))
    kind = draw(
        st.sampled_from(
            [
                "issued",
                "issued",
                "issued",
                "redeemed",
                "redeemed",
                "reversed",
                "returned",
                "sent",
                "received",
                "expired",
                "merged",
                "adjusted",
                "taken back",
            ]
        )
    )
    claimed = {"programCurrentPoints": points + 50, "programLifetimePoints": 2 * points}
    claim = draw(st.sampled_from([{}, {}, claimed]))
    match kind:
        case "issued":
            lapses = draw(st.sampled_from(DAYS))
            promised = [{"promisedPoints": 7, "promisedPointsConversionDate": "2024-02-01"}] if name == 3 else []
            return d.issued(
                identifier, at, customer, points, bill=f"{name}", lapses=lapses, promisedPointsIssued=promised, **claim
            )
        case "redeemed":
            snapshot = {"programCurrentPoints": 40} if claim else {}
            return d.redeemed(identifier, at, customer, points, f"r{name}", **snapshot)
        case "reversed":
            details = draw(
                st.sampled_from([{}, {"available": points, "expired": 0}, {"available": 0, "expired": points}])
            )
            return d.redemption_reversed(identifier, at, customer, points, f"r{name}", **details)
        case "returned":
            return d.returned(identifier, at, customer, points, f"{name}")
        case "sent":
            return d.sent(identifier, at, customer, points, other, f"t{name}")
        case "received":
            return d.received(identifier, at, customer, points, other, f"t{name}")
        case "adjusted":
            return d.adjusted(f"a{name}", at, customer, points - 150, adopted=points % 2 == 0)
        case "taken back":
            return d.adjustment_reversed(f"a{name}", at, customer)
        case "merged":
            return d.merged(identifier, at, customer, other)
        case _:
            return d.expired(identifier, at, customer, points)


@st.composite
def histories(draw: st.DrawFn, events_max: int = 30) -> list[bytes]:
    """Draw the bodies of a history. All events differ."""
    count = draw(st.integers(1, events_max))
    return [draw(event(number)) for number in range(count)]
