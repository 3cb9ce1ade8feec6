"""All routes of the API, and a hint for paths that do not exist."""

from service.api import (
    accounts,
    adjustments,
    breakage,
    claims,
    conflict_policies,
    customers,
    documentation,
    finance,
    generations,
    health,
    lapses,
    lists,
    orders,
    periods,
    programmes,
    reconciliation,
    subjects,
    webhook_tests,
    webhooks,
)
from service.api.ledger import audit, events, facts
from service.api.outgoing import endpoints, stream
from service.api.points import bills, groups, promises, redemptions, units
from service.api.transparency import proofs, tlog

# The first route that matches is taken. Those of subjects have the widest patterns, so they are the last.
OPERATIONS = (
    *webhooks.OPERATIONS,
    *webhook_tests.OPERATIONS,
    *customers.OPERATIONS,
    *lists.OPERATIONS,
    *accounts.OPERATIONS,
    *promises.OPERATIONS,
    *redemptions.OPERATIONS,
    *bills.OPERATIONS,
    *groups.OPERATIONS,
    *programmes.OPERATIONS,
    *units.OPERATIONS,
    *lapses.OPERATIONS,
    *finance.OPERATIONS,
    *breakage.OPERATIONS,
    *periods.OPERATIONS,
    *adjustments.OPERATIONS,
    *claims.OPERATIONS,
    *events.OPERATIONS,
    *facts.OPERATIONS,
    *orders.OPERATIONS,
    *reconciliation.OPERATIONS,
    *conflict_policies.OPERATIONS,
    *endpoints.OPERATIONS,
    *stream.OPERATIONS,
    *generations.OPERATIONS,
    *audit.OPERATIONS,
    *health.OPERATIONS,
    *documentation.OPERATIONS,
    *proofs.OPERATIONS,
    *tlog.OPERATIONS,
    *subjects.OPERATIONS,
)
ROUTES = [operation.route() for operation in OPERATIONS]

ICON_PATH = "/favicon.ico"  # for browsers; no hint names it
PATHS = sorted({operation.template for operation in OPERATIONS} - {ICON_PATH})


def path_hint(path: str) -> str:
    """Return a hint for a path that does not exist: the paths that begin alike. It quotes nothing of the request."""
    begin = path.split("/")[1:3]
    near = [known for known in PATHS if begin[1:] and known.split("/")[1:3] == begin]
    if near:
        return f"There is nothing at this path. There is: {', '.join(near)}."
    first = sorted({"/".join(known.split("/")[:3]) for known in PATHS})
    return f"There is nothing at this path. Paths begin with one of: {', '.join(first)}."
