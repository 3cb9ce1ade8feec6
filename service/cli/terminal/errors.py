"""Error messages and exit codes of errors. Loaded only when an error occurs."""

import asyncpg
from pydantic import ValidationError

from ledger.errors import (
    BackupWrong,
    ExportWrong,
    FileDamaged,
    KeyWrong,
    LedgerError,
    NoteWrong,
    NotPromoted,
    Refused,
    Unsealable,
)
from service.cli.terminal.exit_codes import FAILURE, FINDINGS, USAGE_ERROR

FINDING_ERRORS = (FileDamaged, NotPromoted, BackupWrong, ExportWrong, NoteWrong, Unsealable)
USAGE_ERRORS = (Refused, KeyWrong)
PATH_ERRORS = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def describe_error(error: Exception) -> str | None:
    """Return a sentence about an error. None for an unexpected error, which is shown with its traceback."""
    match error:
        case LedgerError():
            return str(error)
        case ValidationError():  # outside ledgers only settings are validated
            wrong = (f"{_variable(part['loc'])}: {part['msg']}" for part in error.errors(include_input=False))
            return f"Invalid settings: {'; '.join(wrong)}"
        case asyncpg.ReadOnlySQLTransactionError() | asyncpg.TargetServerAttributeNotMatched():
            return "The database takes no writes now: it is a replica, or was demoted. Run the command again later"
        case asyncpg.PostgresError():  # its details may quote rows
            return f"The database refused a statement: {error.message or type(error).__name__}"
        case asyncpg.InterfaceError() | asyncpg.InternalClientError():
            return f"The database cannot be used: {error}"
        case TimeoutError():
            return "The database or the network did not answer in time"
        case OSError():
            named = f": {error.filename}" if error.filename is not None else ""
            return f"{error.strerror or str(error) or type(error).__name__}{named}"
    return None


def exit_code_for(error: Exception) -> int:
    """Return the exit code for an error."""
    if isinstance(error, FINDING_ERRORS):
        return FINDINGS
    if isinstance(error, USAGE_ERRORS) or (isinstance(error, PATH_ERRORS) and error.filename is not None):
        return USAGE_ERROR
    return FAILURE


def _variable(location: tuple[str | int, ...]) -> str:
    name = "_".join(str(part) for part in location).upper()
    return name if name == "DATABASE_URL" else f"LOYALTY_{name}"
