"""Every test of the service fails when a request, or work of the service itself, holds the event loop for too long."""

from collections.abc import Iterator

import pytest

from tests.support.watchdog import Watchdog, watching


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[Watchdog]:
    """Watch the event loop of the test."""
    with watching() as dog:
        yield dog
    assert not dog.held, "\n".join(dog.held)
