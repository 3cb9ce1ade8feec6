"""Builds the OpenAPI 3.1 document from the table of operations.

The document is committed, and served as it is. `python -m service.server.openapi.document` writes it and
docs/errors.md again; a test compares both with the table.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ledger import errors
from service.api.answers.system import ProblemAnswer
from service.api.problems import (
    BODY_TOO_SLOW,
    DATABASE_UNAVAILABLE,
    INTERNAL_ERROR,
    ProblemType,
    errors_document,
    problem_of,
)
from service.api.requests import idempotency
from service.api.requests.admission import Operation
from service.api.requests.explain_parameters import STEP_PAGE
from service.api.requests.parameters import MIN_POSITION, PAGE, REASON, TIMES, Parameter
from service.server.openapi.examples import read_examples
from service.server.openapi.path_parameters import ID_OF_TAG, PATH_PARAMETERS
from service.server.openapi.schemas import build_schemas
from service.server.openapi.webhooks import WEBHOOK_DATA, build_webhooks
from service.server.routes import OPERATIONS

FILE = Path(__file__).parents[2] / "api/reference/openapi.json"
ERRORS_FILE = Path(__file__).parents[3] / "docs/errors.md"

DESCRIPTION = """\
Balances, expiries, tiers, coupons and order items, derived from the webhooks of several loyalty vendors.

