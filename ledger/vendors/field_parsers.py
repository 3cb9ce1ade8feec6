"""The parser of each field of a vendor's models: the function that converts a value of the payload.

A parser is the `BeforeValidator` of the field's type. For example, `customerId` has the parser `as_id`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BeforeValidator

from ledger.vendors.fields import VendorModel, as_id, as_optional_points, as_points, as_required_id

FieldParser = Callable[[Any], Any]
FieldParsers = Mapping[tuple[str | None, str], FieldParser]  # by (structure or None for any, value)


@cache
def field_parsers(models: tuple[type[VendorModel], ...]) -> FieldParsers:
    """Return the parser of each field of these models and of the models inside them.

    The key is (name of the structure, name of the field). If all structures use the same parser for a name, the key
    (None, name) exists, too.
    """
    found: dict[tuple[str | None, str], FieldParser] = {}
    parsers_by_name: dict[str, set[FieldParser]] = {}
    for structure, name, parser in _fields_of(models):
        found.setdefault((structure, name), parser)
        parsers_by_name.setdefault(name, set()).add(_optional_form(parser))
    return found | {(None, name): parser for name, (parser, *others) in parsers_by_name.items() if not others}


def _optional_form(parser: FieldParser) -> FieldParser:
    """Return the optional form of a parser. A required id has the same spellings as an optional id; the same is true of
    points.
    """
    if parser is as_required_id:
        return as_id
    return as_points if parser is as_optional_points else parser


def _fields_of(models: Iterable[type[VendorModel]]) -> Iterator[tuple[str, str, FieldParser]]:
    """Yield (structure, name, parser) of every field in these models. The outermost structures have the name ""."""
    pending = [("", model) for model in models]
    seen = set(pending)
    while pending:
        structure, model = pending.pop()
        for field_name, field in model.model_fields.items():
            name = field.alias or field_name
            for leaf, parser in _leaf_types(field.annotation, _field_parser(field.metadata)):
                if isinstance(leaf, type) and issubclass(leaf, VendorModel):
                    if (name, leaf) not in seen:
                        seen.add((name, leaf))
                        pending.append((name, leaf))
                elif parser is not None:
                    yield structure, name, parser


def _leaf_types(annotation: Any, parser: FieldParser | None) -> Iterator[tuple[Any, FieldParser | None]]:
    """Yield the types inside an annotation, each with its parser. For example, `tuple[Line, ...] | None` contains
    `Line`.
    """
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        yield from _leaf_types(arguments[0], _field_parser(arguments[1:]))
    elif get_origin(annotation) in (Union, UnionType):
        for part in arguments:
            yield from _leaf_types(part, parser)
    elif get_origin(annotation) in (list, tuple):
        for part in arguments:
            yield from _leaf_types(part, None)
    elif annotation is not type(None) and annotation is not Ellipsis:
        yield annotation, parser


def _field_parser(metadata: Iterable[Any]) -> FieldParser | None:
    return next(
        (cast(FieldParser, validator.func) for validator in metadata if isinstance(validator, BeforeValidator)), None
    )
