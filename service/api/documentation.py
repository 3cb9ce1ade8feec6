"""The OpenAPI document, its reference page, and a page for each type of problem. They need no key.

The reference page is Swagger UI from files of this package. Its content security policy allows no other source.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from ledger.errors import NotFound
from service.api.problems import PROBLEM_TYPES, section_of
from service.api.requests.admission import keyless

FOLDER = Path(__file__).with_name("reference")
ICON = Path(__file__).parents[1] / "console/static/icon.svg"
# Swagger UI has its icons in data: URLs, and asks this service when a reader tries a request.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ONE_HOUR = "public, max-age=3600"


class StaticFile(NamedTuple):
    """A file of the reference page."""

    name: str
    content_type: str


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


def _response(file: StaticFile) -> web.Response:
    response = web.Response(
        body=_read(FOLDER / file.name),
        content_type=file.content_type,
        charset=None if file.content_type == "application/json" else "utf-8",
        headers={"Cache-Control": ONE_HOUR, "Content-Security-Policy": PAGE_POLICY},
    )
    response.enable_compression()
    return response


async def get_openapi_document(_request: web.Request) -> web.Response:
    """Return the OpenAPI document of this API."""
    return _response(StaticFile("openapi.json", "application/json"))


async def get_reference_page(_request: web.Request) -> web.Response:
    """Return the reference page of this API."""
    return _response(StaticFile("index.html", "text/html"))


async def get_reference_file(request: web.Request) -> web.Response:
    """Return a file of the reference page."""
    file = FILES.get(request.match_info["file"])
    if file is None:
        raise NotFound
    return _response(file)


async def get_icon(_request: web.Request) -> web.Response:
    """Return the icon of this service, which browsers ask for."""
    return _response(StaticFile(str(ICON), "image/svg+xml"))


async def get_problem_type(request: web.Request) -> web.Response:
    """Return a page about a type of problem: its meaning and its remedy."""
    problem = PROBLEM_TYPES.get(request.match_info["problem"])
    if problem is None:
        raise NotFound
    return web.Response(
        text=section_of(problem), content_type="text/markdown", charset="utf-8", headers={"Cache-Control": ONE_HOUR}
    )


FILES: Mapping[str, StaticFile] = {
    file.name: file
    for file in (
        StaticFile("swagger-ui-bundle.js", "text/javascript"),
        StaticFile("swagger-ui.css", "text/css"),
        StaticFile("start.js", "text/javascript"),
    )
}

OPERATIONS = (
    keyless("/v1/openapi.json", get_openapi_document, tag="service", answer=None, media=("application/json",)),
    keyless("/v1/docs", get_reference_page, tag="service", answer=None, media=("text/html",)),
    keyless("/v1/docs/{file}", get_reference_file, tag="service", answer=None, media=("text/javascript", "text/css")),
    keyless("/favicon.ico", get_icon, tag="service", answer=None),
    keyless("/v1/errors/{problem}", get_problem_type, tag="service", answer=None, media=("text/markdown",)),
)
