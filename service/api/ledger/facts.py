"""Facts by position: another system that follows the ledger pulls them from here."""

from typing import Any

from aiohttp import web

from service.api.answers.ledger import FactPage
from service.api.requests.admission import get
from service.api.requests.open_query import open_query
from service.api.requests.parameters import LIMIT, PAGE, POSITION_MAX, choice, text, whole
from service.api.responses import page_response
from service.formatting import decode_cursor, encode_cursor
from service.queries.explain_steps import fact_json, load_events
from service.queries.facts import SUBJECT_KINDS, FactFilter, FactPlace, ListedFact, list_facts_after, start_after
from service.queries.freshness import freshness
from service.queries.references import expand_reference

AFTER = whole("after", "Only facts of events after this position.", least=0, most=POSITION_MAX)
FACT = text("fact", "Only facts of this kind, such as Issued.")
SUBJECT_KIND = choice("subject_kind", "Only facts about subjects of this kind.", *SUBJECT_KINDS)
SUBJECT = text("subject", "Only facts about this subject. For points it is the holder, such as capillary:9001:101.")


async def list_facts(request: web.Request) -> web.Response:
    """List facts in the order in which their events were recorded.

    A reader that follows a ledger takes page after page. After the page whose `next` is null, it asks with `after` set
    to the `as_of_position` of that page. It then misses no event. A page may have fewer items than `limit`, or none,
    where few facts match.

    A fact is the meaning of an event. If an event loses a conflict later, its facts are no longer listed.
    """
    limit = LIMIT.of(request)
    cursor = decode_cursor(request.query.get("cursor"), int, int)
    after = FactPlace(*cursor) if cursor else start_after(AFTER.of(request) or 0)
    async with open_query(request) as query:
        subject = SUBJECT.of(request)
        subjects = None if subject is None else await expand_reference(query, subject)
        wanted = FactFilter(FACT.of(request), SUBJECT_KIND.of(request), subjects)
        listed = await list_facts_after(query.connection, query.ledger.ledger_id, after, limit, wanted)
        events = await load_events(query, {fact.position for fact in listed.facts})
        items = [_fact_json(fact, events) for fact in listed.facts]
        following = None if listed.following is None else encode_cursor(*listed.following)
        behind = await freshness(query)
        reflected = {
            "as_of_position": listed.as_of_position,
            "events_behind": behind["events_behind"] + behind["as_of_position"] - listed.as_of_position,
        }
        return page_response(request, items, following, **reflected)


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


OPERATIONS = (get("/v1/facts", list_facts, AFTER, FACT, SUBJECT_KIND, SUBJECT, *PAGE, tag="events", answer=FactPage),)
