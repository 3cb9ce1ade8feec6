"""A ledger with something on every screen of the console: drift, a lapse, a merge, a failed item, hostile text."""

from tests.support.client import TenantClient
from tests.support.payloads import capillary, expired, issued, merged, redeemed, samples, sent

DAY = 86_400
ANN = 101  # a customer with an e-mail address, a drift, a lapse, and 500 points that were spent
BEN = 102  # merged into Ann
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


async def fill(acme: TenantClient) -> None:
    """Deliver the events, and wait until they are projected."""
    bodies = [
        capillary("customerAdded", "a0", 0, ANN, **person(ANN)),
        issued("a1", 1, ANN, 600, bill="B-1001", lapses="2024-05-31T23:59:59Z", programCurrentPoints=600),
        issued("a2", 30 * DAY, ANN, 250, bill="B-1002", programCurrentPoints=850),
        redeemed("a3", 60 * DAY, ANN, 500, "R-77"),
        sent("a4", 80 * DAY, ANN, 20, BEN, "T-1"),
        issued("a5", 90 * DAY, ANN, 40, programCurrentPoints=390),
        issued("b1", 10 * DAY, BEN, 75, bill="B-2001"),
        merged("m1", 100 * DAY, BEN, ANN),
        expired("a6", 250 * DAY, ANN, 80),
        capillary("pointsIssued", HOSTILE, 5, HOSTILE, totalPointsIssued=5, regularPointsIssued=5),
        capillary(HOSTILE, "unknown", 6, 1),
        b"\xff no JSON",
    ]
    for body in bodies:
        assert (await acme.deliver(body))[0] == 200
    for source in ("capillary", "ascenda", "voucherify", "fabric"):
        for body in samples(source):
            assert (await acme.deliver(body, source))[0] == 200
    await acme.ask_now("/v1/projections")


def person(customer: int) -> dict[str, object]:
    """Return the data that name a person."""
    instore = {"email": f"customer{customer}@example.com", "mobile": f"9190000{customer:05}"}
    return {"customerIdentifiers": {"customerId": customer, "instore": instore}}
