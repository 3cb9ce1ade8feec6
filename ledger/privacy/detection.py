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

CACHE_BYTES_MAX = 4 * 1024 * 1024  # of one vendor's forms and places
FORM_BYTES = 400  # of a form or a place, keys aside
KEY_BYTES = 150  # of a key, its text aside
CACHES_MAX = 100


class PersonalValue(NamedTuple):
    """One personal value in a document: the structure and key it stands under, and which of the document's occurrences
    of that key it is, from 0."""

    structure: dict[str, Any]
    key: str
    occurrence: int
    value: Any
    owner: str | None
    pseudonym: str | None = None  # what takes the place of an id; None: a marker


class Candidate(NamedTuple):
    """A key whose value may be personal, where it stands."""

    is_named: bool  # it is one of the vendor's personal keys
    is_meant: bool  # and stands where the vendor means it
    is_free: bool  # it stands in a structure that others fill in, and is no label there


class StructureForm(NamedTuple):
    """What the keys of a structure say about it, in one place."""

    may_name_owner: bool  # it may say whom it is about
    candidates: Mapping[str, Candidate]
    labels: tuple[str, ...]  # keys of which one may name what stands under the keys `labelled`
    labelled: frozenset[str]


class PersonalPath:
    """Where structures stand: the names on the way down, the forms that were met there, and the places inside."""

    def __init__(self, under: str, inside: frozenset[str], *, in_free: bool) -> None:
        self.under = under
        self.inside = inside  # of these names, only those that matter
        self.in_free = in_free
        self.forms: dict[tuple[str, ...], StructureForm] = {}
        self.children: dict[str, PersonalPath] = {}


class FormCache:
    """What is remembered of one vendor's documents."""

    def __init__(self, personal: PersonalFields) -> None:
        self.personal = personal
        self._relevant_names = frozenset[str]().union(*personal.keys.values())
        self.clear()

    def clear(self) -> None:
        self.top = PersonalPath("", frozenset(), in_free=False)
        self.size = 0

    def path(self, parent: PersonalPath, key: str) -> PersonalPath:
        """Give the place of what stands under a key."""
        name = without_blanks(key)
        inside = parent.inside | {name} if name in self._relevant_names else parent.inside
        found = parent.children[key] = PersonalPath(
            name, inside, in_free=parent.in_free or name in self.personal.free_structures
        )
        self.size += FORM_BYTES + len(key)
        return found

    def form(self, path: PersonalPath, keys: tuple[str, ...]) -> StructureForm:
        """Work out the form of a structure."""
        personal = self.personal
        candidates = {
            key: _candidate(personal, path, key, name)
            for key, name in ((key, without_blanks(key)) for key in keys)
            if path.in_free or self.is_named(key, name)
        }
        labels = tuple(key for key in keys if without_blanks(key) in LABELS)
        labelled = frozenset(key for key in keys if labels and without_blanks(key) in VALUES)
        form = path.forms[keys] = StructureForm(not personal.person_keys.isdisjoint(keys), candidates, labels, labelled)
        self.size += FORM_BYTES + sum(KEY_BYTES + len(key) for key in keys)
        return form

    def is_named(self, key: str, name: str) -> bool:
        """Return True if a key is one of the vendor's personal keys, or names what is personal wherever it stands."""
        return name in self.personal.keys or identifier_kind_of_name(key) is not None


@lru_cache(CACHES_MAX)
def form_cache_of(personal: PersonalFields) -> FormCache:
    """Give what is remembered of a vendor's documents."""
    return FormCache(personal)


def _candidate(personal: PersonalFields, path: PersonalPath, key: str, name: str) -> Candidate:
    where = personal.keys.get(name)
    if where is None and identifier_kind_of_name(key) is not None:
        where = ANYWHERE
    is_label = (
        name in LABELS and path.under in personal.free_structures
    )  # deeper inside, it is a part of somebody's value
    return Candidate(
        is_named=where is not None,
        is_meant=where is not None and (where is ANYWHERE or not where.isdisjoint(path.inside)),
        is_free=path.in_free and not is_label,
    )


Pseudonymise = Callable[[str, str], str]  # (what it is, "email" or "mobile"; the value) -> an id in its place


