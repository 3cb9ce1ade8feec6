"""The OpenAPI document is the contract: it is complete, valid, committed, and shown to readers."""

import json
import re

import pytest
from openapi_spec_validator import validate
from yarl import URL

from ledger.store import api_keys
from projections.column_descriptions import COLUMN_DESCRIPTIONS
from projections.reports.views import REPORT_VIEWS
from service.api.answers.field_descriptions import FIELD_DESCRIPTIONS, TYPE_DESCRIPTIONS
from service.api.problems import PROBLEM_TYPES, errors_document
from service.server.openapi.document import ERRORS_FILE, FILE, build_document, format_document
from service.server.routes import OPERATIONS
from tests.support.client import MASTER_KEY, serving
from tests.support.contract import check_answer
from tests.support.payloads import sample

ACCOUNT = "/v1/accounts/capillary:150956:87884897:838:points"


def test_the_committed_document_is_the_one_that_the_operations_give() -> None:
    assert FILE.read_text() == format_document(build_document()), "run: python -m service.server.openapi.document"


def test_the_document_is_valid_openapi() -> None:
    validate(build_document())


async def test_every_route_is_in_the_document(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        routes = {(route.method, route.resource.canonical) for route in acme.client.app.router.routes()}

    paths = json.loads(FILE.read_text())["paths"]
    described = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    served = {(method, path) for method, path in routes if method != "HEAD" and not path.startswith("/console")}
    assert served == described


def test_every_operation_has_a_summary_and_describes_its_parameters() -> None:
    for operations in build_document()["paths"].values():
        for operation in operations.values():
            assert operation["summary"], operation["operationId"]
            assert all("$ref" in one or one["description"] for one in operation["parameters"])


def test_every_field_has_a_description_of_its_own() -> None:
    undescribed = [
        f"{name}.{field}"
        for name, schema in build_document()["components"]["schemas"].items()
        for field, one in schema.get("properties", {}).items()
        if "$ref" not in one and one.get("description", "") in {"", *TYPE_DESCRIPTIONS}
    ]

    assert undescribed == [], "describe them in their row type, in COLUMN_DESCRIPTIONS or in service/api/answers/"


def test_every_description_of_a_field_is_used() -> None:
    schemas = build_document()["components"]["schemas"].values()
    used = {one.get("description") for schema in schemas for one in schema.get("properties", {}).values()}
    columns = {(column.name, column.description) for view in REPORT_VIEWS for column in view.columns}

    assert [name for name, text in FIELD_DESCRIPTIONS.items() if text not in used] == []
    assert COLUMN_DESCRIPTIONS.items() <= columns
    assert [name for name, text in COLUMN_DESCRIPTIONS.items() if FIELD_DESCRIPTIONS.get(name) == text] == []


def test_a_status_has_one_name_in_every_answer_and_filter() -> None:
    document = build_document()
    fields = {name for schema in document["components"]["schemas"].values() for name in schema.get("properties", {})}
    parameters = {
        one["name"]
        for operations in document["paths"].values()
        for operation in operations.values()
        for one in operation["parameters"]
        if "name" in one
    }

    assert {"state", "vendor_state"}.isdisjoint(fields | parameters)
    assert {"status", "vendor_status"} <= fields


def test_an_operation_has_one_name() -> None:
    names = [operation.operation_id for operation in OPERATIONS]

    assert len(names) == len(set(names))


def test_no_schema_has_a_field_of_its_own_name() -> None:
    """Generated Python clients confuse the two."""
    schemas = build_document()["components"]["schemas"]
    names = {name: re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in schemas}

    assert [name for name in schemas if names[name] in schemas[name].get("properties", {})] == []


def test_the_errors_document_has_one_section_for_each_type_of_problem() -> None:
    assert ERRORS_FILE.read_text() == "".join(errors_document()), "run: python -m service.server.openapi.document"


async def test_the_type_of_a_problem_is_the_path_of_a_page_about_it(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for problem in PROBLEM_TYPES.values():
            response = await acme.client.get(problem.uri)

            assert (response.status, response.content_type) == (200, "text/markdown")
            assert await response.text() in ERRORS_FILE.read_text()
        assert (await acme.client.get("/v1/errors/nonsense")).status == 404


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": "dead"}, "status"),
        ({"status": "live", "more": 1}, "more"),
        ({}, "status"),
    ],
)
def test_an_answer_that_the_document_does_not_describe_fails_a_test(answer: dict[str, object], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_answer("GET", "/live", 200, "application/json", json.dumps(answer).encode())


@pytest.mark.parametrize(("status", "content_type"), [(201, "application/json"), (200, "text/plain")])
def test_an_undocumented_status_or_content_type_fails_a_test(status: int, content_type: str) -> None:
    with pytest.raises(AssertionError, match="is not documented"):
        check_answer("GET", "/live", status, content_type, b'{"status": "live"}')


async def test_the_document_and_the_reference_page_need_no_key_and_no_other_host(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        document = await acme.client.get("/v1/openapi.json")
        page = await acme.client.get("/v1/docs")
        files = [await acme.client.get(f"/v1/docs/{name}") for name in ("swagger-ui-bundle.js", "swagger-ui.css")]
        start = await acme.client.get("/v1/docs/start.js")
        html, script = await page.text(), await start.text()

        assert (await document.json())["openapi"].startswith("3.1")
        assert (page.status, page.content_type) == (200, "text/html")
        assert "script-src 'self'; style-src 'self'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert [file.status for file in files] == [200, 200]
        assert "//" not in html.replace("</", "")
        assert "persistAuthorization: false" in script
        assert (await acme.client.get("/v1/docs/..%2Fopenapi.json")).status == 404


@pytest.mark.parametrize("scopes", [["read"], ["audit"], ["reveal"], ["operator"], ["admin", "read"]])
async def test_any_key_learns_its_ledger_its_scopes_and_the_positions(dsn: str, scopes: list[str]) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "pointsIssued"))
        await acme.ask_now(ACCOUNT)
        async with acme.database() as connection:
            key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, scopes)
            looks = await connection.fetchval("SELECT count(*) FROM ledger.access")

        status, info = await acme.ask("/v1/info", key=key)

        assert (status, info["ledger"], info["scopes"]) == (200, "acme", sorted(scopes))
        assert (info["ledger_position"], info["as_of_position"]) == (1, 1)
        async with acme.database() as connection:
            assert await connection.fetchval("SELECT count(*) FROM ledger.access") == looks


