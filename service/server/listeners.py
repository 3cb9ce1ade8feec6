"""Open the sockets on which the service listens, and accept connections from them.

uvloop accepts one connection of a listening socket in each turn of the event loop. Under load a turn takes some
milliseconds, and hundreds of new clients would wait for seconds while others are served. So each socket is listened to
ACCEPTS_PER_TURN times.
"""

import os
import socket
from collections.abc import Sequence

from aiohttp import web

BACKLOG = 1024  # connections that nobody has accepted yet; beyond it, clients try again after seconds
ACCEPTS_PER_TURN = 16


def open_sockets(host: str, port: int) -> list[socket.socket]:
    """Listen on each address of a host. With port 0, all have the same free port. Raises OSError."""
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((family, address[:2]) for family, _, _, _, address in found):
            chosen = port or (sockets[0].getsockname()[1] if sockets else 0)
            sockets.append(socket.create_server((str(address[0]), chosen), family=family, backlog=BACKLOG))
    except OSError as error:
        for one in sockets:
            one.close()
        raise listening_error(error, host, port) from error
    return sockets


async def start_sites(runner: web.BaseRunner, sockets: Sequence[socket.socket]) -> None:
    """Accept connections of all sockets. The runner closes what it uses of them; the sockets stay open."""
    for one in sockets:
        for _ in range(ACCEPTS_PER_TURN):
            await web.SockSite(runner, one.dup(), backlog=BACKLOG).start()


def listening_error(error: OSError, host: str, port: int) -> OSError:
    """Return an error that names the address on which the service cannot listen."""
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error
    return OSError(error.errno, f"Cannot listen on port {port} of {host}: {reason}")
