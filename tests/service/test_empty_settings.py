"""An environment variable that is empty counts as not set."""

from pathlib import Path

import pytest

from service.settings import Settings


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOYALTY_DATA", "LOYALTY_PORT", "DATABASE_URL", "LOYALTY_PUBLIC_URL"):
        monkeypatch.setenv(variable, "")

    settings = Settings()

    assert (settings.data, settings.port) == (Path("data"), 8080)
    assert (settings.database_url, settings.public_url) == (None, None)
