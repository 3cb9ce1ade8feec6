"""Counters and histograms of one process.

No label holds a subject, a customer, an account or an event key. Each histogram has at most 8 buckets, and series exist
only for routes that were requested and ledgers that received a delivery. So a scrape stays cheap.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.utils import INF

from ledger.events import NewEvent
from ledger.store.append import AppendResult
from service.monitoring.samples import LEDGERS_MAX

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "_OTHER"  # stands for a method beyond METHODS, and for a ledger beyond LEDGERS_MAX
REQUEST_BUCKETS = (0.005, 0.025, 0.1, 0.25, 1, 2.5, 10, INF)
APPEND_BUCKETS = (0.002, 0.005, 0.01, 0.05, 0.25, 1, 4.5, INF)
EVENT_BUCKETS = (1, 2, 5, 20, 50, 200, 500, INF)
DELAY_BUCKETS = (1, 10, 60, 600, 3_600, 86_400, 604_800, INF)
REFUSALS = ("credentials", "too_large", "coding", "invalid", "slow", "unknown_connection", "unavailable")

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the number of series


class Instruments:
    """The counters and histograms of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self._request_seconds = Histogram(
            "http_server_request_duration_seconds",
            "Duration of requests, from their head to the end of the answer.",
            ("http_request_method", "http_route", "http_response_status_code"),
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self._active_requests = Gauge(
            "http_server_active_requests",
            "Requests that are being answered.",
            ("http_request_method", "http_route"),
            registry=registry,
        )
        self._deliveries = Counter(
            "loyalty_deliveries",
            "Stored deliveries. The outcome is conflict if one of its events is in conflict, else appended if one of "
            "them is new, else duplicate.",
            ("ledger", "source", "outcome"),
            registry=registry,
        )
        self._refused = Counter(
            "loyalty_deliveries_refused", "Refused deliveries, by reason.", ("reason",), registry=registry
        )
        for reason in REFUSALS:  # the first refusal is then an increase from 0
            self._refused.labels(reason)
        self._append_seconds = Histogram(
            "loyalty_append_seconds", "Duration of commits.", buckets=APPEND_BUCKETS, registry=registry
        )
        self._append_events = Histogram(
            "loyalty_append_events", "Events per commit.", buckets=EVENT_BUCKETS, registry=registry
        )
        self.append_waiting = Gauge(
            "loyalty_append_waiting", "Deliveries that wait to be stored, without those of a running commit.",
            registry=registry,
        )  # fmt: skip
        self._event_delay = Histogram(
            "loyalty_event_delay_seconds",
            "Time from the occurrence of an event, as its vendor states it, to its recording.",
            ("ledger", "source"),
            buckets=DELAY_BUCKETS,
            registry=registry,
        )
        self._anchor_failures = Counter(
            "loyalty_anchor_failures", "Checkpoints that an anchor did not take.", ("ledger",), registry=registry
        )
        self._ledgers: set[str] = set()

    @contextmanager
    def active_request(self, method: str, route: str) -> Iterator[None]:
        """Count a request as active while the block runs."""
        gauge = self._active_requests.labels(_method(method), route)
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Observe one answered request. `route` is the template of its path, empty for an unknown path."""
        self._request_seconds.labels(_method(method), route, str(status)).observe(seconds)

    def observe_delivery(
        self, ledger: str, source: str, events: Sequence[NewEvent], results: Sequence[AppendResult], at: datetime
    ) -> None:
        """Observe one stored delivery, and the delay of its new events."""
        label = self._ledger_label(ledger)
        outcomes = {result.outcome for result in results}
        outcome = next((one for one in ("conflict", "appended") if one in outcomes), "duplicate")
        self._deliveries.labels(label, source, outcome).inc()
        delays = self._event_delay.labels(label, source)
        for event, result in zip(events, results, strict=True):
            if result.outcome != "duplicate" and event.occurred_at is not None:
                delays.observe(max(0.0, (at - event.occurred_at).total_seconds()))

    def count_refusal(self, reason: str) -> None:
        """Count one refused delivery. `reason` is one of REFUSALS."""
        self._refused.labels(reason).inc()

    def observe_commit(self, seconds: float, events: int) -> None:
        """Observe one commit of the appender."""
        self._append_seconds.observe(seconds)
        self._append_events.observe(events)

    def count_anchor_failure(self, ledger: str) -> None:
        """Count a checkpoint that an anchor did not take."""
        self._anchor_failures.labels(self._ledger_label(ledger)).inc()

    def _ledger_label(self, ledger: str) -> str:
        if ledger in self._ledgers or len(self._ledgers) < LEDGERS_MAX:
            self._ledgers.add(ledger)
            return ledger
        return OTHER


def _method(method: str) -> str:
    return method if method in METHODS else OTHER
