"""Facts by position: another system that follows the ledger pulls them from here."""

from typing import Any

from aiohttp import web

from service.api.answers.ledger import FactPage, ListedFactAnswer
from service.api.list_answers import FILES, LIST_PARAMETERS, AskedList, ReadableList, answer_list
from service.api.requests.admission import get
from service.api.requests.parameters import POSITION_MAX, choice, text, whole
from service.formatting import decode_cursor
from service.queries.context import QueryContext
from service.queries.explain_steps import fact_json, load_events
from service.queries.facts import (
    SUBJECT_KINDS,
    FactFilter,
    FactPlace,
    ListedFact,
    count_facts_after,
    list_facts_after,
    start_after,
)
from service.queries.freshness import freshness
from service.queries.listing.filters import Key
from service.queries.listing.lists import ListPage
from service.queries.references import expand_reference

AFTER = whole("after", "Only facts of events after this position.", least=0, most=POSITION_MAX)
FACT = text("fact", "Only facts of this kind, such as Issued.")
SUBJECT_KIND = choice("subject_kind", "Only facts about subjects of this kind.", *SUBJECT_KINDS)
SUBJECT = text("subject", "Only facts about this subject. For points it is the holder, such as capillary:9001:101.")


async def list_facts(request: web.Request) -> web.StreamResponse:
    """List facts in the order in which their events were recorded.

    A reader that follows a ledger takes page after page. After the page whose `next` is null, it asks with `after` set
    to the `as_of_position` of that page. It then misses no event. A page may have fewer items than `limit`, or none,
    where few facts match.

    A fact is the meaning of an event. If an event loses a conflict later, its facts are no longer listed. In CSV,
    `fields` and `event` are JSON.
    """
    cursor = decode_cursor(request.query.get("cursor"), int, int)
    start = start_after(AFTER.of(request) or 0)
    kind, subject_kind, subject = FACT.of(request), SUBJECT_KIND.of(request), SUBJECT.of(request)

    async def resolve(query: QueryContext) -> ReadableList:
        subjects = None if subject is None else await expand_reference(query, subject)
        wanted = FactFilter(kind, subject_kind, subjects)
        reached: dict[str, int] = {}

        async def read_page(query: QueryContext, after: Key | None, limit: int) -> ListPage:
            place = start if after is None else FactPlace(*after)
            listed = await list_facts_after(query.connection, query.ledger.ledger_id, place, limit, wanted)
            events = await load_events(query, {fact.position for fact in listed.facts})
            reached["as_of_position"] = listed.as_of_position
            return ListPage([_fact_json(fact, events) for fact in listed.facts], listed.following)

        async def fresh(query: QueryContext) -> dict[str, int]:
            """Return the position that the page reflects: the rows may have moved since it was read."""
            now = await freshness(query)
            return {**reached, "events_behind": sum(now.values()) - reached["as_of_position"]}

        return ReadableList(
            read_page, lambda query: count_facts_after(query.connection, query.ledger.ledger_id, start, wanted), fresh
        )

    after = None if cursor is None else tuple(cursor)
    return await answer_list(request, AskedList("facts", list(ListedFactAnswer.__annotations__), after, resolve))


def _fact_json(fact: ListedFact, events: dict[int, dict[str, Any]]) -> dict[str, Any]:
    return {
        "position": fact.position,
        "ordinal": fact.ordinal,
        "fact": fact.kind,
        "subject_kind": fact.subject_kind,
        "subject": fact.subject,
        "occurred_at": fact.occurred_at,
        "untimed": fact.untimed,
        "fields": fact_json(fact.fact),
        "event": events[fact.position],
    }


OPERATIONS = (
    get(
        "/v1/facts",
        list_facts,
        AFTER,
        FACT,
        SUBJECT_KIND,
        SUBJECT,
        *LIST_PARAMETERS,
        tag="events",
        answer=FactPage,
        media=FILES,
    ),
)
