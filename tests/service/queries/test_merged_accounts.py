"""Accounts of merged customers over HTTP: the survivor holds them, under either id."""

import pytest

from tests.support.client import serving
from tests.support.payloads import issued, merged, sample


@pytest.mark.parametrize(("victim", "survivor"), [(4, 5), (5, 4)])
async def test_the_holder_is_the_survivor_and_either_id_leads_there(dsn: str, victim: int, survivor: int) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("e1", 0, victim, 30), issued("e2", 1, survivor, 5), merged("m", 2, victim, survivor)):
            await acme.deliver(body)
        account_id = f"capillary:9001:{survivor}:77:points"

        asked = [account_id, f"capillary:9001:{survivor}", f"capillary:9001:{victim}", str(victim)]
        answers = [await acme.ask_now(f"/v1/accounts/{name}") for name in asked]
        explained = await acme.ask_now(f"/v1/accounts/{victim}/explanation")
        own = await acme.ask_now(f"/v1/accounts/capillary:9001:{victim}:77:points")
        customer = await acme.ask_now(f"/v1/customers/{victim}")

        shown = {(one["id"], one["holder"], one["available"], one["merged"]) for one in answers}
        assert shown == {(account_id, f"capillary:9001:{survivor}", "35", "30")}
        assert explained["account"]["id"] == account_id
        assert (own["holder"], own["available"], own["merged"]) == (f"capillary:9001:{survivor}", "0", "-30")
        assert account_id in [one["id"] for one in customer["accounts"]]


async def test_a_chain_of_merges_leads_to_the_last_survivor(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("e1", 0, 1, 30), merged("m1", 1, 1, 2), merged("m2", 2, 2, 3)):
            await acme.deliver(body)

        account = await acme.ask_now("/v1/accounts/1")

        assert (account["id"], account["holder"]) == ("capillary:9001:3:77:points", "capillary:9001:3")


async def test_a_holder_of_several_accounts_must_be_asked_for_one(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("e1", 0, 1, 30))
        await acme.deliver(issued("e2", 0, 1, 30).replace(b'"loyaltyProgramId": 77', b'"loyaltyProgramId": 78'))

        status, problem = await acme.ask("/v1/accounts/capillary:9001:1", min_position="2")

        assert status == 400
        assert "capillary:9001:1:77:points, capillary:9001:1:78:points" in problem["detail"]


async def test_a_changed_subject_of_an_event_leads_to_the_account(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("voucherify", "customer.rewarded.loyalty_points"), "voucherify")
        event = await acme.ask_now("/v1/ledger/events/1")

        changed, _order = event["subjects"]
        account = await acme.ask_now(f"/v1/accounts/{changed['subject']}")

        assert changed == {"subject_kind": "account", "subject": account["holder"]}
        assert account["available"] == "900"
