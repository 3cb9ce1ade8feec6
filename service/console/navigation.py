"""The screens in the navigation of each page."""

from typing import NamedTuple

HOME = "/console"


class Screen(NamedTuple):
    """One entry of the navigation. It is shown to keys with one of its scopes.

    The pages below `path` and `also` belong to it.
    """

    path: str
    title: str
    scopes: frozenset[str] = frozenset({"read", "admin"})
    also: tuple[str, ...] = ()

    def is_open_to(self, scopes: frozenset[str]) -> bool:
        return bool(self.scopes & scopes)

    def holds(self, path: str) -> bool:
        """Return True if a page belongs to this screen."""
        below = self.also if self.path == HOME else (self.path, *self.also)
        return path == self.path or any(path == one or path.startswith(f"{one}/") for one in below)


SCREENS = (
    Screen(HOME, "Search", also=("/console/search", "/console/customers", "/console/accounts", "/console/explain")),
    Screen("/console/lists", "Lists"),
    Screen("/console/reconciliation", "Reconciliation"),
    Screen("/console/finance", "Finance", also=("/console/lapses",)),
    Screen("/console/ledger", "Ledger", also=("/console/events",)),
    Screen("/console/operations", "Operations"),
    Screen("/console/audit", "Audit", frozenset({"audit", "admin"})),
)
