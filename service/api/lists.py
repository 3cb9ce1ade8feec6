"""Lists of rows: one handler for every list of `service/queries/listing/list_catalogue.py`, as pages, CSV or NDJSON."""

from decimal import Decimal
from functools import partial
from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid
from ledger.vendors.fields import as_points
from projections.tables import description_of
from service.api.answers.accounts import Account, ListedLot, Promise, Redemption
from service.api.answers.fields import FRESH, Total, page_of
from service.api.answers.subjects import row_answer
from service.api.list_answers import (
    FILES,
    LIST_PARAMETERS,
    AskedList,
    ReadableList,
    answer_list,
    is_past,
)
from service.api.requests.admission import Operation, get
from service.api.requests.open_query import parse_as_of
from service.api.requests.parameters import (
    CURSOR,
    POSITION_MAX,
    STRING,
    TIMES,
    Parameter,
    choice,
    text,
    time,
    whole,
)
from service.formatting import encode_cursor, invalid_cursor
from service.queries.as_of_query import AsOfQuery, parse_at
from service.queries.context import QueryContext
from service.queries.freshness import freshness
from service.queries.listing.filters import Filter, Key, ListOrder
from service.queries.listing.list_catalogue import LISTS
from service.queries.listing.lists import ListRequest, RowList, resolve_references
from service.queries.listing.past_lists import PAST, count_list_items, read_list_page
from service.queries.subjects import load_time_zones

ITEM_TYPES = {"accounts": Account, "lots": ListedLot, "promises": Promise, "redemptions": Redemption}
NESTED = ("lots", "next_lapse", "parked", "inherited_from")  # fields that a CSV file leaves out

OF_EVERY_LIST = (
    "All filters must match. A page reads an index; `total=true` and files read all items, and run one at a time for "
    "each ledger. With `at`, `known_at` or `as_of_position` every subject is folded on the spot, in the order of ids: "
    "a page may have few items and still a `next`."
)


def list_handler(row_list: RowList, parameters: dict[str, Parameter[Any]], sort: Parameter[str | None]) -> Any:
    """Return the handler of a list."""
    columns = [name for name in item_type(row_list).__annotations__ if name not in NESTED]

    async def list_rows(request: web.Request) -> web.StreamResponse:
        values = {name: value for name, one in parameters.items() if (value := one.of(request)) is not None}
        order = choose_order(row_list, values, sort.of(request), past=is_past(request))
        after = parse_key(order, CURSOR.of(request))

        async def resolve(query: QueryContext) -> ReadableList:
            times = await parse_as_of(query, request)
            asked = await ask_list(query, row_list, values, order, times)
            return ReadableList(
                lambda query, after, limit: read_list_page(query, row_list, asked, after, limit),
                lambda query: count_list_items(query, row_list, asked),
                lambda query: freshness(query, times),
            )

        return await answer_list(request, AskedList(row_list.path, columns, after, resolve, partial(encode_key, order)))

    list_rows.__name__ = f"list_{row_list.table.name}"
    return list_rows


async def ask_list(
    query: QueryContext, row_list: RowList, values: dict[str, Any], order: ListOrder, times: AsOfQuery | None = None
) -> ListRequest:
    """Return the request of a list, as of now or as of the times. Names in filters are resolved to references."""
    times = times or parse_at({})
    resolved = await resolve_references(query, row_list.filters, values)
    as_of = times.as_of if times.given else None
    return ListRequest(resolved, order, times.at, await load_time_zones(query, times), as_of)


def choose_order(row_list: RowList, values: dict[str, Any], wanted: str | None, *, past: bool = False) -> ListOrder:
    """Return the wanted order, or that of the index which serves the first filter with one.

    A list as of an earlier time is folded in the order of ids. Raises RequestInvalid for another order.
    """
    if past:
        if wanted not in (None, "id"):
            raise RequestInvalid("`sort` must be id in a list as of an earlier time")
        return PAST
    implied = [one.order for one in row_list.filters if one.order is not None and one.name in values]
    name = wanted or (implied[0] if implied else row_list.orders[0].name)
    return next(order for order in row_list.orders if order.name == name)


def encode_key(order: ListOrder, key: Key) -> str:
    """Return the cursor of a key."""
    return encode_cursor(order.name, *key)


def parse_key(order: ListOrder, cursor: list[Any] | None) -> Key | None:
    """Parse a cursor of a list. Raises RequestInvalid for the cursor of another list or order."""
    if cursor is None:
        return None
    name, *parts = cursor if cursor else [None]
    if name != order.name or len(parts) != len(order.types):
        raise invalid_cursor()
    if [*map(type, parts)] != [*order.types] or any(isinstance(part, int) and abs(part) >= 2**63 for part in parts):
        raise invalid_cursor()
    return tuple(parts)


def _parse_points(given: str | None, name: str) -> Decimal | None:
    if given is None:
        return None
    try:
        return as_points(given)
    except ValueError:
        raise RequestInvalid(f"`{name}` must be a number of points, such as 100 or -12.5") from None


def filter_parameter(one: Filter) -> Parameter[Any]:
    """Return the parameter that takes the value of a filter."""
    if one.kind == "flag":
        return Parameter(one.name, one.description, _parse_optional_flag, {"type": "boolean"})
    if one.kind == "points":
        return Parameter(one.name, one.description, _parse_points, {"type": "string", "format": "decimal"})
    if one.kind == "time":
        return time(one.name, one.description)
    if one.kind == "position":
        return whole(one.name, one.description, least=0, most=POSITION_MAX)
    return text(one.name, one.description)


def _parse_optional_flag(given: str | None, name: str) -> bool | None:
    if given not in (None, "true", "false"):
        raise RequestInvalid(f"`{name}` must be true or false")
    return None if given is None else given == "true"


def item_type(row_list: RowList) -> Any:
    """Return the type of the items of a list."""
    return ITEM_TYPES.get(row_list.table.name) or row_answer(row_list.table)


def _operation(row_list: RowList) -> Operation:
    parameters = {one.name: filter_parameter(one) for one in row_list.filters}
    names = [order.name for order in row_list.orders]
    sort: Parameter[str | None] = Parameter("sort", "The order of the items.", lambda given, _: given, STRING)
    if len(names) > 1:
        sort = choice("sort", "The order of the items. Default: that of the index of the first filter.", *names)
    things = row_list.table.name.replace("_", " ")
    return get(
        f"/v1/{row_list.path}",
        list_handler(row_list, parameters, sort),
        *parameters.values(),
        *((sort,) if len(names) > 1 else ()),
        *TIMES,
        *LIST_PARAMETERS,
        tag=row_list.path,
        answer=page_of(item_type(row_list), total=Total, **FRESH),
        media=FILES,
        summary=f"List the {things}",
        description=f"{description_of(row_list.table.row)} {OF_EVERY_LIST}",
    )


OPERATIONS = tuple(_operation(row_list) for row_list in LISTS)