- A key opens one ledger: `Authorization: Bearer ll_…`. `GET /v1/info` names the ledger and the scopes of a key.
- Points are strings in plain notation, such as `"-12.5"`. Times are RFC 3339 in UTC.
- `at` is the time of a query; `known_at` and `as_of_position` leave out what was recorded later.
- A list is `{"items": [...], "next": cursor or null}`. The header `Link` names the next page.
- An error is a problem document (RFC 9457). Its `type` is the path of a page about it.
- A POST with an `Idempotency-Key` can be repeated: it changes something once.
- Unknown parameters and unknown fields of a body are refused.
"""
TAGS: Mapping[str, str] = {
    "service": "The service and the key of the caller.",
    "webhooks": "Deliveries of vendors.",
    "accounts": "Balances, lots, statements, claims and lapses.",
    "adjustments": "Changes of a balance by an operator.",
    "customers": "Customers: look-up, everything held about one, erasure, unmerge.",
    "orders": "Orders and refunds of their items.",
    "programmes": "Programmes and their terms.",
    "finance": "Liability, trial balance and the close of months.",
    "reconciliation": "Open matters: differences that a person should look at; conflict policies; parked subjects.",
    "events": "The events of the ledger, and the facts that they mean.",
    "outgoing": "Endpoints: receivers of the ledger's outgoing webhooks. The section `webhooks` lists the messages.",
    "proofs": "Checkpoints and proofs that nothing was changed.",
    "audit": "Recorded looks at personal values.",
    "generations": "Copies of the rows: rebuild, promote, roll back. For the operator of the whole database.",
}
SHARED_PARAMETERS: dict[int, str] = {
    id(parameter): parameter.name if parameter not in STEP_PAGE[1:] else "step_limit"
    for parameter in (*TIMES, *PAGE, *STEP_PAGE, MIN_POSITION, REASON)
}
IDEMPOTENCY_KEY = {
    "name": idempotency.HEADER,
    "in": "header",
    "description": "A name of this change, such as a UUID. A repeated request with it gets the first answer, with the "
    f"header `{idempotency.REPLAYED_HEADER}`, and changes nothing. The key is kept for ever. A dry run keeps no key.",
    "schema": {"type": "string", "pattern": f"^{idempotency.KEY.pattern}$"},
    "example": "2026-03-goodwill-17",
}
REPLAYED = {
    "description": "`true` if this is the answer to an earlier request with the same Idempotency-Key.",
    "schema": {"type": "string", "enum": ["true"]},
}
PROBLEM_MEDIA = "application/problem+json"
EXAMPLES = read_examples()
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def build_document(operations: Iterable[Operation] = OPERATIONS) -> dict[str, Any]:
    """Return the document of some operations."""
    operations = list(operations)
    types = [
        ProblemAnswer,
        *WEBHOOK_DATA,
        *(kind for one in operations for kind in (one.answer, one.body) if kind is not None),
    ]
    schemas, named = build_schemas(types)
    responses: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.template, {})[one.method.lower()] = _operation(one, schemas, responses)
    tags = dict.fromkeys(one.tag for one in operations)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Loyalty Ledger",
            "version": version("loyalty-ledger"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": tag, "description": TAGS.get(tag, f"One subject of `{tag}`, its history and its explanation.")}
            for tag in sorted(tags, key=lambda tag: (list(TAGS) + sorted(tags)).index(tag))
        ],
        "paths": paths,
        "webhooks": build_webhooks(schemas),
        "components": {
            "schemas": named,
            "parameters": {
                SHARED_PARAMETERS[id(parameter)]: _parameter(parameter)
                for parameter in (*TIMES, *PAGE, *STEP_PAGE, MIN_POSITION, REASON)
            }
            | {"idempotency_key": IDEMPOTENCY_KEY},
            "responses": dict(sorted(responses.items())),
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _operation(one: Operation, schemas: Mapping[int, Any], responses: dict[str, Any]) -> dict[str, Any]:
    summary, description = one.texts
    described = {"summary": summary, **({"description": description} if description else {})}
    body = {}
    if one.body is not None:
        content = {"application/json": {"schema": schemas[id(one.body)], **_delivery_examples(one)}}
        body = {"requestBody": {"required": one.ignores_parameters, "content": content}}
    return {
        "operationId": one.operation_id,
        "tags": [one.tag],
        **described,
        "security": _security(one),
        "parameters": [
            *_path_parameters(one),
            *([{"$ref": "#/components/parameters/idempotency_key"}] if one.is_keyed else []),
            *(_reference_or_parameter(parameter) for parameter in one.parameters),
        ],
        **body,
        "responses": {**_answers(one, schemas), **_problems(one, responses)},
    }


def _delivery_examples(one: Operation) -> dict[str, Any]:
    """Return the published payloads, for an operation that takes deliveries."""
    if one.template not in ("/v1/hooks/{connection_id}", "/v1/hooks/{connection_id}/test"):
        return {}
    return {"examples": {name: {"value": value} for name, value in EXAMPLES["deliveries"].items()}}


def _security(one: Operation) -> list[dict[str, list[str]]]:
    if one.ignores_parameters:
        return [{"webhook": []}]
    schemes = ("key", "basic") if one.basic else ("key",)
    return [{scheme: [scope]} for scope in one.scopes for scheme in schemes]


def _path_parameters(one: Operation) -> Iterator[dict[str, Any]]:
    for name in _PLACEHOLDER.findall(one.template):
        described = ID_OF_TAG.get(one.tag, PATH_PARAMETERS[name]) if name == "id" else PATH_PARAMETERS[name]
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": described.description,
            "schema": dict(described.schema),
            "example": described.example,
        }


def _reference_or_parameter(parameter: Parameter[Any]) -> dict[str, Any]:
    name = SHARED_PARAMETERS.get(id(parameter))
    return _parameter(parameter) if name is None else {"$ref": f"#/components/parameters/{name}"}


def _parameter(parameter: Parameter[Any]) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        **({"required": True} if parameter.required else {}),
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }


def _answers(one: Operation, schemas: Mapping[int, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if one.answer is not None:
        content["application/json"] = {"schema": schemas[id(one.answer)]}
        if one.operation_id in EXAMPLES["answers"]:
            content["application/json"]["example"] = EXAMPLES["answers"][one.operation_id]
    content |= {media: {"schema": MEDIA_SCHEMAS[media]} for media in one.media}
    answer: dict[str, Any] = {"description": one.texts[0], "content": content}
    if any(parameter is PAGE[1] for parameter in one.parameters):
        answer["headers"] = {"Link": {"description": "The next page, with rel=next.", "schema": {"type": "string"}}}
    if one.is_keyed:
        answer["headers"] = {idempotency.REPLAYED_HEADER: REPLAYED}
    statuses = (one.status, 200) if one.status == 201 else (one.status,)
    return {str(status): answer for status in statuses}


def problems_of(one: Operation) -> list[ProblemType]:
    """Return the types of problems that an operation may answer."""
    found = [INTERNAL_ERROR, DATABASE_UNAVAILABLE, *map(problem_of, one.errors)]
    if not one.ignores_parameters and one.template != "/live":
        found.append(problem_of(errors.RequestInvalid))
    if one.is_keyed:
        found += map(problem_of, (errors.IdempotencyKeyInUse, errors.IdempotencyKeyReused))
    if one.scopes:
        found += map(problem_of, (errors.BadCredentials, errors.ScopeMissing, errors.MemoryExhausted))
        found += map(problem_of, (errors.LedgerReadsTooMany, errors.RebuildDue))
    if any(parameter is MIN_POSITION for parameter in one.parameters):
        found.append(problem_of(errors.NotAwaited))
    if "{" in one.template and not any(problem.status == 404 for problem in found):
        found.append(problem_of(errors.SubjectUnknown if one.scopes else errors.NotFound))
    if one.body is not None:
        found += [BODY_TOO_SLOW, problem_of(errors.DeliveryTooLarge)]
        found.append(problem_of(errors.CodingUnknown if one.ignores_parameters else errors.ContentTypeUnknown))
    return sorted(set(found), key=lambda problem: (problem.status, problem.name))


def _problems(one: Operation, responses: dict[str, Any]) -> dict[str, Any]:
    """Return the answers of an operation's problems: one for each status. They are shared by all operations."""
    by_status: dict[int, list[ProblemType]] = {}
    for problem in problems_of(one):
        by_status.setdefault(problem.status, []).append(problem)
    for problems in by_status.values():
        responses.setdefault(_name_of(problems), _problem_response(problems))
    return {
        str(status): {"$ref": f"#/components/responses/{_name_of(problems)}"} for status, problems in by_status.items()
    }


