"""Render pages: Jinja2 templates with automatic escaping, and the filters that write points, times and links."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import jinja2
from aiohttp import web

from ledger.errors import RequestInvalid
from service.console.assets import asset_href
from service.console.cells import render_rows, render_value
from service.console.cookies import PATH
from service.console.formats import (
    format_day,
    format_fact,
    format_fact_value,
    format_points,
    format_signed,
    format_text,
    format_time,
    shorten,
    state_look,
)
from service.console.navigation import SCREENS
from service.console.tables import FORMATS, PageTable, table_csv, table_json
from service.console.visitors import VISITOR, form_token

TYPES = {"csv": "text/csv", "json": "application/json"}


class Page(NamedTuple):
    """Contents of one page: its template, its title, its tables, and further values of the template."""

    template: str
    title: str
    tables: Sequence[PageTable] = ()
    values: Mapping[str, Any] = {}
    status: int = 200


def respond(request: web.Request, page: Page) -> web.Response:
    """Answer with a page, or with one of its tables if `format` asks for a file. `table` names it."""
    wanted = request.query.get("format", "html")
    if wanted == "html":
        return web.Response(text=render(request, page), content_type="text/html", status=page.status)
    if wanted not in FORMATS:
        raise RequestInvalid("`format` must be html, csv or json")
    name = request.query.get("table") or (page.tables[0].name if page.tables else "")
    table = next((table for table in page.tables if table.name == name), None)
    if table is None:
        names = ", ".join(table.name for table in page.tables)
        raise RequestInvalid(f"`table` must be one of this page: {names or 'it has none'}")
    return file_response(request, table, wanted)


def file_response(request: web.Request, table: PageTable, wanted: str) -> web.Response:
    """Answer with a table as a file. `Link` names the address of the next rows."""
    body = table_csv(table) if wanted == "csv" else table_json(table)
    disposition = f'attachment; filename="{table.name}.{wanted}"' if wanted == "csv" else "inline"
    headers = {"Content-Disposition": disposition}
    if table.next_cursor is not None:
        query = urlencode({**request.query, table.cursor_name: table.next_cursor})
        headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    return web.Response(body=body, content_type=TYPES[wanted], charset="utf-8", headers=headers)


def render(request: web.Request, page: Page) -> str:
    """Render a page as HTML."""
    visitor = request.get(VISITOR)

    def here(**changed: Any) -> str:
        """Return the address of this page with other parameters. None removes one."""
        query = {**request.query, **changed}
        text = urlencode({name: value for name, value in query.items() if value not in (None, "")})
        return f"{request.path}?{text}" if text else request.path

    return ENVIRONMENT.get_template(page.template).render(
        title=page.title,
        tables={table.name: table for table in page.tables},
        visitor=visitor,
        screens=[screen for screen in SCREENS if visitor and screen.is_open_to(visitor.access.scopes)],
        token=form_token(request),
        here=here,
        path=request.path,
        query=request.query,
        **page.values,
    )


def console_href(*parts: object, **query: object) -> str:
    """Return the address of a page. Parts and values are quoted."""
    path = "/".join([PATH, *(quote(str(part), safe=":") for part in parts)])
    text = urlencode({name: str(value) for name, value in query.items() if value is not None})
    return f"{path}?{text}" if text else path


def _make_environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters = {
        "points": format_points,
        "signed": format_signed,
        "time": format_time,
        "day": format_day,
        "fact": format_fact,
        "show": format_text,
        "show_fact": format_fact_value,
        "short": shorten,
        "look": state_look,
    }
    environment.filters.update(filters)
    environment.globals.update(href=console_href, asset=asset_href, rows_of=render_rows, value_of=render_value)
    return environment


ENVIRONMENT = _make_environment()
