"""The hosts of a DSN, one DSN for each.

DATABASE_URL may name several hosts, of which one is the primary. asyncpg tries them in order, within one time limit for
all. A first host that is switched off, and answers nothing, would use up the whole limit. So each host is tried by
itself, with a limit of its own.
"""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def split_hosts(dsn: str) -> list[str]:
    """Return a DSN for each host that a DSN names, in order. A DSN that names none, or one, is returned as it is."""
    parts = urlsplit(dsn)
    credentials, at, hosts = parts.netloc.rpartition("@")
    if hosts:
        return [urlunsplit(parts._replace(netloc=f"{credentials}{at}{host}")) for host in hosts.split(",")]
    query = parse_qsl(parts.query, keep_blank_values=True)
    sockets = dict(query).get("host", "").split(",")
    ports = dict(query).get("port", "").split(",")
    if len(sockets) == 1 or len(ports) not in (1, len(sockets)):
        return [dsn]
    if len(ports) == 1:
        ports *= len(sockets)
    return [
        urlunsplit(parts._replace(query=urlencode(_replaced(query, host=host, port=port))))
        for host, port in zip(sockets, ports, strict=True)
    ]


def _replaced(query: list[tuple[str, str]], **values: str) -> list[tuple[str, str]]:
    return [(name, values.get(name, value)) for name, value in query]
