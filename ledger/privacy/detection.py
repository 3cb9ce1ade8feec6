"""Find the personal values of a document, in the order in which they stand there. Pure.

A value is personal by its name (vendors/personal_names.py, and the vendor's own list), by the label beside it
({"key": "email", "value": ...}), or by what it looks like (vendors/personal_values.py). An e-mail address or telephone
number that serves as an id is not cut out, or all such customers would be one: a pseudonym takes its place.

Vendors send structures of few forms: which of its values may be personal, and whether it may say whom it is about, is
settled by the names of its keys and by where it stands. That is worked out once for each place and form, and
remembered; what depends on the values is asked each time. Keys may be anything, so when what is remembered takes too
many bytes, all of it is forgotten: what is found does not depend on it.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ledger.vendors.fields import ABSENT, squeeze
from ledger.vendors.personal_fields import ANYWHERE, LABELS, VALUES, PersonalFields
from ledger.vendors.personal_names import identifier_kind_of_name, is_id_name, without_blanks
from ledger.vendors.personal_values import identifier_kind_of_value, is_personal_value

REMEMBERED_BYTES_MAX = 4 * 1024 * 1024  # of one vendor's forms and places
FORM_BYTES = 400  # of a form or a place, keys aside
KEY_BYTES = 150  # of a key, its text aside
VENDORS_REMEMBERED_MAX = 100


class Found(NamedTuple):
    """One personal value in a document: the structure and key it stands under, and which of the document's occurrences
    of that key it is, from 0."""

    structure: dict[str, Any]
    key: str
    nth: int
    value: Any
    owner: str | None
    pseudonym: str | None = None  # what takes the place of an id; None: a marker


class Candidate(NamedTuple):
    """A key whose value may be personal, where it stands."""

    is_named: bool  # it is one of the vendor's personal keys
    is_meant: bool  # and stands where the vendor means it
    is_free: bool  # it stands in a structure that others fill in, and is no label there


class Form(NamedTuple):
    """What the keys of a structure say about it, in one place."""

    tells: bool  # it may say whom it is about
    candidates: Mapping[str, Candidate]
    labels: tuple[str, ...]  # keys of which one may name what stands under the keys `labelled`
    labelled: frozenset[str]


class PersonalPath:
    """Where structures stand: the names on the way down, the forms that were met there, and the places inside."""

    def __init__(self, under: str, inside: frozenset[str], *, in_free: bool) -> None:
        self.under = under
        self.inside = inside  # of these names, only those that matter
        self.in_free = in_free
        self.forms: dict[tuple[str, ...], Form] = {}
        self.places: dict[str, PersonalPath] = {}


class FormCache:
    """What is remembered of one vendor's documents."""

    def __init__(self, personal: PersonalFields) -> None:
        self.personal = personal
        self._mattering = frozenset[str]().union(*personal.keys.values())
        self.forget()

    def forget(self) -> None:
        self.top = PersonalPath("", frozenset(), in_free=False)
        self.size = 0

    def place(self, around: PersonalPath, key: str) -> PersonalPath:
        """Give the place of what stands under a key."""
        name = without_blanks(key)
        inside = around.inside | {name} if name in self._mattering else around.inside
        found = around.places[key] = PersonalPath(
            name, inside, in_free=around.in_free or name in self.personal.free_structures
        )
        self.size += FORM_BYTES + len(key)
        return found

    def form(self, place: PersonalPath, keys: tuple[str, ...]) -> Form:
        """Work out the form of a structure."""
        personal = self.personal
        candidates = {
            key: _candidate(personal, place, key, name)
            for key, name in ((key, without_blanks(key)) for key in keys)
            if place.in_free or self.is_named(key, name)
        }
        labels = tuple(key for key in keys if without_blanks(key) in LABELS)
        labelled = frozenset(key for key in keys if labels and without_blanks(key) in VALUES)
        form = place.forms[keys] = Form(not personal.person_keys.isdisjoint(keys), candidates, labels, labelled)
        self.size += FORM_BYTES + sum(KEY_BYTES + len(key) for key in keys)
        return form

    def is_named(self, key: str, name: str) -> bool:
        """Return True if a key is one of the vendor's personal keys, or names what is personal wherever it stands."""
        return name in self.personal.keys or identifier_kind_of_name(key) is not None


@lru_cache(VENDORS_REMEMBERED_MAX)
def memory_of(personal: PersonalFields) -> FormCache:
    """Give what is remembered of a vendor's documents."""
    return FormCache(personal)


