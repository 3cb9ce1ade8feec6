"""The person behind a command: the user of the operating system. Each change by a command is recorded with the name."""

import os
import pwd

from ledger.database import Connection
from ledger.privacy.access_log import record_access
from ledger.store.registry import Ledger

OPERATOR = "operator"  # stands for the key, which a command has not


def operator_name() -> str:
    """Return the name of the user who runs this process."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def called_by() -> str:
    """Return the words about the person that end each recorded reason."""
    return f"(command line, {operator_name()})"


async def record_command(connection: Connection, command: str, *ledgers: Ledger) -> None:
    """Record, before it happens, that a command changes some ledgers. The audit of each ledger shows it."""
    for ledger in ledgers:
        await record_access(connection, ledger.ledger_id, OPERATOR, f"command {command}", called_by())
