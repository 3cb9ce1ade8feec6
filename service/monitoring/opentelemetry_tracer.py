"""Send spans to an OpenTelemetry collector (OTLP over HTTP), in batches from a thread. Needs the extra `otel`.

The contributed instrumentations are not used: they record the texts of exceptions, which may quote personal values.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ledger import spans
from ledger.errors import SetupWrong
from ledger.spans import Attribute
from service.monitoring.position_gauges import software_version

SERVICE_NAME = "loyalty-ledger"
EXPORT_SECONDS_MAX = 10
PATH = "/v1/traces"


def install_tracer(endpoint: str | None, process: str, exporter: Any = None) -> Any:
    """Send the spans of this process to a collector, such as http://127.0.0.1:4318. Without an endpoint do nothing.

    `process` names the kind of process. Returns the provider, whose `shutdown` sends the last spans. Raises SetupWrong
    without the extra.
    """
    if endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise SetupWrong("LOYALTY_TRACES needs more packages. Install loyalty-ledger[otel]") from None
    url = endpoint.rstrip("/")
    exporter = exporter or OTLPSpanExporter(url if url.endswith(PATH) else f"{url}{PATH}", timeout=EXPORT_SECONDS_MAX)
    resource = Resource.create(
        {"service.name": SERVICE_NAME, "service.version": software_version(), "loyalty.process": process}
    )
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    spans.install(OpenTelemetryTracer(provider.get_tracer(SERVICE_NAME)))
    return provider


class OpenTelemetryTracer:
    """Implements ledger.spans.Tracer."""

    def __init__(self, tracer: Any) -> None:
        from opentelemetry import trace

        self._tracer = tracer
        self._trace = trace

    @contextmanager
    def span(self, name: str, attributes: dict[str, Attribute], links: Sequence[Any]) -> Iterator[Any]:
        """Run the block as a span. An error sets its status to the error's class."""
        with self._tracer.start_as_current_span(
            name, attributes=attributes, links=links, record_exception=False, set_status_on_exception=False
        ) as current:
            try:
                yield current
            except BaseException as error:
                current.set_status(self._trace.Status(self._trace.StatusCode.ERROR, type(error).__name__))
                raise

    def current_span(self) -> Any:
        """Return a link to the current span; None if there is none."""
        context = self._trace.get_current_span().get_span_context()
        return self._trace.Link(context) if context.is_valid else None

    def set_attributes(self, attributes: dict[str, Attribute]) -> None:
        """Add attributes to the current span."""
        self._trace.get_current_span().set_attributes(attributes)
