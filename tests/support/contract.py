"""Checks every answer of the tests against the OpenAPI document: path, status, content type, and every field.

The check is stricter than the document: an object may not have a field that its schema does not name.
"""

import json
import re
from functools import cache
from typing import Any

import jsonschema_rs
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from service.server.openapi.document import build_document
from service.server.routes import OPERATIONS

# Answers outside the operations: no path, no method, a head that cannot be parsed, and limits of the connection.
CHECKED_TYPES = ("application/json", "application/problem+json")
DOCUMENT = "urn:openapi"
PROTOCOL_STATUSES = {400, 417, 429}
NO_OPERATION_STATUSES = {*PROTOCOL_STATUSES, 404, 405}


@cache
def contract() -> Any:
    """Return the document as the tests see it."""
    document = build_document()
    _close(document["components"]["schemas"])
    return document


def _close(schema: Any) -> None:
    """Forbid fields that a schema does not name."""
    if isinstance(schema, dict):
        if "properties" in schema and "additionalProperties" not in schema:
            schema["additionalProperties"] = False
        for part in schema.values():
            _close(part)
    elif isinstance(schema, list):
        for part in schema:
            _close(part)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str], str]]:
    patterns = []
    for operation in OPERATIONS:
        path = re.sub(r"\\{path\\}", ".+", re.escape(operation.template))
        patterns.append((operation.method, re.compile(re.sub(r"\\{\w+\\}", "[^/]+", path)), operation.template))
    return patterns


@cache
def _schemas() -> jsonschema_rs.Registry:
    """Return the schemas of the document, shared by all validators: a copy in each would take 5 MB."""
    schemas = {"components": {"schemas": contract()["components"]["schemas"]}}
    return jsonschema_rs.Registry([(DOCUMENT, schemas)], draft=jsonschema_rs.Draft202012)


def validator_of(schema: dict[str, Any]) -> Any:
    """Return the validator of a schema, which may refer to schemas of the document."""
    return _validator(json.dumps(schema))


@cache
def _validator(text: str) -> Any:
    schema = json.loads(text.replace('"$ref": "#', f'"$ref": "{DOCUMENT}#'))
    return jsonschema_rs.Draft202012Validator(schema, registry=_schemas(), validate_formats=True)


def operation_of(method: str, path: str) -> Any:
    """Return the documented operation of a request, or None."""
    for known, pattern, template in _patterns():
        if known == method and pattern.fullmatch(path):
            return contract()["paths"][template][method.lower()]
    return None


def check_answer(method: str, path: str, status: int, content_type: str, body: bytes) -> None:
    """Raise AssertionError unless the document describes an answer."""
    operation = operation_of(method, path)
    documented = None if operation is None else operation["responses"].get(str(status))
    if documented is None:
        where = f"{method} {path} {status}"
        others = NO_OPERATION_STATUSES if operation is None else PROTOCOL_STATUSES
        assert status in others, f"{where} is not documented"
        assert content_type == "application/problem+json", f"{where} is not documented"
        documented = contract()["components"]["responses"]["internal-error"]
    if "$ref" in documented:
        documented = contract()["components"]["responses"][documented["$ref"].rsplit("/", 1)[1]]
    assert content_type in documented["content"], f"{method} {path} {status}: {content_type} is not documented"
    schema = documented["content"][content_type]["schema"]
    if content_type.endswith("json") and schema:
        validator = validator_of(schema)
        errors = [
            f"{'/'.join(map(str, error.instance_path))}: {error.message}"
            for error in validator.iter_errors(json.loads(body))
        ]
        assert not errors, f"{method} {path} {status} differs from the OpenAPI document:\n" + "\n".join(errors[:5])


class CheckedClient(TestClient[Any, Any]):
    """A client that checks every answer against the OpenAPI document."""

    async def _request(self, method: str, path: Any, **options: Any) -> ClientResponse:
        response: ClientResponse = await super()._request(method, path, **options)
        is_described = method != "HEAD" and not response.url.path.startswith("/console")
        if is_described and response.content_type in CHECKED_TYPES:
            body = await response.read()
            check_answer(method, response.url.raw_path, response.status, response.content_type, body)
        return response
