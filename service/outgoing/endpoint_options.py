"""The options of an endpoint: which messages it gets, and how many at a time. Pure."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from ledger.errors import RequestInvalid
from ledger.facts import FACTS
from service.outgoing.message_types import RECONCILIATION_CLOSED, RECONCILIATION_OPENED, SUBSCRIBED_TYPES

EVENTS_PER_REQUEST_DEFAULT = 100
EVENTS_PER_REQUEST_MAX = 1_000
NOTICE_DAYS_DEFAULT = 30
NOTICE_DAYS_MAX = 366
CORRECTIONS = "corrections"  # among the types of a row
MATTER_TYPES = {RECONCILIATION_OPENED, RECONCILIATION_CLOSED}
KINDS = frozenset(fact.__name__ for fact in FACTS)


class EndpointOptions(NamedTuple):
    """The options of a new endpoint. Empty `types` means every type, empty `kinds` every kind of fact."""

    types: Sequence[str] = ()
    kinds: Sequence[str] = ()
    events_per_request: int = EVENTS_PER_REQUEST_DEFAULT
    notice_days: int = NOTICE_DAYS_DEFAULT
    label: str = ""
    corrections: bool = False


def complete_types(types: Sequence[str]) -> set[str]:
    """Return the types of an endpoint: all by default. A matter that was announced as open is announced as closed."""
    chosen = set(types or SUBSCRIBED_TYPES)
    return chosen | MATTER_TYPES if chosen & MATTER_TYPES else chosen


def stored_types(types: Collection[str], *, corrections: bool) -> list[str]:
    """Return the types as the row has them. One more stands for corrections, so that the MAC covers that option."""
    return sorted({*types, CORRECTIONS} if corrections else types)


def check_options(options: EndpointOptions) -> None:
    """Raise RequestInvalid for an unknown type or kind, or a number out of its range."""
    unknown = sorted(set(options.types) - SUBSCRIBED_TYPES)
    if unknown:
        raise RequestInvalid(f"`types` must be some of {', '.join(sorted(SUBSCRIBED_TYPES))}")
    if set(options.kinds) - KINDS:
        raise RequestInvalid(f"`kinds` must be kinds of facts: some of {', '.join(sorted(KINDS))}")
    if not 1 <= options.events_per_request <= EVENTS_PER_REQUEST_MAX:
        raise RequestInvalid(f"`events_per_request` must be 1 to {EVENTS_PER_REQUEST_MAX:,}")
    if not 1 <= options.notice_days <= NOTICE_DAYS_MAX:
        raise RequestInvalid(f"`notice_days` must be 1 to {NOTICE_DAYS_MAX}")
