"""The screens in the navigation of each page."""

from typing import NamedTuple


class Screen(NamedTuple):
    """One entry of the navigation. It is shown to keys with one of its scopes."""

    path: str
    title: str
    scopes: frozenset[str] = frozenset({"read", "admin"})

    def is_open_to(self, scopes: frozenset[str]) -> bool:
        return bool(self.scopes & scopes)


SCREENS = (
    Screen("/console", "Search"),
    Screen("/console/lists", "Lists"),
    Screen("/console/reconciliation", "Reconciliation"),
    Screen("/console/finance", "Finance"),
    Screen("/console/ledger", "Ledger"),
    Screen("/console/operations", "Operations"),
    Screen("/console/audit", "Audit", frozenset({"audit", "admin"})),
)
