"""Problem types of the API (RFC 9457): the name, the status, the meaning and the remedy of each.

A problem document has a `type`, the path of a page about it: `/v1/errors/{name}`. docs/errors.md has the same texts.
A problem document quotes nothing of a request.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ledger import errors

TYPE_PREFIX = "/v1/errors/"


class ProblemType(NamedTuple):
    """One kind of problem. `title` is a sentence that never changes; `remedy` is for the caller."""

    name: str
    status: int
    title: str
    remedy: str

    @property
    def uri(self) -> str:
        return TYPE_PREFIX + self.name

    @property
    def is_temporary(self) -> bool:
        """True if the same request may succeed a little later."""
        return self.status in (429, 503)


def _of(error: type[errors.LedgerError], name: str, status: int, remedy: str) -> ProblemType:
    return ProblemType(name, status, (error.__doc__ or "").strip().splitlines()[0], remedy)


def _table(*rows: tuple[type[errors.LedgerError], str, int, str]) -> dict[type[errors.LedgerError], ProblemType]:
    return {error: _of(error, name, status, remedy) for error, name, status, remedy in rows}


# The only table from error to status. A subclass has the type of its parent unless it is listed.
PROBLEM_OF_ERROR: Mapping[type[errors.LedgerError], ProblemType] = _table(
    (
        errors.NotFound,
        "not-found",
        404,
        "Check the path and the ids in it. An object of another ledger is not found either.",
    ),
    (
        errors.LogUnknown,
        "log-unknown",
        404,
        "Ask the operator of the ledger for its present address.",
    ),
    (
        errors.ConnectionUnknown,
        "connection-unknown",
        404,
        "Check the address of the webhook. `loyalty connection list` shows the connections of a ledger.",
    ),
    (
        errors.LedgerMoved,
        "ledger-moved",
        308,
        "Send the request to the address in `Location`, and let the sender use it from now on.",
    ),
    (
        errors.EndpointUnknown,
        "endpoint-unknown",
        404,
        "`GET /v1/endpoints` lists the endpoints of a ledger.",
    ),
    (
        errors.SubjectUnknown,
        "subject-unknown",
        404,
        "Check the id, the time and the position of the query. A subject exists from its first event on.",
    ),
    (
        errors.PositionUnknown,
        "position-unknown",
        404,
        "Check the position. `GET /v1/info` answers the last position of the ledger.",
    ),
    (
        errors.GenerationUnknown,
        "generation-unknown",
        404,
        "`GET /v1/generations` lists the generations.",
    ),
    (
        errors.BadCredentials,
        "bad-credentials",
        401,
        "Send `Authorization: Bearer` with an API key. A webhook needs the secret of its connection.",
    ),
    (
        errors.ScopeMissing,
        "scope-missing",
        403,
        "Use a key with the scope that the detail names. `loyalty key create` makes one.",
    ),
    (
        errors.Refused,
        "refused",
        400,
        "The detail names the rule.",
    ),
    (
        errors.RequestInvalid,
        "request-invalid",
        400,
        "The detail names the parameter or the field, and its rule. Send the request again as the rule demands.",
    ),
    (
        errors.DeliveryTooLarge,
        "body-too-large",
        413,
        "Send fewer events in one delivery: a body has at most 1 MiB.",
    ),
    (
        errors.CodingUnknown,
        "content-coding-unknown",
        415,
        "Send the body as it is, or with one of the codings in the title.",
    ),
    (
        errors.ContentTypeUnknown,
        "content-type-unknown",
        415,
        "Send a JSON body with the header `Content-Type: application/json`.",
    ),
    (
        errors.NameTaken,
        "name-taken",
        409,
        "Choose another name.",
    ),
    (
        errors.NotPromoted,
        "generation-not-promoted",
        409,
        "The detail names the reason. `GET /v1/generations` shows the states and the differences.",
    ),
    (
        errors.PeriodNotClosable,
        "period-not-closable",
        409,
        "The detail names the reason. Months are closed in order, and only the last closed one can be reopened.",
    ),
    (
        errors.NothingToAdopt,
        "nothing-to-adopt",
        409,
        "No adjustment is needed: read the account again.",
    ),
    (
        errors.AdjustmentDiffers,
        "adjustment-differs",
        422,
        "The id or the Idempotency-Key was used for another adjustment. Choose a new one for a new adjustment.",
    ),
    (
        errors.IdempotencyKeyInUse,
        "idempotency-key-in-use",
        409,
        "Wait for the answer to the first request, or repeat this one a little later.",
    ),
    (
        errors.IdempotencyKeyReused,
        "idempotency-key-reused",
        422,
        "Choose a new key for a new request. A repeated request has the same method, path, parameters and body.",
    ),
    (
        errors.NotAwaited,
        "position-not-reached",
        504,
        "Repeat the request. If that does not help, `GET /v1/projections` shows how far the rows are behind.",
    ),
    (
        errors.LedgerReadsTooMany,
        "too-many-requests",
        429,
        "Wait for the seconds in `Retry-After`, and ask with fewer requests at once.",
    ),
    (
        errors.Unavailable,
        "unavailable",
        503,
        "Wait for the seconds in `Retry-After`, and repeat the same request.",
    ),
    (
        errors.LedgerUnavailable,
        "ledger-unavailable",
        503,
        "Deliver again after the seconds in `Retry-After`. Nothing was stored, and a repeat is harmless.",
    ),
    (
        errors.MemoryExhausted,
        "memory-exhausted",
        503,
        "Wait for the seconds in `Retry-After`. The operator may raise `LOYALTY_MEMORY_MIB`.",
    ),
    (
        errors.NotSealedYet,
        "not-sealed-yet",
        503,
        "Wait for the next checkpoint. `GET /v1/ledger/checkpoint` shows the newest one.",
    ),
    (
        errors.RebuildRuns,
        "rebuild-runs",
        503,
        "Wait for the end of the rebuild. `GET /v1/generations` shows its state.",
    ),
    (
        errors.RebuildDue,
        "rebuild-due",
        503,
        "The operator must run `loyalty rebuild`.",
    ),
    (
        errors.LedgerError,
        "internal-error",
        500,
        "Report the time of the request to the operator. The log of the service names the cause.",
    ),
)

PATH_UNKNOWN = ProblemType(
    "path-unknown", 404, "There is nothing at this path.", "The detail lists the paths that begin alike."
)
METHOD_UNKNOWN = ProblemType(
    "method-not-allowed",
    405,
    "This path does not take this method.",
    "The header `Allow` lists the methods of the path.",
)
BODY_TOO_SLOW = ProblemType(
    "body-too-slow", 408, "The body did not come in time.", "Send the whole body within 10 seconds."
)
EXPECTATION_UNKNOWN = ProblemType(
    "expectation-unknown", 417, "Only 100-continue can be expected.", "Leave out the header `Expect`."
)
MALFORMED = ProblemType(
    "malformed-request",
    400,
    "This is no HTTP request that we understand.",
    "Check the request line and the headers. They have limits: 8,190 bytes a line, 15 seconds together.",
)
TOO_MANY_CONNECTIONS = ProblemType(
    "too-many-connections",
    429,
    "This address has too many connections.",
    "Close unused connections, and keep fewer than 256 open.",
)
DATABASE_UNAVAILABLE = ProblemType(
    "database-unavailable",
    503,
    "The database cannot be asked now.",
    "Wait for the seconds in `Retry-After`, and repeat the same request.",
)
INTERNAL_ERROR = PROBLEM_OF_ERROR[errors.LedgerError]

HTTP_PROBLEMS = (
    PATH_UNKNOWN,
    METHOD_UNKNOWN,
    BODY_TOO_SLOW,
    EXPECTATION_UNKNOWN,
    MALFORMED,
    TOO_MANY_CONNECTIONS,
    DATABASE_UNAVAILABLE,
)
PROBLEM_TYPES: Mapping[str, ProblemType] = {
    problem.name: problem for problem in (*PROBLEM_OF_ERROR.values(), *HTTP_PROBLEMS)
}


def problem_of(error: type[errors.LedgerError]) -> ProblemType:
    """Return the type of an error: its own, or that of the nearest listed parent."""
    return next(PROBLEM_OF_ERROR[kind] for kind in error.__mro__ if kind in PROBLEM_OF_ERROR)


def problem_of_status(status: int) -> ProblemType:
    """Return the type of a status that HTTP itself defines, for errors outside the handlers."""
    by_status = {problem.status: problem for problem in HTTP_PROBLEMS}
    return by_status.get(status, MALFORMED if 400 <= status < 500 else INTERNAL_ERROR)


def section_of(problem: ProblemType) -> str:
    """Return the section of docs/errors.md about a problem type."""
    return f"## {problem.name}\n\nStatus {problem.status}. {problem.title}\n\n{problem.remedy}\n"


def errors_document() -> Iterator[str]:
    """Yield docs/errors.md: one section for each problem type, by name."""
    yield (
        "# Errors\n\n"
        "An error is answered as a problem document (RFC 9457) of content type `application/problem+json`:\n\n"
        "```json\n"
        '{"type":"/v1/errors/scope-missing","title":"…","status":403,"detail":"…"}\n'
        "```\n\n"
        "- `type` is the path of the section below, at the same service.\n"
        "- `title` never changes for a type. `detail` names the parameter and the rule, and quotes nothing of the\n"
        "  request but names of parameters.\n"
        "- `429` and `503` have the header `Retry-After`, in seconds.\n"
    )
    for name in sorted(PROBLEM_TYPES):
        yield f"\n{section_of(PROBLEM_TYPES[name])}"
