"""Log lines on standard error, as text or JSON, with fields from an allow-list.

No line holds a value of a request: an exception is described by its class and its place, and a record of another
library by its template only, because its arguments may quote what a client sent.
"""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, TextIO

from ledger.failures import PACKAGES, describe_failure

LogFormat = Literal["text", "json"]
# Fields of a line, given by `extra=`. Any other is left out.
FIELDS = (
    "request_id", "ledger", "source", "connection", "position", "events", "reason", "method", "route", "status",
    "duration_ms",
)  # fmt: skip
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
ACCESS_LOG = "service.access"
MESSAGE_CHARACTERS_MAX = 2_000
NEVER = logging.CRITICAL + 1  # a level that no record has


class FieldsFormatter(logging.Formatter):
    """Writes a record as one line: time in UTC, level, logger, message, and the fields that it has."""

    def __init__(self, form: LogFormat) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = _message(record)
        fields = {name: value for name in FIELDS if (value := _field(record, name)) is not None}
        if self._form == "json":
            line = {"time": time, "level": record.levelname.lower(), "logger": record.name, "message": message}
            return json.dumps({**line, **fields}, ensure_ascii=False)
        words = "".join(f" {name}={value}" for name, value in fields.items())
        return f"{time} {record.levelname} {record.name}: {message}{words}"


def _is_own(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in PACKAGES


def _is_shown(record: logging.LogRecord) -> bool:
    """Return False for chatter of other libraries, and for their access logs, which quote paths."""
    return _is_own(record) or (record.levelno >= logging.WARNING and not record.name.endswith(".access"))


def _message(record: logging.LogRecord) -> str:
    """Return the message in one line. Of another library only the template, of an exception only class and place."""
    text = record.getMessage() if _is_own(record) else str(record.msg).partition("\n")[0]
    if record.exc_info and record.exc_info[1] is not None:
        text = f"{text}: {describe_failure(record.exc_info[1])}"
    return " ".join(text.split())[:MESSAGE_CHARACTERS_MAX]


def _field(record: logging.LogRecord, name: str) -> object:
    value = getattr(record, name, None)
    if value is None and name == "request_id":
        return REQUEST_ID.get()
    return value if isinstance(value, int | float) else None if value is None else " ".join(str(value).split())


def configure_logs(form: LogFormat, *, access: bool = False, stream: TextIO | None = None) -> None:
    """Write all log lines of this process to standard error. With `access`, also a line for each request."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(FieldsFormatter(form))
    handler.addFilter(_is_shown)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger(ACCESS_LOG).setLevel(logging.INFO if access else NEVER)
    logging.captureWarnings(capture=True)
