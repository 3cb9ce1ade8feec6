"""JSON schemas of the types of answers and bodies."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from pydantic import BaseModel

from service.api.answers.field_descriptions import describe_fields

SUFFIX = "Answer"
REFERENCE = "#/components/schemas/{name}"

Schemas = dict[str, Any]


def build_schemas(types: Iterable[Any]) -> tuple[dict[int, Any], Schemas]:
    """Return the schema of each type by its identity, and the named schemas that they refer to."""
    distinct = list({id(kind): kind for kind in types}.values())
    models = [kind for kind in distinct if inspect.isclass(kind) and issubclass(kind, BaseModel)]
    others = [kind for kind in distinct if not any(kind is model for model in models)]
    found, named = msgspec.json.schema_components(others, ref_template=REFERENCE)
    by_type = {id(kind): schema for kind, schema in zip(others, found, strict=True)}
    for model in models:
        schema = model.model_json_schema(ref_template=REFERENCE.replace("{name}", "{model}"), mode="validation")
        named |= schema.pop("$defs", {})
        named[model.__name__] = schema
        by_type[id(model)] = {"$ref": REFERENCE.format(name=model.__name__)}
    schemas = {_plain(name): tidy(plainly_named(schema)) for name, schema in sorted(named.items())}
    for name, schema in schemas.items():
        describe_fields(name, schema)
    return plainly_named(by_type), schemas


def plainly_named(schema: Any) -> Any:
    """Return a schema whose references leave out the suffix that sets classes of answers apart from others."""
    if isinstance(schema, list):
        return [plainly_named(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: _plain(part) if name == "$ref" and isinstance(part, str) else plainly_named(part)
        for name, part in schema.items()
    }


def _plain(name: str) -> str:
    return name.removesuffix(SUFFIX)


def tidy(schema: Any) -> Any:
    """Return a schema with clean descriptions, and without titles that repeat its name."""
    if isinstance(schema, list):
        return [tidy(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    tidied = {name: tidy(part) for name, part in schema.items() if not (name == "title" and isinstance(part, str))}
    if isinstance(tidied.get("description"), str):
        tidied["description"] = " ".join(inspect.cleandoc(tidied["description"]).split())
    return tidied
