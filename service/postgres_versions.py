"""Supported versions of PostgreSQL, and the newest releases known to this version of the software."""

from ledger.database import Connection
from ledger.errors import SetupWrong

OLDEST_MAJOR = 15
KNOWN_AS_OF = "2026-11-30"
# The newest minor release of each major version on that day. Minor releases fix security holes.
NEWEST_MINORS = {15: 19, 16: 15, 17: 11, 18: 7}

VERSION = "SELECT current_setting('server_version_num')::int"


async def check_version(connection: Connection, *, embedded: bool) -> str | None:
    """Return a warning about the server's version, or None if it is new enough.

    Raises SetupWrong if it is older than the oldest supported version.
    """
    return judge_version(await connection.fetchval(VERSION), embedded=embedded)


def judge_version(number: int, *, embedded: bool) -> str | None:
    """Judge a version by its number, such as 180004 for 18.4. See `check_version`."""
    major, minor = divmod(number, 10_000)
    if major < OLDEST_MAJOR:
        raise SetupWrong(f"this is PostgreSQL {major}.{minor}, and {OLDEST_MAJOR} is the oldest that is supported")
    newest = NEWEST_MINORS.get(major)
    if newest is None or minor >= newest:
        return None
    remedy = "use it to try things out, and a server of your own in production" if embedded else "update the server"
    which = "The embedded PostgreSQL" if embedded else "PostgreSQL"
    return f"{which} {major}.{minor} lacks security fixes of {major}.{newest}, known by {KNOWN_AS_OF}: {remedy}."