def _candidate(personal: PersonalFields, place: PersonalPath, key: str, name: str) -> Candidate:
    where = personal.keys.get(name)
    if where is None and identifier_kind_of_name(key) is not None:
        where = ANYWHERE
    is_label = (
        name in LABELS and place.under in personal.free_structures
    )  # deeper inside, it is a part of somebody's value
    return Candidate(
        is_named=where is not None,
        is_meant=where is not None and (where is ANYWHERE or not where.isdisjoint(place.inside)),
        is_free=place.in_free and not is_label,
    )


Pseudonymise = Callable[[str, str], str]  # (what it is, "email" or "mobile"; the value) -> an id in its place


class Search:
    """Looks for personal values in one document, and counts how often each personal key occurs."""

    def __init__(self, personal: PersonalFields, pseudonymise: Pseudonymise) -> None:
        self._memory = memory_of(personal)
        self._personal = personal
        self._pseudonymise = pseudonymise
        self.found: list[Found] = []
        self.seen: dict[str, int] = {}
        self.is_counted = True  # every `nth` is known; not where a value was found by what it looks like

    def look_at(self, document: dict[str, Any] | list[Any]) -> None:
        """Search a document."""
        if self._memory.size > REMEMBERED_BYTES_MAX:
            self._memory.forget()
        if isinstance(document, dict):
            self._look_into(document, self._memory.top, None)
        else:
            self._look_through(document, self._memory.top, None)

    def _look_through(self, items: list[Any], place: PersonalPath, owner: str | None) -> None:
        for item in items:
            if type(item) is dict:
                self._look_into(item, place, owner)
            elif type(item) is list:
                self._look_through(item, place, owner)

    def _look_into(self, structure: dict[str, Any], place: PersonalPath, owner: str | None) -> None:
        """Search a structure, in what is about `owner`."""
        keys = tuple(structure)
        form = place.forms.get(keys) or self._memory.form(place, keys)
        if form.tells:
            owner = self._as_pseudonym(self._personal.person(place.under, structure)) or owner
        for key, value in structure.items():
            candidate = form.candidates.get(key)
            if candidate is not None and self._is_taken(structure, key, value, candidate, owner):
                continue
            if type(value) is str:
                self._look_at_text(structure, key, value, form, owner)
            elif type(value) is dict:
                self._look_into(value, place.places.get(key) or self._memory.place(place, key), owner)
            elif type(value) is list and not self._holds_personal_texts(structure, key, value, owner):
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
        if not _is_value(value) or self._personal.is_exempt(structure):
            return False
        self.found.append(Found(structure, key, nth, value, owner))
        self._count_inside(value)
        return True

    def _look_at_text(self, structure: dict[str, Any], key: str, value: str, form: Form, owner: str | None) -> None:
        """Note a text that is personal by the label beside it or by what it looks like."""
        if key in form.labelled and _is_value(value) and _is_labelled_personal(structure, form.labels):
            self._note(Found(structure, key, -1, value, owner))
        elif is_personal_value(value):
            kind = identifier_kind_of_value(value)
            if not is_id_name(key):
                self._note(Found(structure, key, -1, value, owner))
            elif kind is not None:
                pseudonym = self._pseudonymise(kind, value)
                self._note(Found(structure, key, -1, value, pseudonym, pseudonym))

    def _holds_personal_texts(self, structure: dict[str, Any], key: str, items: list[Any], owner: str | None) -> bool:
        """Note a list as a whole if one of its texts is personal, and say whether it is."""
        if is_id_name(key) or not any(type(item) is str and is_personal_value(item) for item in items):
            return False
        self._note(Found(structure, key, -1, items, owner))
        return True

    def _note(self, found: Found) -> None:
        self.found.append(found)
        self.is_counted = False

    def _as_pseudonym(self, person: str | None) -> str | None:
        """Return the id under which a person is known: the vendor's, or the pseudonym that takes its place."""
        kind = None if person is None else identifier_kind_of_value(person)
        return person if person is None or kind is None else self._pseudonymise(kind, person)

    def _count_inside(self, value: Any) -> None:
        """Count the personal keys inside a structure that is cut out as a whole."""
        if type(value) is dict:
            for key, child in value.items():
                if self._memory.is_named(key, without_blanks(key)):
                    self.seen[key] = self.seen.get(key, 0) + 1
                self._count_inside(child)
        elif type(value) is list:
            for child in value:
                self._count_inside(child)


def _is_labelled_personal(structure: Mapping[str, Any], labels: tuple[str, ...]) -> bool:
    """Return True if a label of a structure names what is personal."""
    named = (structure[label] for label in labels)
    return any(type(name) is str and identifier_kind_of_name(name) is not None for name in named)


def _is_value(value: Any) -> bool:
    """Say whether there is anything to hide: not in what vendors write for "none", truth values and redacted ones."""
    if type(value) is str:
        return squeeze(value) not in ABSENT
    return value is not None and type(value) is not bool and value != [] and value != {}
