"""Internal events that no vendor reports: a merge undone, a refund posted. A rebuild knows them."""

from typing import Any

import pytest

from ledger.database import connect
from ledger.errors import RequestInvalid
from ledger.store import api_keys
from ledger.store.registry import Ledger
from ledger.vendors.internal import KINDS
from projections.rebuild import rebuild
from service.operations import record
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import VAULT, issued, merged, redeemed, sample

ANN, BOB = "/v1/accounts/capillary:9001:1:77:points", "/v1/accounts/capillary:9001:2:77:points"
WORDS = {"author": "a clerk", "reason": "two people after all"}


async def act(acme: TenantClient, dsn: str, path: str, scope: str = "admin", **said: str) -> tuple[int, Any]:
    connection = await connect(dsn)
    key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, [scope])
    await connection.close()
    headers = {"Authorization": f"Bearer {key}"}
    response = await acme.client.post(path, json=said, headers=headers)
    return response.status, await response.json()


async def test_a_merge_is_undone_and_each_has_their_own_again(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 0, 1, 100), issued("b", 2, 2, 40), merged("m", 5, 1, 2), issued("c", 6, 1, 7)):
            await acme.deliver(body)
        await acme.deliver(redeemed("r", 7, 2, 30))
        together = await acme.ask_now(BOB)

        status, done = await act(acme, dsn, "/v1/customers/capillary:9001:1/unmerge", **WORDS)
        await acme.deliver(issued("d", 10, 1, 1))
        late = issued("e", 1, 1, 5)  # reported late, of the time before the merge
        await acme.deliver(late)
        ann, bob = await acme.ask_now(ANN), await acme.ask_now(BOB)
        customer = await acme.ask_now("/v1/customers/capillary:9001:1")
        statement = await acme.ask_now(f"{ANN}/statement")

        assert together["available"] == "117"
        assert (status, done["survivor"]) == (200, "capillary:9001:2")
        # Bob spent 30 of her 100 while they were merged. She has the rest, the 7 and 1 of that time, and the 5 reported
        # late.
        assert (ann["available"], bob["available"]) == ("83", "40")
        assert (ann["merged"], bob["merged"]) == ("-22", "22")
        assert customer["customers"][0]["merged_into"] is None
        assert [line["kind"] for line in statement["items"]][-2:] == ["MergedAway", "Unmerged"]
        assert (await rebuild(dsn)).differing == {}


async def test_unmerged_customers_are_erased_separately(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 0, 1, 100), issued("b", 0, 2, 40), merged("m", 5, 1, 2)):
            await acme.deliver(body)
        await acme.ask_now(BOB)
        await act(acme, dsn, "/v1/customers/capillary:9001:1/unmerge", **WORDS)
        await acme.ask_now(ANN)

        status, done = await act(acme, dsn, "/v1/customers/capillary:9001:1/erasure", reason="asked")

        assert (status, done["customers"]) == (200, ["capillary:9001:1"])


async def test_an_unmerge_needs_the_scope_and_an_existing_merge(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        await acme.deliver(merged("m", 5, 1, 2))
        await acme.ask_now("/v1/customers/capillary:9001:1")
        path = "/v1/customers/capillary:9001:1/unmerge"

        assert (await act(acme, dsn, path, "read", **WORDS))[0] == 403
        assert (await act(acme, dsn, path))[0] == 400
        assert (await act(acme, dsn, "/v1/customers/capillary:9001:2/unmerge", **WORDS))[0] == 400
        assert (await act(acme, dsn, "/v1/customers/unheard-of/unmerge", **WORDS))[0] == 404


async def test_a_refund_is_due_until_it_is_posted_and_is_posted_once(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        _, told = await acme.deliver(sample("ascenda", "order_item.fulfillment.failed"), "ascenda")
        [event] = (await acme.ask_now(f"/v1/ledger/events/{told['events'][0]['position']}"))["facts"][:1]
        item = event["subject"]
        due = await acme.ask_now(f"/v1/order-items/{item}")
        [account] = (await acme.ask_now(f"/v1/customers/{due['customer']}"))["accounts"]

        status, done = await act(acme, dsn, f"/v1/order-items/{item}/refund", reference="t-77", **WORDS)
        after = await acme.ask_now(f"/v1/order-items/{item}")
        again = await act(acme, dsn, f"/v1/order-items/{item}/refund", **WORDS)
        named = await act(acme, dsn, f"/v1/order-items/{item}/refund", reference="Ann Smith", **WORDS)
        [refunded] = (await acme.ask_now(f"/v1/customers/{due['customer']}"))["accounts"]

        assert (due["refund"], due["refund_due"], account["held"]) == ("due", done["points"], done["points"])
        assert (status, after["refund"], after["refund_due"], after["refund_reference"]) == (200, "posted", "0", "t-77")
        assert (refunded["held"], refunded["available"], after["contested"]) == ("0", "0", False)
        assert (again[0], named[0]) == (400, 400)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_act_that_nobody_could_read_is_refused_before_it_is_appended(kind: str) -> None:
    with pytest.raises(RequestInvalid):
        record.build_event(VAULT, Ledger(1, "acme"), kind, customer=[], period=2023, programme=None)
