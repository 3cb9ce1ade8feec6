"""Everything held about one customer, from every projection that names customers."""

from aiohttp import web

from ledger.errors import SubjectUnknown
from projections.catalogue import PROJECTIONS
from service.answers import answer
from service.window.accounts import at_of, shown_account_rows
from service.window.reading import candidates, reach, reader
from service.window.subjects import rows_of_customer


async def get_customer(request: web.Request) -> web.Response:
    """GET /v1/customers/{source}:{org}:{id}, org "-" where the source names none; a bare id is found if it is alone.

    404 if nothing was ever told about them.
    """
    name = request.match_info["ref"]
    async with reader(request) as read:
        for customer in await candidates(read, name):
            held = {
                projection.tables[0].name: await rows_of_customer(read, projection, customer)
                for projection in PROJECTIONS
                if projection.customers
            }
            if any(held.values()):
                held["accounts"] = await shown_account_rows(read, held["accounts"], at_of(request))
                return answer({"customer": customer, **held, **await reach(read)})
    raise SubjectUnknown(name)


ROUTES = [web.get("/v1/customers/{ref}", get_customer)]
