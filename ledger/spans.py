"""Spans of our own work, for a tracer that the service installs. Without one they cost a comparison.

Attributes hold names of ledgers, stages and counts, never a value of a request. Nothing here knows OpenTelemetry:
`service/monitoring/opentelemetry_tracer.py` does.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeAlias

Attribute: TypeAlias = str | int | float | bool
SpanLink: TypeAlias = Any  # a value of the tracer


class Tracer(Protocol):
    """Begins spans."""

    def span(
        self, name: str, attributes: dict[str, Attribute], links: Sequence[SpanLink]
    ) -> AbstractContextManager[Any]:
        """Return a context manager that is the span. An error ends it with the error's class, without its text."""

    def current_span(self) -> SpanLink | None:
        """Return a link to the current span, if there is one."""

    def set_attributes(self, attributes: dict[str, Attribute]) -> None:
        """Add attributes to the current span."""


_tracer: Tracer | None = None


def install(tracer: Tracer | None) -> None:
    """Use a tracer in this process from now on; None ends tracing."""
    global _tracer  # one for the process, as for logging
    _tracer = tracer


def span(name: str, links: Sequence[SpanLink] = (), **attributes: Attribute) -> AbstractContextManager[Any]:
    """Return a span around a block. Names of attributes get the prefix "loyalty."."""
    if _tracer is None:
        return nullcontext()
    return _tracer.span(name, {f"loyalty.{key}": value for key, value in attributes.items()}, links)


def current_span() -> SpanLink | None:
    """Return a link to the current span; None without a tracer."""
    return None if _tracer is None else _tracer.current_span()


def set_attributes(attributes: dict[str, Attribute]) -> None:
    """Add attributes to the current span."""
    if _tracer is not None:
        _tracer.set_attributes(attributes)
