"""A merged customer: the survivor inherits the victim's rows, marked as such; the victim's tier has ended."""

import json
from typing import Any

from projections.rebuild import rebuild
from tests.service.operations.test_internal_events import WORDS, act
from tests.support.client import serving
from tests.support.payloads import ORG, PROGRAMME, START, capillary, issued

VICTIM, SURVIVOR, FIRST = (f"capillary:{ORG}:{customer}" for customer in (4, 5, 1))
MERGED_AT = "2023-11-14T23:13:20Z"


def tier(customer: int, at: int = 0) -> bytes:
    return capillary("tierUpgraded", f"t{customer}", at, customer, upgradedTierNumber=3, tierExpiryDate="2090-12-31")


def coupon(coupon_id: int, customer: int) -> bytes:
    one = {"id": coupon_id, "code": f"CP{coupon_id}", "customerIdentifiers": {"customerId": customer}}
    return capillary("CouponIssue", f"c{coupon_id}", 0, customer, coupons=[one], series_info={"id": 9})


def merge(victim: int, survivor: int, at: int = 3_600, tier_number: int | None = 3) -> bytes:
    summary = [{"loyaltyProgramId": PROGRAMME, "currentPoints": 20, "tierNumber": tier_number}]
    data: dict[str, Any] = {
        "survivorCustomerIdentifiers": {"customerId": survivor},
        "victimCustomerIdentifiers": {"customerId": victim},
        "survivorCustomerLoyaltySummary": summary,
    }
    body = {"eventName": "loyaltyCustomerMerge", "orgId": ORG, "refId": f"m{victim}", "createdAt": START + at * 1000}
    return json.dumps({**body, "data": data}).encode()


async def test_the_survivor_shows_what_was_the_victims_and_the_victims_tier_is_over(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (tier(4), coupon(61, 4), coupon(62, 5), issued("a", 0, 4, 10), issued("b", 0, 5, 10), merge(4, 5)):
            await acme.deliver(body)

        for query in ({}, {"at": "2024-06-01T00:00:00Z"}, {"as_of_position": "6"}):
            held = await acme.ask_now("/v1/customers/5", **query)
            assert held["customers"][0]["id"] == SURVIVOR
            coupons = {one["code"]: one.get("inherited_from") for one in held["coupons"]}
            assert coupons == {"CP61": VICTIM, "CP62": None}
            tiers = {one["customer"]: (one["status"], one["tier"], one.get("inherited_from")) for one in held["tiers"]}
            assert tiers == {SURVIVOR: ("current", "3", None), VICTIM: ("merged", None, VICTIM)}
        before = await acme.ask_now("/v1/customers/5", at="2023-11-14T22:30:00Z")
        assert [one["code"] for one in before["coupons"]] == ["CP62"]
        victim = await acme.ask_now("/v1/customers/4")
        assert (victim["merged_into"], before["merged_into"]) == (SURVIVOR, None)
        assert victim["tiers"][0]["reason"] == "merged_away"
        stays = (await acme.ask_now(f"/v1/tiers/{victim['tiers'][0]['id']}"))["tier_history"]
        assert [(stay["tier"], stay["left_at"]) for stay in stays] == [("3", MERGED_AT)]


async def test_a_chain_of_merges_leads_to_the_last_survivor(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (coupon(61, 4), merge(4, 5), merge(5, 1, at=7_200)):
            await acme.deliver(body)

        last = await acme.ask_now("/v1/customers/1")
        assert [(one["code"], one["inherited_from"]) for one in last["coupons"]] == [("CP61", VICTIM)]
        assert (await acme.ask_now("/v1/customers/4"))["merged_into"] == FIRST


async def test_a_merge_undone_gives_the_victim_their_tier_and_the_survivor_no_coupons(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (tier(4), coupon(61, 4), merge(4, 5)):
            await acme.deliver(body)
        await acme.ask_now("/v1/customers/5")

        await act(acme, dsn, "/v1/customers/4/unmerge", **WORDS)

        victim, survivor = await acme.ask_now("/v1/customers/4"), await acme.ask_now("/v1/customers/5")
        assert [(one["status"], one["tier"]) for one in victim["tiers"]] == [("current", "3")]
        assert (victim["merged_into"], survivor["coupons"]) == (None, [])
        assert (await rebuild(dsn)).differing == {}


async def test_a_search_names_the_survivor_of_a_merged_customer(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        known = {"customerId": 4, "instore": {"email": "ada@sample.example", "externalId": "X4"}}
        await acme.deliver(capillary("customerAdded", "a", 0, 4, customerIdentifiers=known))
        await acme.deliver(merge(4, 5))

        for query in ({"email": "ada@sample.example"}, {"external_id": "X4"}):
            found = await acme.ask_now("/v1/customers/lookup", **query)
            assert found["items"] == [{"id": VICTIM, "merged_into": SURVIVOR}]
