"""Where the services on a data folder listen: a line each in the file `service.url`, for other commands to print.

Several services may run on one folder, and one that was killed leaves its line. So each removes its own line only, and
who reads the file connects before believing it.
"""

import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from service.embedded.server import locked

ADDRESS_FILE = "service.url"
LOCK_FILE = "service.lock"
CONNECT_SECONDS_MAX = 0.5


def add(folder: Path, url: str) -> None:
    """Note that a service listens."""
    with locked(folder / LOCK_FILE):
        _write(folder, [*(line for line in _read(folder) if line != url), url])


def remove(folder: Path, url: str) -> None:
    """Note that a service listens no more; what others have noted stays."""
    with suppress(OSError), locked(folder / LOCK_FILE):
        _write(folder, [line for line in _read(folder) if line != url])


def listening_at(folder: Path) -> str | None:
    """Return the URL of a service that takes connections: of the one that came last, if there are several."""
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
