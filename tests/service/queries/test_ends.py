"""A coupon, a tier and a membership past their end are shown as expired in every answer."""

from tests.support.client import serving
from tests.support.payloads import START, capillary

DAY = 86_400_000
ENDS = START + 30 * DAY
BEFORE, AFTER = "2023-12-01T00:00:00Z", "2024-06-01T00:00:00Z"


def coupon() -> bytes:
    one = {"id": 903, "code": "CCC", "valid_till": ENDS, "customerIdentifiers": {"customerId": 9}}
    return capillary("CouponIssue", "i", 0, 9, coupons=[one], series_info={"id": 900, "valid_till": ENDS + 900 * DAY})


def tier() -> bytes:
    return capillary("tierUpgraded", "t", 0, 9, upgradedTierNumber=3, tierExpiryDate="2023-12-31")


async def test_a_coupon_past_its_end_is_expired_in_every_answer(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (coupon(), tier()):
            await acme.deliver(body)
        path, customer = "/v1/coupons/903", "/v1/customers/9"

        assert (await acme.ask_now(path, at=BEFORE))["status"] == "issued"
        for query in ({}, {"at": AFTER}, {"as_of_position": "2"}):
            assert (await acme.ask_now(path, **query))["status"] == "expired", query
            assert (await acme.ask_now(f"{path}/explanation", **query))["status"] == "expired", query
        for query, status in (({}, "expired"), ({"at": AFTER}, "expired"), ({"at": BEFORE}, "issued")):
            held = await acme.ask_now(customer, **query)
            assert [one["status"] for one in held["coupons"]] == [status]
            assert [one["status"] for one in held["tiers"]] == ["current" if status == "issued" else "expired"]
        tier_id = (await acme.ask_now(customer))["tiers"][0]["id"]
        standing = await acme.ask_now(f"/v1/tiers/{tier_id}")
        assert (standing["status"], standing["tier_history"][0]["status"]) == ("expired", "expired")
        assert standing["expires_at"] == "2024-01-01T00:00:00Z"


async def test_an_end_that_is_a_day_lasts_to_its_last_second(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        one = {"id": 904, "code": "DDD", "valid_till": "2023-12-31", "customerIdentifiers": {"customerId": 9}}
        await acme.deliver(capillary("CouponIssue", "i", 0, 9, coupons=[one]))
        found = await acme.ask_now("/v1/coupons/904", at="2023-12-31T23:59:59Z")
        assert (found["status"], found["valid_through"]) == ("issued", "2023-12-31")
        assert (await acme.ask_now("/v1/coupons/904", at="2024-01-01T00:00:00Z"))["status"] == "expired"