class PersonalValueSearch:
    """Looks for personal values in one document, and counts how often each personal key occurs."""

    def __init__(self, personal: PersonalFields, pseudonymise: Pseudonymise) -> None:
        self._cache = form_cache_of(personal)
        self._personal = personal
        self._pseudonymise = pseudonymise
        self.found: list[PersonalValue] = []
        self.key_counts: dict[str, int] = {}
        self.has_occurrences = True  # every `nth` is known; not where a value was found by what it looks like

    def run(self, document: dict[str, Any] | list[Any]) -> None:
        """Search a document."""
        if self._cache.size > CACHE_BYTES_MAX:
            self._cache.clear()
        if isinstance(document, dict):
            self._search_structure(document, self._cache.top, None)
        else:
            self._search_list(document, self._cache.top, None)

    def _search_list(self, items: list[Any], path: PersonalPath, owner: str | None) -> None:
        for item in items:
            if type(item) is dict:
                self._search_structure(item, path, owner)
            elif type(item) is list:
                self._search_list(item, path, owner)

    def _search_structure(self, structure: dict[str, Any], path: PersonalPath, owner: str | None) -> None:
        """Search a structure, in what is about `owner`."""
        keys = tuple(structure)
        form = path.forms.get(keys) or self._cache.form(path, keys)
        if form.may_name_owner:
            owner = self._owner_id(self._personal.person(path.under, structure)) or owner
        for key, value in structure.items():
            candidate = form.candidates.get(key)
            if candidate is not None and self._take_value(structure, key, value, candidate, owner):
                continue
            if type(value) is str:
                self._search_text(structure, key, value, form, owner)
            elif type(value) is dict:
                self._search_structure(value, path.children.get(key) or self._cache.path(path, key), owner)
            elif type(value) is list and not self._take_list(structure, key, value, owner):
                self._search_list(value, path.children.get(key) or self._cache.path(path, key), owner)

    def _take_value(
        self, structure: dict[str, Any], key: str, value: Any, candidate: Candidate, owner: str | None
    ) -> bool:
        """Note a value if it is personal, and say whether it is."""
        occurrence = self.key_counts.get(key, 0)
        if candidate.is_named:
            self.key_counts[key] = occurrence + 1
        if not candidate.is_meant and (not candidate.is_free or type(value) is dict):
            return False
        if not _is_value(value) or self._personal.is_exempt(structure):
            return False
        self.found.append(PersonalValue(structure, key, occurrence, value, owner))
        self._count_keys(value)
        return True

    def _search_text(
        self, structure: dict[str, Any], key: str, value: str, form: StructureForm, owner: str | None
    ) -> None:
        """Note a text that is personal by the label beside it or by what it looks like."""
        if key in form.labelled and _is_value(value) and _is_labelled_personal(structure, form.labels):
            self._add(PersonalValue(structure, key, -1, value, owner))
        elif is_personal_value(value):
            kind = identifier_kind_of_value(value)
            if not is_id_name(key):
                self._add(PersonalValue(structure, key, -1, value, owner))
            elif kind is not None:
                pseudonym = self._pseudonymise(kind, value)
                self._add(PersonalValue(structure, key, -1, value, pseudonym, pseudonym))

    def _take_list(self, structure: dict[str, Any], key: str, items: list[Any], owner: str | None) -> bool:
        """Note a list as a whole if one of its texts is personal, and say whether it is."""
        if is_id_name(key) or not any(type(item) is str and is_personal_value(item) for item in items):
            return False
        self._add(PersonalValue(structure, key, -1, items, owner))
        return True

    def _add(self, found: PersonalValue) -> None:
        self.found.append(found)
        self.has_occurrences = False

    def _owner_id(self, person: str | None) -> str | None:
        """Return the id under which a person is known: the vendor's, or the pseudonym that takes its place."""
        kind = None if person is None else identifier_kind_of_value(person)
        return person if person is None or kind is None else self._pseudonymise(kind, person)

    def _count_keys(self, value: Any) -> None:
        """Count the personal keys inside a structure that is cut out as a whole."""
        if type(value) is dict:
            for key, child in value.items():
                if self._cache.is_named(key, without_blanks(key)):
                    self.key_counts[key] = self.key_counts.get(key, 0) + 1
                self._count_keys(child)
        elif type(value) is list:
            for child in value:
                self._count_keys(child)


def _is_labelled_personal(structure: Mapping[str, Any], labels: tuple[str, ...]) -> bool:
    """Return True if a label of a structure names what is personal."""
    named = (structure[label] for label in labels)
    return any(type(name) is str and identifier_kind_of_name(name) is not None for name in named)


def _is_value(value: Any) -> bool:
    """Say whether there is anything to hide: not in what vendors write for "none", truth values and redacted ones."""
    if type(value) is str:
        return squeeze(value) not in ABSENT
    return value is not None and type(value) is not bool and value != [] and value != {}
