"""The scope of a rebuild: everything, or some projections or ledgers. All other rows are copied."""

from typing import NamedTuple

from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.store.registry import find_ledger
from projections.registry import PROJECTIONS


class RebuildScope(NamedTuple):
    """The names of projections and ledgers to rebuild. An empty tuple means all."""

    projections: tuple[str, ...] = ()
    ledgers: tuple[str, ...] = ()

    def document(self) -> dict[str, list[str]]:
        return {name: list(value) for name, value in self._asdict().items() if value}


EVERYTHING = RebuildScope()


async def check_scope(connection: Connection, scope: RebuildScope) -> None:
    """Raise RequestInvalid for an unknown projection, LedgerUnknown for an unknown ledger."""
    known = {projection.name for projection in PROJECTIONS}
    for name in scope.projections:
        if name not in known:
            raise RequestInvalid(f"{name} is no projection; there are {', '.join(sorted(known))}")
    for name in scope.ledgers:
        await find_ledger(connection, name)
