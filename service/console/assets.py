"""Files of the console: the style sheet, the scripts, the fonts and the icon. They are read once, and need no key."""

import hashlib
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).with_name("static")
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
SECONDS_MAX = 86_400  # in the caches of browsers; the address changes with the content
FILES = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in TYPES}


async def get_asset(request: web.Request) -> web.Response:
    """Return a file of the console."""
    name = request.match_info["asset"]
    if name not in FILES:
        raise web.HTTPNotFound
    content_type = TYPES[Path(name).suffix]
    return web.Response(
        body=FILES[name],
        content_type=content_type,
        charset=None if content_type.startswith("font/") else "utf-8",
        headers={"Cache-Control": f"public, max-age={SECONDS_MAX}"},
    )


def asset_href(name: str) -> str:
    """Return the address of a file. It holds a hash of the content."""
    return f"/console/static/{name}?v={hashlib.sha256(FILES[name]).hexdigest()[:12]}"
