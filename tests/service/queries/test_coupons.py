"""A coupon over HTTP: one subject under all its names; redeemed, rolled back, redeemed again."""

from tests.support.client import serving
from tests.support.payloads import ORG, capillary, sample

COUPON = "/v1/coupons/voucherify:-:v_Wn3RkB7xHc5TzQe9LmYd1VpJs8GfA2oU"


async def test_a_redemption_rolled_back_makes_the_coupon_usable_again(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("voucherify", "redemption.succeeded-2"), "voucherify")
        used = await acme.ask_now(COUPON)
        await acme.deliver(sample("voucherify", "redemption.rollback.succeeded-2"), "voucherify")
        given_back = await acme.ask_now(COUPON)

        assert (used["status"], used["redeemed_count"], used["redemptions_left"]) == ("redeemed", 1, 0)
        assert (given_back["status"], given_back["redeemed_count"], given_back["redemptions_left"]) == ("issued", 0, 1)
        before = await acme.ask_now(COUPON, at="2025-03-18T00:00:00Z")
        assert (before["status"], before["redeemed_count"]) == ("redeemed", 1)


async def test_a_coupon_is_found_by_its_id_and_by_its_code_now_and_as_of_another_time(dsn: str) -> None:
    reward = capillary(
        "rewardIssued", "w", 1, 6, rewardId=900, intouchPoints=10, intouchSeriesId="55",
        intouchRewardDetails={"intouchCouponCode": "SAME1"},
    )  # fmt: skip
    series = {"id": 55, "discount_type": "ABS", "discount_value": 500}
    one = {"id": 700, "code": "SAME1", "customerIdentifiers": {"customerId": 6}}
    issue = capillary("CouponIssue", "i", 1, 6, coupons=[one], series_info=series)
    redeem = capillary(
        "CouponRedeem", "r", 9, 6, coupon={"id": 700, "code": "SAME1", "redemptionId": 1, "series_info": series}
    )
    async with serving(dsn, "acme") as [acme]:
        for body in (reward, issue, redeem):
            await acme.deliver(body)
        names = ("700", f"capillary:{ORG}:700", f"capillary:{ORG}:code~55~SAME1")

        found = [await acme.ask_now(f"/v1/coupons/{name}") for name in names]
        known = [await acme.ask_now(f"/v1/coupons/{name}", as_of_position="3") for name in names]
        earlier = await acme.ask_now("/v1/coupons/code~55~SAME1", as_of_position="1")

        assert {(one["id"], one["status"]) for one in (*found, *known)} == {(f"capillary:{ORG}:700", "redeemed")}
        assert {len(one["history"]) for one in (*found, *known)} == {3}
        assert (earlier["id"], earlier["status"]) == (f"capillary:{ORG}:code~55~SAME1", "issued")
        held = await acme.ask_now("/v1/customers/6")
        assert [(one["code"], one["discount_value"]) for one in held["coupons"]] == [("SAME1", "500")]
        assert [one["id"] for one in (await acme.ask_now("/v1/customers/6", as_of_position="3"))["coupons"]] == [
            f"capillary:{ORG}:700"
        ]