async def test_a_page_names_the_next_page_in_a_link_header(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "pointsIssued"))
        await acme.ask_now(ACCOUNT)
        bearer = {"Authorization": f"Bearer {acme.key}"}
        path = f"{ACCOUNT}/statement?limit=1&at=2024-01-01T00:00:00Z"

        items, links = [], 0
        while path:
            response = await acme.client.get(path, headers=bearer)
            page = await response.json()
            items += page["items"]
            path = URL(response.links["next"]["url"]).path_qs if "next" in response.links else ""
            assert bool(path) is (page["next"] is not None)
            links += bool(path)

        assert links >= 1
        assert [item["line"] for item in items] == list(range(1, len(items) + 1))


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
async def test_a_body_of_another_content_type_is_refused(dsn: str, content_type: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        async with acme.database() as connection:
            key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, ["admin"])
        headers = {"Authorization": f"Bearer {key}", "Content-Type": content_type}
        response = await acme.client.post("/v1/customers/1/erasure", data=b'{"reason": "x"}', headers=headers)

        assert (response.status, (await response.json())["type"]) == (415, "/v1/errors/content-type-unknown")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"policy": "ann@example.com"}', "`policy` must be earliest, latest or both"),
        (b'{"policy": 1}', "`policy` must be earliest, latest or both"),
        (b'{"policy": "both", "polcy": "x"}', "the body has an unknown field `polcy`"),
        (b'{"policy": "both", "ann@example.com": 1}', "the body has an unknown field)"),
        (b"{}", "`policy` is missing"),
        (b"[]", "the body must be a JSON object"),
        (b"{", "the body must be JSON"),
        (b'{"policy": "\xff"}', "the body must be JSON"),
    ],
)
async def test_an_invalid_body_is_refused_with_the_rule_and_without_its_values(
    dsn: str, body: bytes, sentence: str
) -> None:
    async with serving(dsn, "acme") as [acme]:
        async with acme.database() as connection:
            key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, ["admin"])
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        response = await acme.client.put(
            "/v1/reconciliation/policies/capillary/pointsIssued", data=body, headers=headers
        )
        problem = await response.json()

        assert (response.status, problem["type"]) == (400, "/v1/errors/request-invalid")
        assert sentence in problem["detail"]
        assert "example" not in problem["detail"]
