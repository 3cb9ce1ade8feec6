"""Find the personal values of a document, in the order in which they stand there. Pure.

Vendors send structures of few forms: which of its values may be personal, and whether it may say whom it is about, is
settled by the names of its keys and by where it stands. That is worked out once for each place and form, and
remembered; what depends on the values is asked each time. Keys may be anything, so when too much is remembered, all of
it is forgotten: what is found does not depend on it.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ledger.vendors.personal import ANYWHERE, LABELS, Personal
from ledger.vendors.shape import ABSENT, squeeze

FORMS_REMEMBERED_MAX = 10_000
VENDORS_REMEMBERED_MAX = 100


class Found(NamedTuple):
    """One personal value in a document: the structure and key it stands under, and which of the document's occurrences
    of that key it is, from 0."""

    structure: dict[str, Any]
    key: str
    nth: int
    value: Any
    owner: str | None


class Candidate(NamedTuple):
    """A key whose value may be personal, where it stands."""

    is_named: bool  # it is one of the vendor's personal keys
    is_meant: bool  # and stands where the vendor means it
    is_free: bool  # it stands in a structure that others fill in, and is no label there


class Form(NamedTuple):
    """What the keys of a structure say about it, in one place."""

    tells: bool  # it may say whom it is about
    candidates: Mapping[str, Candidate]


class Place:
    """Where structures stand: the names on the way down, the forms that were met there, and the places inside."""

    def __init__(self, under: str, inside: frozenset[str], *, in_free: bool) -> None:
        self.under = under
        self.inside = inside  # of these names, only those that matter
        self.in_free = in_free
        self.forms: dict[tuple[str, ...], Form] = {}
        self.places: dict[str, Place] = {}


class Memory:
    """What is remembered of one vendor's documents."""

    def __init__(self, personal: Personal) -> None:
        self.personal = personal
        self._mattering = frozenset[str]().union(*personal.keys.values())
        self.forget()

    def forget(self) -> None:
        self.top = Place("", frozenset(), in_free=False)
        self.size = 0

    def place(self, around: Place, key: str) -> Place:
        """Give the place of what stands under a key."""
        name = _name(key)
        inside = around.inside | {name} if name in self._mattering else around.inside
        found = around.places[key] = Place(name, inside, in_free=around.in_free or name in self.personal.free)
        self.size += 1
        return found

    def form(self, place: Place, keys: tuple[str, ...]) -> Form:
        """Work out the form of a structure."""
        personal = self.personal
        candidates = {
            key: _candidate(personal, place, name)
            for key, name in ((key, _name(key)) for key in keys)
            if place.in_free or name in personal.keys
        }
        form = place.forms[keys] = Form(not personal.told_by.isdisjoint(keys), candidates)
        self.size += 1
        return form


@lru_cache(VENDORS_REMEMBERED_MAX)
def memory_of(personal: Personal) -> Memory:
    """Give what is remembered of a vendor's documents."""
    return Memory(personal)


def _name(key: str) -> str:
    """Give the name that a key spells, copying damage aside."""
    return squeeze(key) if " " in key else key


def _candidate(personal: Personal, place: Place, name: str) -> Candidate:
    where = personal.keys.get(name)
    is_label = name in LABELS and place.under in personal.free  # deeper inside, it is a part of somebody's value
    return Candidate(
        is_named=where is not None,
        is_meant=where is not None and (where is ANYWHERE or not where.isdisjoint(place.inside)),
        is_free=place.in_free and not is_label,
    )


class Search:
    """Looks for personal values in one document, and counts how often each personal key occurs."""

    def __init__(self, personal: Personal) -> None:
        self._memory = memory_of(personal)
        self._personal = personal
        self.found: list[Found] = []
        self.seen: dict[str, int] = {}

    def look_at(self, document: dict[str, Any] | list[Any]) -> None:
        """Search a document."""
        if self._memory.size > FORMS_REMEMBERED_MAX:
            self._memory.forget()
        if isinstance(document, dict):
            self._look_into(document, self._memory.top, None)
        else:
            self._look_through(document, self._memory.top, None)

    def _look_through(self, items: list[Any], place: Place, owner: str | None) -> None:
        for item in items:
            if type(item) is dict:
                self._look_into(item, place, owner)
            elif type(item) is list:
                self._look_through(item, place, owner)

    def _look_into(self, structure: dict[str, Any], place: Place, owner: str | None) -> None:
        """Search a structure, in what is about `owner`."""
        keys = tuple(structure)
        tells, candidates = place.forms.get(keys) or self._memory.form(place, keys)
        if tells:
            owner = self._personal.person(place.under, structure) or owner
        for key, value in structure.items():
            if key in candidates and self._is_taken(structure, key, value, candidates[key], owner):
                continue
            if type(value) is dict:
                self._look_into(value, place.places.get(key) or self._memory.place(place, key), owner)
            elif type(value) is list:
                self._look_through(value, place.places.get(key) or self._memory.place(place, key), owner)

    def _is_taken(
        self, structure: dict[str, Any], key: str, value: Any, candidate: Candidate, owner: str | None
    ) -> bool:
        """Note a value if it is personal, and say whether it is."""
        nth = self.seen.get(key, 0)
        if candidate.is_named:
            self.seen[key] = nth + 1
        if not candidate.is_meant and (not candidate.is_free or type(value) is dict):
            return False
        if not _is_value(value) or self._personal.spared(structure):
            return False
        self.found.append(Found(structure, key, nth, value, owner))
        self._count_inside(value)
        return True

    def _count_inside(self, value: Any) -> None:
        """Count the personal keys inside a structure that is cut out as a whole."""
        if type(value) is dict:
            for key, child in value.items():
                if _name(key) in self._personal.keys:
                    self.seen[key] = self.seen.get(key, 0) + 1
                self._count_inside(child)
        elif type(value) is list:
            for child in value:
                self._count_inside(child)


def _is_value(value: Any) -> bool:
    """Say whether there is anything to hide: not in what vendors write for "none", truth values and redacted ones."""
    if type(value) is str:
        return squeeze(value) not in ABSENT
    return value is not None and type(value) is not bool and value != [] and value != {}