def _name_of(problems: list[ProblemType]) -> str:
    return ".".join(problem.name for problem in problems)


def _problem_response(problems: list[ProblemType]) -> dict[str, Any]:
    listed = "\n".join(f"- `{problem.name}`: {problem.title} {problem.remedy}" for problem in problems)
    response: dict[str, Any] = {
        "description": listed,
        "content": {PROBLEM_MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if problems[0].is_temporary:
        response["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
        }
    return response


MEDIA_SCHEMAS: Mapping[str, Any] = {
    "application/json": {},
    "application/octet-stream": {"type": "string", "contentMediaType": "application/octet-stream"},
    "text/csv": {"type": "string"},
    "text/event-stream": {},  # OpenAPI 3.1 cannot describe the events of a stream
    "application/x-ndjson": {"type": "string"},
    "text/plain": {"type": "string"},
    "text/html": {"type": "string"},
    "text/css": {"type": "string"},
    "text/javascript": {"type": "string"},
    "text/markdown": {"type": "string"},
}
SECURITY_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key: `loyalty key create` makes one."},
    "basic": {"type": "http", "scheme": "basic", "description": "An API key as the password; the user is ignored."},
    "webhook": {
        "type": "apiKey",
        "in": "header",
        "name": "x-webhook-secret",
        "description": "The secret of the connection. A connection of another scheme has a signature instead: "
        "docs/vendors.md lists the headers.",
    },
}


def format_document(document: Mapping[str, Any]) -> str:
    """Return the text of the document as it is committed."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(format_document(build_document()))
    ERRORS_FILE.write_text("".join(errors_document()))
    sys.stdout.write(f"{FILE}\n{ERRORS_FILE}\n")
