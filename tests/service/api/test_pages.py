"""Pages of lists: `next` is null on the last page, also if the page is exactly full."""

from ledger.database import connect
from ledger.store import api_keys
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import issued, redeemed, sample

ACCOUNT = "/v1/accounts/capillary:9001:1:77:points"


async def sizes(acme: TenantClient, path: str, limit: int, **query: str) -> list[int]:
    """Return the number of items on each page."""
    found, cursor = list[int](), dict[str, str]()
    while True:
        page = await acme.ask_now(path, limit=str(limit), **query, **cursor)
        found.append(len(page["items"]))
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


async def test_a_page_that_is_exactly_full_is_the_last_one(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for number in range(4):
            await acme.deliver(issued(f"i{number}", number, 1, 10, programCurrentPoints=10 * (number + 1)))
        assert (await acme.ask_now(ACCOUNT))["available"] == "40"

        for path in (f"{ACCOUNT}/lots", f"{ACCOUNT}/statement", f"{ACCOUNT}/claims", "/v1/ledger/events"):
            assert await sizes(acme, path, 4) == [4], path
            assert await sizes(acme, path, 3) == [3, 1], path
            assert await sizes(acme, path, 2) == [2, 2], path
        assert await sizes(acme, f"{ACCOUNT}/lots", 4, at="2028-01-01T00:00:00Z") == [4]
        assert await sizes(acme, "/v1/ledger/events", 2, subject="capillary:9001:1") == [2, 2]
        assert await sizes(acme, "/v1/programmes", 1) == [1]


async def test_a_list_of_flags_has_full_pages_across_its_flags(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for customer in (1, 2, 3):
            await acme.deliver(redeemed(f"r{customer}", customer, customer, 10))
        await acme.deliver(sample("capillary", "CouponRedeem"))
        gaps = "/v1/reconciliation/gaps"

        for limit, expected in ((4, [4]), (3, [3, 1]), (2, [2, 2]), (5, [4])):
            assert await sizes(acme, gaps, limit, grace_hours="0") == expected


async def test_the_list_of_looks_ends_with_its_last_page(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        database = await connect(dsn)
        key = await api_keys.create_key(database, MASTER_KEY, acme.ledger, ["audit"])
        await database.close()
        for _ in range(2):
            await acme.ask("/v1/audit/access", key=key, reason="a question")

        _, page = await acme.ask("/v1/audit/access", key=key, reason="a question", limit="3")

        assert (len(page["items"]), page["next"]) == (3, None)
