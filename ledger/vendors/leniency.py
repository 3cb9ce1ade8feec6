"""What in a shape may be unreadable, and what was left out of an event because it was.

One rule for all shapes. A field that may be missing (it has a default) may be unreadable: then it counts as missing. An
item of a list that cannot be read is left out, and the rest of the list is read. Not so for fields that are marked with
DECIDES: what they hold decides, so if it cannot be read, neither can the structure that they stand in.

How it works. pydantic makes a core schema of each shape, in which a default may also stand in for an error; that costs
nothing while reading. What was left out is found by the same schema without these marks, only when somebody asks.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel
from pydantic_core import CoreSchema, SchemaValidator, ValidationError

T = TypeVar("T")
F = TypeVar("F")

UNREADABLE_VALUES_MAX = 100  # values that are listed of one event
ABSENT = "is absent"


class _Strict:
    """Marks a field that may be missing and, where it is not, must be read."""


STRICT: Final = _Strict()


class UnreadableValue(NamedTuple):
    """One value that could not be read: where it stands in the body, and what is wrong with it, in words."""

    path: tuple[str | int, ...]
    problem: str
    value: Any


def make_lenient(model: type[BaseModel], schema: CoreSchema) -> CoreSchema:
    """Return the schema of a shape in which side values may be unreadable."""
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
    """Let a list leave out items that cannot be read; a schema of anything else stays."""
    while schema["type"] in ("default", "nullable", "function-before"):
        schema = schema["schema"]
    if schema["type"] == "list" and "items_schema" in schema:
        schema["items_schema"] = {"type": "default", "schema": schema["items_schema"], "on_error": "omit"}
    elif schema["type"] == "tuple" and schema.get("variadic_item_index") == 0:
        [items] = schema["items_schema"]
        schema["items_schema"] = [{"type": "default", "schema": items, "on_error": "omit"}]


def unreadable_values(model: type[BaseModel], body: Mapping[str, Any]) -> list[UnreadableValue]:
    """List what of a body cannot be read by a shape and is left out of it. None of it is missing or null."""
    try:
        _strict_validator(model).validate_python(body)
    except ValidationError as invalid:
        return [
            UnreadableValue(error["loc"], describe_error(error), error["input"])
            for error in invalid.errors(include_url=False)[:UNREADABLE_VALUES_MAX]
            if error["type"] != "missing" and error["input"] is not None and describe_error(error) != ABSENT
        ]
    except Exception:  # a fault of ours: it is told where the event is read
        return []
    return []


def facts_of_each(items: Iterable[T], facts: Callable[[T], Sequence[F]]) -> list[F]:
    """Return the facts of each thing in a list; one that says too little (ValueError) costs no other its facts.

    Raises its ValueError if there are none at all.
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
    """Make a validator of a shape that leaves nothing out."""
    return SchemaValidator(_without_leniency(model.__pydantic_core_schema__))


def _without_leniency(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_leniency(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("on_error") == "omit":
        return _without_leniency(schema["schema"])
    if schema.get("type") == "model":  # which pydantic would read by its own, lenient validator
        reference = {"ref": schema["ref"]} if "ref" in schema else {}
        return {**_without_leniency(schema["schema"]), **reference}
    kept = {key: part for key, part in schema.items() if key != "on_error"}
    return {key: part if key == "default" else _without_leniency(part) for key, part in kept.items()}


def describe_error(error: Mapping[str, Any]) -> str:
    """Say what is wrong with a value, as a predicate ("is not a number"), from what pydantic says of it. Nothing of the
    value itself is in it: our own validators quote none, and of pydantic's messages only the kind is used."""
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
