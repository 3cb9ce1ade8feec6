"""Parse the times of a query: `at`, and `as_of_position` or `known_at`."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from ledger import clock
from ledger.errors import RequestInvalid
from projections.queries.as_of import AsOf, position_at
from service.parameters import parse_int, parse_time
from service.queries.context import QueryContext


class AsOfQuery(NamedTuple):
    """The two times of a query: `at`, the time of occurrence (now by default), and `position`, the last event that
    counts (None counts all).
    """

    at: datetime
    position: int | None
    at_given: bool

    @property
    def as_of(self) -> AsOf:
        return AsOf(self.at if self.at_given else None, self.position)

    @property
    def given(self) -> bool:
        return self.at_given or self.position is not None


async def parse_as_of_params(query: QueryContext, parameters: Mapping[str, str]) -> AsOfQuery:
    """Parse both times, without waiting for rows. Raises RequestInvalid."""
    position = parse_int(parameters.get("as_of_position"), "as_of_position", least=0, most=2**62)
    known_at = parse_time(parameters.get("known_at"), "known_at")
    if known_at is not None:
        if position is not None:
            raise RequestInvalid("`as_of_position` and `known_at` exclude each other")
        position = await position_at(query.connection, query.ledger.ledger_id, known_at)
        if position is None:
            raise RequestInvalid("`known_at` must not be in the future")
    return parse_at(parameters)._replace(position=position)


def parse_at(parameters: Mapping[str, str]) -> AsOfQuery:
    """Parse `at` alone. Raises RequestInvalid."""
    at = parse_time(parameters.get("at"), "at")
    return AsOfQuery(at or clock.now(), None, at is not None)
