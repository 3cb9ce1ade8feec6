"""URLs of the services that run on a data folder: one line each in the file `service.url`, for other commands to print.

Several services may run on one folder, and a killed one leaves its line. So a service removes only its own line, and a
reader connects before it trusts a line.
"""

import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from service.embedded.server import file_lock

ADDRESS_FILE = "service.url"
LOCK_FILE = "service.lock"
CONNECT_SECONDS_MAX = 0.5


def add_url(folder: Path, url: str) -> None:
    """Record the URL of a service that listens."""
    with file_lock(folder / LOCK_FILE):
        _write(folder, [*(line for line in _read(folder) if line != url), url])


def remove_url(folder: Path, url: str) -> None:
    """Remove the URL of a service that has stopped. Other lines stay."""
    with suppress(OSError), file_lock(folder / LOCK_FILE):
        _write(folder, [line for line in _read(folder) if line != url])


def find_running_url(folder: Path) -> str | None:
    """Return the URL of a service that accepts connections; the newest if there are several. None if there is none."""
    return next((url for url in reversed(_read(folder)) if _answers(url)), None)


def _read(folder: Path) -> list[str]:
    try:
        return (folder / ADDRESS_FILE).read_text().split()
    except OSError:
        return []


def _write(folder: Path, urls: list[str]) -> None:
    file = folder / ADDRESS_FILE
    if urls:
        file.write_text("".join(f"{url}\n" for url in urls))
    else:
        file.unlink(missing_ok=True)


def _answers(url: str) -> bool:
    try:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port or 80), CONNECT_SECONDS_MAX):
            return True
    except (OSError, ValueError):
        return False
