"""Leniency: an event is read without the values that cannot be read, if they are not essential.

Rules for all models:

- A field with a default may be unreadable. Then it counts as missing.
- An unreadable item of a list is left out, and the rest of the list is read.
- A field with the mark STRICT is essential. If its value cannot be read, its whole structure cannot be read.
- A field without a default is essential, too.

Example: `{"loyaltyProgramId": 1, "pointsExpired": 5, "triggeringActivity": {"name": [1]}}`. The name of the activity is
left out, and the points expire. With `"pointsExpired": "five"` the event cannot be read.

Method: pydantic builds a core schema for each model. In this schema, `on_error` lets a default replace an unreadable
value. That costs no time while reading. `unreadable_values` validates with the same schema without `on_error`, only
when a list of the problems is requested.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel
from pydantic_core import CoreSchema, SchemaValidator, ValidationError

T = TypeVar("T")
F = TypeVar("F")

UNREADABLE_VALUES_MAX = 100  # per event
ABSENT = "is absent"


class _Strict:
    """Type of the mark STRICT."""


STRICT: Final = _Strict()


class UnreadableValue(NamedTuple):
    """A value that could not be read: its path in the body and the problem, such as "is not a number"."""

    path: tuple[str | int, ...]
    problem: str
    value: Any


def make_lenient(model: type[BaseModel], schema: CoreSchema) -> CoreSchema:
    """Change a model's schema so that non-essential values may be unreadable, and return it."""
    fields = schema.get("schema", {}).get("fields") if schema["type"] == "model" else None
    if not fields:
        return schema
    for name, info in model.__pydantic_fields__.items():
        if any(annotation is STRICT for annotation in info.metadata):
            continue
        field = fields[name]["schema"]
        _omit_items(field)
        if field["type"] == "default":
            field["on_error"] = "default"
    return schema


def _omit_items(schema: Any) -> None:
    """Change the schema of a list so that it leaves out unreadable items. Other schemas stay unchanged."""
    while schema["type"] in ("default", "nullable", "function-before"):
        schema = schema["schema"]
    if schema["type"] == "list" and "items_schema" in schema:
        schema["items_schema"] = {"type": "default", "schema": schema["items_schema"], "on_error": "omit"}
    elif schema["type"] == "tuple" and schema.get("variadic_item_index") == 0:
        [items] = schema["items_schema"]
        schema["items_schema"] = [{"type": "default", "schema": items, "on_error": "omit"}]


def unreadable_values(model: type[BaseModel], body: Mapping[str, Any]) -> list[UnreadableValue]:
    """List the values of a body that the model leaves out. Missing and null values are not listed."""
    try:
        _strict_validator(model).validate_python(body)
    except ValidationError as invalid:
        return [
            UnreadableValue(error["loc"], describe_error(error), error["input"])
            for error in invalid.errors(include_url=False)[:UNREADABLE_VALUES_MAX]
            if error["type"] != "missing" and error["input"] is not None and describe_error(error) != ABSENT
        ]
    except Exception:  # a fault in our code; reading the event reports it
        return []
    return []


def facts_of_each(items: Iterable[T], facts: Callable[[T], Sequence[F]]) -> list[F]:
    """Return the facts of all items of a list. An item that raises ValueError is skipped.

    Raises the first ValueError if no item has facts.
    """
    found: list[F] = []
    first_error: ValueError | None = None
    for item in items:
        try:
            found += facts(item)
        except ValueError as error:
            first_error = first_error or error
    if first_error is not None and not found:
        raise first_error
    return found


@cache
def _strict_validator(model: type[BaseModel]) -> SchemaValidator:
    """Return a validator of a model that leaves nothing out."""
    return SchemaValidator(_without_leniency(model.__pydantic_core_schema__))


def _without_leniency(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_leniency(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("on_error") == "omit":
        return _without_leniency(schema["schema"])
    if schema.get("type") == "model":  # otherwise pydantic would use the model's own, lenient validator
        reference = {"ref": schema["ref"]} if "ref" in schema else {}
        return {**_without_leniency(schema["schema"]), **reference}
    kept = {key: part for key, part in schema.items() if key != "on_error"}
    return {key: part if key == "default" else _without_leniency(part) for key, part in kept.items()}


def describe_error(error: Mapping[str, Any]) -> str:
    """Return the problem of a value as a predicate, such as "is not a number".

    The text never contains the value, which may be personal. Our validators do not quote values, and pydantic's own
    messages are not used.
    """
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return ABSENT
    return f"is not {_EXPECTED_TYPES.get(error['type'], 'of the type that it must be')}"


_EXPECTED_TYPES = {
    "model_type": "a structure",
    "model_attributes_type": "a structure",
    "dict_type": "a structure",
    "list_type": "a list",
    "tuple_type": "a list",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "a text",
}
