"""Log lines, request ids and spans: what they hold, and what they never hold."""

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ledger import spans
from ledger.errors import SetupWrong
from service.monitoring import logs
from service.monitoring.logs import LogFormat, configure_logs
from service.monitoring.opentelemetry_tracer import install_tracer
from tests.support.client import serving
from tests.support.payloads import issued

EMAIL = "ann@example.com"


@contextmanager
def logged(form: LogFormat, *, access: bool = False) -> Iterator[io.StringIO]:
    """Write this process's log into a text while the block runs."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    configure_logs(form, access=access, stream=written)
    try:
        yield written
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)


def documents(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_has_fields_of_the_list_and_no_other() -> None:
    log = logging.getLogger("service.test")
    with logged("json") as written:
        log.warning("stored\nin two lines", extra={"ledger": "acme", "position": 7, "email": EMAIL})

    [line] = documents(written)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "warning", "logger": "service.test", "message": "stored in two lines", "ledger": "acme", "position": 7,
    }  # fmt: skip


def test_text_lines_hold_the_same_fields() -> None:
    with logged("text") as written:
        logging.getLogger("service.test").error("refused", extra={"reason": "too\nlarge", "email": EMAIL})

    assert written.getvalue().endswith("Z ERROR service.test: refused reason=too large\n")


def test_exceptions_and_other_libraries_quote_nothing() -> None:
    with logged("json") as written:
        try:
            raise ValueError(f"cannot read {EMAIL}")
        except ValueError:
            logging.getLogger("service.test").exception("it failed")
        logging.getLogger("aiohttp.server").error("Error handling request from %s", EMAIL)
        logging.getLogger("alembic.runtime.migration").info("Running upgrade")
        logging.getLogger("aiohttp.access").warning("GET /v1/customers/%s", EMAIL)
        logging.getLogger("asyncio").error(f"Task exception was never retrieved\nfuture: ValueError('{EMAIL}')")

    assert EMAIL not in written.getvalue()
    assert [line["message"] for line in documents(written)] == [
        "it failed: ValueError", "Error handling request from %s", "Task exception was never retrieved",
    ]  # fmt: skip


async def test_the_access_log_has_templates_of_routes_and_request_ids(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        with logged("json", access=True) as written:
            await acme.ask(f"/v1/customers/{EMAIL}", min_position="0")
            await acme.client.get(f"/v1/{EMAIL}?who={EMAIL}", headers={"X-Request-Id": "from-the-proxy.1"})
            await acme.deliver(issued("a", 0, 1, 5), **{acme.inbound["capillary"].header: "a-wrong-secret"})
        with logged("json") as without:
            await acme.ask("/v1/projections")

    requests = [line for line in documents(written) if line["logger"] == logs.ACCESS_LOG]
    assert [(line["method"], line["route"], line["status"], line.get("ledger")) for line in requests] == [
        ("GET", "/v1/customers/{id}", 404, "acme"),
        ("GET", "unknown", 404, None),
        ("POST", "/v1/hooks/{connection_id}", 401, None),
    ]
    [refusal] = [line for line in documents(written) if line["logger"] == "service.api.requests.refusals"]
    assert (refusal["reason"], refusal["ledger"], refusal["source"]) == ("credentials", "acme", "capillary")
    assert refusal["request_id"] == requests[2]["request_id"]
    assert requests[1]["request_id"] == "from-the-proxy.1"
    assert all(line["duration_ms"] >= 0 for line in requests)
    assert EMAIL not in written.getvalue()
    assert without.getvalue() == ""


@pytest.mark.parametrize(
    "given",
    ["", "a b", "x" * 65, "ärger", '"};alert(1)', "a\tb"],
    ids=["empty", "blank", "long", "umlaut", "signs", "tab"],
)
async def test_a_request_id_that_is_none_is_replaced(dsn: str, given: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        kept = await acme.client.get("/live", headers={"X-Request-Id": "01JD-abc_9.z"})
        replaced = await acme.client.get("/live", headers={"X-Request-Id": given})
        twice = await acme.client.get("/live", headers=[("X-Request-Id", "one"), ("X-Request-Id", "two")])

    assert kept.headers["X-Request-Id"] == "01JD-abc_9.z"
    for response in (replaced, twice):
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-Id"])


@contextmanager
def traced() -> Iterator[list[ReadableSpan]]:
    """Collect the spans of this process while the block runs."""
    exporter = InMemorySpanExporter()
    provider = install_tracer("http://127.0.0.1:4318", "test", exporter)
    found: list[ReadableSpan] = []
    try:
        yield found
    finally:
        spans.install(None)
        provider.shutdown()
        found += exporter.get_finished_spans()


async def test_spans_name_requests_appends_and_batches_and_quote_nothing(dsn: str) -> None:
    with traced() as found:
        async with serving(dsn, "acme") as [acme]:
            await acme.deliver(issued("a", 0, 1, 5))
            await acme.ask_now("/v1/accounts/1:77:points")
            await acme.ask(f"/v1/customers/{EMAIL}")

    by_name = {span.name: span for span in found}
    delivery, append, batch = (by_name[name] for name in ("POST /v1/hooks/{connection_id}", "append", "project batch"))
    assert dict(delivery.attributes or {}) == {
        "http.route": "/v1/hooks/{connection_id}",
        "http.response.status_code": 200,
    }
    assert [link.context.span_id for link in append.links] == [delivery.context.span_id if delivery.context else None]
    assert (append.attributes or {})["loyalty.deliveries"] == 1
    assert (batch.attributes or {})["loyalty.events"] == 1
    assert "GET /v1/customers/{id}" in by_name
    assert EMAIL not in "".join(span.to_json() for span in found)


async def test_a_span_of_an_error_names_its_class_only() -> None:
    with traced() as found, pytest.raises(ValueError, match="ann"), spans.span("append", ledger_id=1):
        raise ValueError(EMAIL)

    assert found[0].status.description == "ValueError"
    assert found[0].events == ()


def test_without_the_extra_traces_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)

    with pytest.raises(SetupWrong, match=r"Install loyalty-ledger\[otel\]"):
        install_tracer("http://127.0.0.1:4318", "serve")


def test_spans_cost_nothing_unless_asked() -> None:
    assert install_tracer(None, "serve") is None
    assert spans.current_span() is None
    assert spans.span("append", ledger_id=1) is not None
