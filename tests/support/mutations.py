"""Damaged samples: parts dropped, replaced, wrapped, exchanged, renamed."""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

import msgspec

from ledger.intake.identify import pseudonym
from ledger.parsing import parse_json
from ledger.privacy.redaction import redact
from ledger.vendors import VENDORS

CANARY = "canary-"
PARTS_CHANGED_MAX = 5

NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.001, 2**31, 2**63, 10**12, -(10**12), 10**39, 123456789.123456789),
    *("", " ", "null", "None", "-1", "0", "x", "<personal>", "[email protected]", "status", "USER_GROUP", "CANCELLED"),
    *("1e-20000", "1e20000", "0e99999", "NaN", "-Infinity", "9" * 400, "0." + "3" * 400, "1_000", "\u0663", "\u00b2"),
    *("1e1000000", "-1e1000000", "1e-2000000", "9" * 10_000, "\uff11", "0x3c", "+5", "-0", "6 0", 268.28000000000003),
    *("2024-02-30", "0001-01-01T00:00:00+23:59", "9999-12-31", "99999-01-01T00:00:00Z", "2024-05-13T10: 24: 01Z"),
    *("x" * 5_000, "\N{GRINNING FACE}" * 300, "a\tb\nc", "\x7f\u2028\ufffd", "~/~1", "'; DROP TABLE facts; --"),
    *([], {}, [[]], [None], [{}], [[[[1]]]], {"": {"": []}}, {"id": {"id": 1}}, ["x", {"value": "y"}, 3, None]),
)
NAMES = (*("", "id", "name", "value", "status", "points", "data", "customerId", "event", "type"), *("a b", "ключ"))

Spot = tuple[Any, Any]  # a structure or list, and a key or index of it


def planted(source: str, body: bytes) -> tuple[Any, list[str]]:
    """Parse a sample and replace each personal value by a canary. Return the document and the canaries."""
    document = parse_json(body)
    found = redact(body, document, VENDORS[source].personal, partial(pseudonym, b"mask")).found
    canaries = [f"{CANARY}{n:04}-" for n in range(len(found))]
    for one, canary in zip(found, canaries, strict=True):
        one.structure[one.key] = canary
    return document.value, canaries


def written(document: Any) -> bytes:
    """Encode a document, decimals as numbers."""
    return _ENCODER.encode(document)


def damaged(document: Any, random: Random) -> Any:
    """Change some parts of a document. Every value keeps its own key, perhaps with a blank in it."""
    return _changed(document, random, (_drop, _replace, _replace, _into_list, _into_structure, _spoil))


def muddled(document: Any, random: Random) -> Any:
    """Change some parts of a document in any way, so that values may move under the keys of others."""
    return _changed(document, random, (_drop, _replace, _into_list, _into_structure, _rename, _exchange, _spoil))


def _changed(document: Any, random: Random, ways: tuple[Callable[..., None], ...]) -> Any:
    holder = [document]
    for _ in range(random.randint(1, PARTS_CHANGED_MAX)):
        spots = list(_spots(holder))
        where, key = random.choice(spots)
        random.choice(ways)(where, key, random, spots)
    return holder[0]


def _spots(value: Any) -> Iterator[Spot]:
    """Yield every place in a structure or list that holds a value."""
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _spots(child)


def _drop(where: Any, key: Any, _random: Random, spots: list[Spot]) -> None:
    if len(spots) > 1 and where is not spots[0][0]:
        del where[key]


def _replace(where: Any, key: Any, random: Random, _spots: list[Spot]) -> None:
    where[key] = msgspec.json.decode(msgspec.json.encode(random.choice(NASTY)))  # a copy, which may be changed too


def _into_list(where: Any, key: Any, _random: Random, _spots: list[Spot]) -> None:
    where[key] = [where[key]]


def _into_structure(where: Any, key: Any, random: Random, _spots: list[Spot]) -> None:
    where[key] = {random.choice(NAMES): where[key]}


def _rename(where: Any, key: Any, random: Random, spots: list[Spot]) -> None:
    names = [name for _, name in spots if isinstance(name, str)]
    if isinstance(where, dict):
        where[random.choice([*NAMES, *names])] = where.pop(key)


def _spoil(where: Any, key: Any, random: Random, _spots: list[Spot]) -> None:
    if isinstance(where, dict):
        at = random.randint(0, len(key))
        where[key[:at] + " " + key[at:]] = where.pop(key)


def _exchange(where: Any, key: Any, random: Random, spots: list[Spot]) -> None:
    """Copy a value from another place. It is a copy, so that no value contains itself."""
    elsewhere, other = random.choice(spots)
    where[key] = parse_json(written(elsewhere[other])).value


_ENCODER = msgspec.json.Encoder(decimal_format="number")
