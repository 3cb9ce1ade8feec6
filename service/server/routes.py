"""All routes of the API, and a hint for paths that do not exist."""

import re

from service.api import (
    accounts,
    adjustments,
    audit,
    claims,
    conflict_policies,
    customers,
    events,
    finance,
    generations,
    health,
    lapses,
    orders,
    periods,
    programmes,
    proofs,
    reconciliation,
    subjects,
    tlog,
    webhooks,
)

# The first route that matches is taken. Those of subjects have the widest patterns, so they are the last.
ROUTES = [
    *webhooks.ROUTES,
    *customers.ROUTES,
    *accounts.ROUTES,
    *programmes.ROUTES,
    *lapses.ROUTES,
    *finance.ROUTES,
    *periods.ROUTES,
    *adjustments.ROUTES,
    *claims.ROUTES,
    *events.ROUTES,
    *orders.ROUTES,
    *reconciliation.ROUTES,
    *conflict_policies.ROUTES,
    *generations.ROUTES,
    *audit.ROUTES,
    *health.ROUTES,
    *proofs.ROUTES,
    *tlog.ROUTES,
    *subjects.ROUTES,
]

# As the documentation writes them, without the patterns of placeholders.
PATHS = sorted({re.sub(r"\{(\w+):[^/]*\}", r"{\1}", route.path) for route in ROUTES})


def path_hint(path: str) -> str:
    """Return a hint for a path that does not exist: the paths that begin alike. It quotes nothing of the request."""
    begin = path.split("/")[1:3]
    near = [known for known in PATHS if begin[1:] and known.split("/")[1:3] == begin]
    if near:
        return f"There is nothing at this path. There is: {', '.join(near)}."
    first = sorted({"/".join(known.split("/")[:3]) for known in PATHS})
    return f"There is nothing at this path. Paths begin with one of: {', '.join(first)}."
