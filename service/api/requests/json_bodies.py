"""Read the JSON body of a request into its declared type. Unknown fields are refused: a misspelt one has an effect."""

import re
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
from aiohttp import web

from ledger.errors import ContentTypeUnknown, RequestInvalid
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.bodies import read_body
from service.operations.adjust import Author
from service.queries.context import QueryContext

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`", re.DOTALL)
_PLACE = re.compile(r"at `\$\.(\w+)")
_EXPECTED = re.compile(r"Expected `([^`]+)`")
TYPE_WORDS = {
    "str": "a string",
    "bool": "true or false",
    "int": "a whole number",
    "array": "a list",
    "object": "an object",
    "date": "a day, such as 2026-12-31",
    "int | str": "a whole number, or a string",
}


class Authored(msgspec.Struct, forbid_unknown_fields=True):
    """The author and the reason of a change. Both are stored encrypted."""

    author: str
    reason: str

    def author_of(self, query: QueryContext) -> Author:
        """Return the author, with the key that the change was made with."""
        return Author(f"key {query.key_id}", self.author, self.reason)


async def read_json_body(request: web.Request, kind: type[T]) -> T:
    """Return the JSON body of a request. No body counts as {}. Raises RequestInvalid, ContentTypeUnknown."""
    text = await read_body(request, request.app[APP_CONTEXT].body_budget)
    if text:
        check_content_type(request)
    try:
        return msgspec.json.decode(text or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise RequestInvalid(_sentence(str(error), kind)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RequestInvalid("the body must be JSON") from None


def check_content_type(request: web.Request) -> None:
    """Raise ContentTypeUnknown unless a body is declared as JSON."""
    kind = request.content_type
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise ContentTypeUnknown


def _sentence(text: str, kind: Any) -> str:
    """Return a sentence about an invalid body. It quotes no value: msgspec's own messages may."""
    missing, unknown = _MISSING.match(text), _UNKNOWN.match(text)
    place, expected = _PLACE.search(text), _EXPECTED.match(text)
    if missing:
        return f"`{missing[1]}` is missing"
    if unknown:
        name = f" `{unknown[1]}`" if NAME.fullmatch(unknown[1]) else ""
        return f"the body has an unknown field{name}"
    if place is None:
        return "the body must be a JSON object"
    choices = get_args(get_type_hints(kind).get(place[1])) if hasattr(kind, "__struct_fields__") else ()
    if choices and all(isinstance(one, str) for one in choices):
        return f"`{place[1]}` must be {', '.join(choices[:-1])} or {choices[-1]}"
    wanted = (expected[1] if expected else "").removesuffix(" | null")
    return f"`{place[1]}` must be {TYPE_WORDS.get(wanted, 'a value of another type')}"
