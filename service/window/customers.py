"""Everything held about one customer, from every projection that names customers."""

from aiohttp import web

from ledger.errors import RequestInvalid
from projections.catalogue import PROJECTIONS
from service.answers import answer, page
from service.erasure import erase, is_known
from service.house import HOUSE
from service.window.accounts import at_of, shown_account_rows
from service.window.reading import body_of, candidates, only, reach, reader
from service.window.subjects import rows_of_customer


async def get_customer(request: web.Request) -> web.Response:
    """GET /v1/customers/{source}:{org}:{id}, org "-" where the source names none; a bare id is found if it is alone.

    404 if nothing was ever told about them.
    """
    name = request.match_info["ref"]
    async with reader(request) as read:
        found = []
        for customer in await candidates(read, name):
            held = {
                projection.tables[0].name: await rows_of_customer(read, projection, customer)
                for projection in PROJECTIONS
                if projection.customers
            }
            if any(held.values()):
                found.append((customer, held))
        customer = only([one for one, _ in found], name)
        held = found[0][1]
        held["accounts"] = await shown_account_rows(read, held["accounts"], at_of(request))
        return answer({"customer": customer, **held, **await reach(read)})


async def find_customers(request: web.Request) -> web.Response:
    """GET /v1/customers?email= or ?mobile= or ?external_id=: the refs of customers who were named by it, by a keyed
    hash of it; the value itself stands nowhere. At most 100."""
    given = [(what, request.query[what]) for what in LOOK_UPS if what in request.query]
    if len(given) != 1:
        raise RequestInvalid(f"one of {', '.join(LOOK_UPS)}")
    async with reader(request) as read:
        vault = request.app[HOUSE].vault
        customers = await vault.find(read.connection, read.ledger.ledger_id, *given[0])
        return page([{"customer": customer} for customer in customers], None, **await reach(read))


async def forget_customer(request: web.Request) -> web.Response:
    """POST /v1/customers/{ref}/erasure with {"reason"}: destroy the keys of what was sealed of them. Scope admin.

    200 {"customers", "destroyed", "position"}; position is null when nothing was left to forget; 404 if unknown, 400 if
    a bare id stands for several.
    """
    name = request.match_info["ref"]
    house = request.app[HOUSE]
    asked = await body_of(request)
    async with reader(request, "admin") as read:
        reason = str(asked.get("reason", ""))[:REASON_CHARACTERS_MAX]
        known = [one for one in await candidates(read, name) if await is_known(read.connection, read.ledger, one)]
        customer = only(known, name)
        by = f"key {read.key_id}"
        done = await erase(read.connection, house.vault, read.ledger, customer, by=by, reason=reason)
        house.projector.wake()
        return answer(done._asdict())


LOOK_UPS = ("email", "mobile", "external_id")
REASON_CHARACTERS_MAX = 500

ROUTES = [
    web.get("/v1/customers", find_customers),
    web.post("/v1/customers/{ref}/erasure", forget_customer),
    web.get("/v1/customers/{ref}", get_customer),
]
