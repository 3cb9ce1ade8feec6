"""The form of an endpoint: its address and its options, parsed from fields, and compared with those of now."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from service.console.times import with_zone
from service.outgoing.endpoint_options import EVENTS_PER_REQUEST_MAX, NOTICE_DAYS_MAX, EndpointOptions
from service.outgoing.message_types import MESSAGE_TYPES, SUBSCRIBED_TYPES
from service.parameters import parse_int, parse_time

TYPE_PREFIX = "type "  # a form has one box for each type
TYPES = tuple(name for name in MESSAGE_TYPES if name in SUBSCRIBED_TYPES)
POSITION_MAX = 2**53


class EndpointForm(NamedTuple):
    """The contents of the form. The start is a position or a time; None for both means what is recorded from now on."""

    url: str
    options: EndpointOptions
    after: int | None
    since: datetime | None


def parse_endpoint_form(fields: Mapping[str, str]) -> EndpointForm:
    """Parse the form. No chosen type means all types. Raises RequestInvalid."""
    types = [name for name in TYPES if f"{TYPE_PREFIX}{name}" in fields]
    kinds = [word for word in fields.get("kinds", "").replace(",", " ").split() if word]
    events = parse_int(
        fields.get("events_per_request") or None, "events_per_request", least=1, most=EVENTS_PER_REQUEST_MAX
    )
    days = parse_int(fields.get("notice_days") or None, "notice_days", least=1, most=NOTICE_DAYS_MAX)
    options = EndpointOptions(types, kinds, label=fields.get("label", "").strip(), corrections="corrections" in fields)
    if events is not None:
        options = options._replace(events_per_request=events)
    if days is not None:
        options = options._replace(notice_days=days)
    return EndpointForm(fields.get("url", "").strip(), options, *parse_start(fields))


def parse_start(fields: Mapping[str, str]) -> tuple[int | None, datetime | None]:
    """Parse the place from which messages are sent: a position, or a time. Raises RequestInvalid."""
    after = parse_int(fields.get("after") or None, "after", least=0, most=POSITION_MAX)
    return after, parse_time(with_zone(fields.get("since") or None), "since")


def option_changes(before: Mapping[str, Any] | None, url: str, options: EndpointOptions) -> Iterator[dict[str, Any]]:
    """Yield the values that differ from an endpoint's of now. None for `before` yields all values of a new endpoint."""
    titles = {
        "url": "Address",
        "label": "Label",
        "types": "Types of messages",
        "kinds": "Kinds of facts",
        "events_per_request": "Messages in a request",
        "notice_days": "Days of notice",
        "corrections": "Corrections after a promotion",
    }
    wanted = {"url": url, **options._asdict()}
    wanted["types"] = sorted(options.types or SUBSCRIBED_TYPES)
    for name, title in titles.items():
        value = wanted[name] if isinstance(wanted[name], str | int) else sorted(wanted[name])
        now = None if before is None else before[name]
        now = sorted(now) if isinstance(now, tuple | list) else now
        if value != now and (value or now):
            yield {"kind": "Endpoint", "id": url, "href": None, "field": title, "before": now, "after": value}
