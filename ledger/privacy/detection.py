"""Find the personal values of a document, in document order. Pure.

A value is personal for one of three reasons:

1. its key, by vendors/personal_names.py and the vendor's own list;
2. the label beside it: {"key": "email", "value": ...};
3. its form, by vendors/personal_values.py.

An e-mail address or telephone number that serves as an id is replaced by a pseudonym. With a marker in its place, all
such customers would become one.

A vendor sends structures of few forms. A structure's keys and path decide two questions: which values may be personal,
and may it name its owner? This is computed once for each path and form, and cached; checks of values are never cached.
Keys can be arbitrary, so a cache that grows beyond its limit is cleared. The result does not depend on the cache.

Most bodies hold no value that is personal by its form. `may_hold_personal_value` shows that for a whole JSON text. Then
the search omits the test of each text.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ledger.vendors.fields import ABSENT, squeeze
from ledger.vendors.personal_fields import ANYWHERE, LABELS, VALUES, PersonalFields
from ledger.vendors.personal_names import identifier_kind_of_name, is_id_name, without_blanks
from ledger.vendors.personal_values import identifier_kind_of_value, is_personal_value

CACHE_BYTES_MAX = 4 * 1024 * 1024  # for the forms and paths of one vendor
FORM_BYTES = 400  # of a form or a path, without its keys
KEY_BYTES = 150  # of a key, without its text
CACHES_MAX = 100
BY_FORM = -1


class PersonalValue(NamedTuple):
    """One personal value of a document, with its structure, its key and its owner.

    `owner` is the vendor's id of the person, or None. `occurrence` counts the earlier occurrences of the key where it
    may name a personal value; BY_FORM if the value is personal by its form.
    """

    structure: dict[str, Any]
    key: str
    value: Any
    owner: str | None
    occurrence: int = BY_FORM
    pseudonym: str | None = None  # replaces an id; None: a marker replaces the value


class Candidate(NamedTuple):
    """A key whose value may be personal, on one path."""

    is_listed_for_path: bool  # it is one of the vendor's personal keys, on this path
    is_free_form: bool  # it is in a structure that the vendor's customers fill in, and is not a label


class StructureForm(NamedTuple):
    """The properties of a structure on one path that follow from its keys."""

    may_name_owner: bool  # it may name the person that it belongs to
    candidates: Mapping[str, Candidate]
    labels: tuple[str, ...]  # keys whose values may name the values under the keys `labelled`
    labelled: frozenset[str]
    watched: frozenset[str]  # candidates and labelled keys


class PersonalPath:
    """A path in documents: the names of its keys, the forms of its structures, and the paths below it."""

    def __init__(self, under: str, names_above: frozenset[str], *, in_free: bool) -> None:
        self.under = under
        self.names_above = names_above  # names on the path, only those that a rule mentions
        self.in_free = in_free
        self.forms: dict[tuple[str, ...], StructureForm] = {}
        self.children: dict[str, PersonalPath] = {}


class FormCache:
    """The cached paths and forms of one vendor's documents."""

    def __init__(self, personal: PersonalFields) -> None:
        self.personal = personal
        self._relevant_names = frozenset[str]().union(*personal.keys.values())
        self.clear()

    def clear(self) -> None:
        self.top = PersonalPath("", frozenset(), in_free=False)
        self.size = 0

    def path(self, parent: PersonalPath, key: str) -> PersonalPath:
        """Build and cache the path of the value under a key."""
        name = without_blanks(key)
        names_above = parent.names_above | {name} if name in self._relevant_names else parent.names_above
        found = parent.children[key] = PersonalPath(
            name, names_above, in_free=parent.in_free or name in self.personal.free_structures
        )
        self.size += FORM_BYTES + len(key)
        return found

    def form(self, path: PersonalPath, keys: tuple[str, ...]) -> StructureForm:
        """Build and cache the form of a structure."""
        personal = self.personal
        names = {key: without_blanks(key) for key in keys}
        candidates = {
            key: _candidate(personal, path, key, name)
            for key, name in names.items()
            if path.in_free or name in personal.keys or identifier_kind_of_name(key) is not None
        }
        labels = tuple(key for key, name in names.items() if name in LABELS)
        labelled = frozenset(key for key, name in names.items() if labels and name in VALUES)
        may_name_owner = not personal.person_keys.isdisjoint(keys)
        watched = labelled.union(candidates)
        form = path.forms[keys] = StructureForm(may_name_owner, candidates, labels, labelled, watched)
        self.size += FORM_BYTES + sum(KEY_BYTES + len(key) for key in keys)
        return form


@lru_cache(CACHES_MAX)
def form_cache_of(personal: PersonalFields) -> FormCache:
    """Return the cache for a vendor's documents."""
    return FormCache(personal)


def _candidate(personal: PersonalFields, path: PersonalPath, key: str, name: str) -> Candidate:
    where = personal.keys.get(name)
    if where is None and identifier_kind_of_name(key) is not None:
        where = ANYWHERE
    is_label = name in LABELS and path.under in personal.free_structures  # deeper down it is part of a value
    return Candidate(
        is_listed_for_path=where is not None and (where is ANYWHERE or not where.isdisjoint(path.names_above)),
        is_free_form=path.in_free and not is_label,
    )


Pseudonymise = Callable[[str, str], str]  # (kind, "email" or "mobile"; value) -> the id that replaces it
# (Owner of the surrounding structure or None, key of a structure, structure that may name its owner)
Owner = tuple[Any, str, Mapping[str, Any]]


class PersonalValueSearch:
    """Searches one document for personal values: by key and label, and `by_form` if that is True."""

    def __init__(self, personal: PersonalFields, pseudonymise: Pseudonymise, *, by_form: bool) -> None:
        self._cache = form_cache_of(personal)
        self._personal = personal
        self._pseudonymise = pseudonymise
        self._by_form = by_form
        self.found: list[PersonalValue] = []
        self.key_counts: dict[str, int] = {}  # of keys where they may name a personal value

    def run(self, document: dict[str, Any] | list[Any]) -> None:
        """Search a document. The results are in `found`."""
        if self._cache.size > CACHE_BYTES_MAX:
            self._cache.clear()
        if isinstance(document, dict):
            self._search_structure(document, self._cache.top, None)
        else:
            self._search_list(document, self._cache.top, None)

    def _search_list(self, items: list[Any], path: PersonalPath, owner: Owner | None) -> None:
        for item in items:
            if type(item) is dict:
                self._search_structure(item, path, owner)
            elif type(item) is list:
                self._search_list(item, path, owner)

    def _search_structure(self, structure: dict[str, Any], path: PersonalPath, owner: Owner | None) -> None:
        """Search a structure that belongs to `owner`, unless it names another owner."""
        keys = tuple(structure)
        form = path.forms.get(keys) or self._cache.form(path, keys)
        if form.may_name_owner:
            owner = (owner, path.under, structure)
        watched, by_form = form.watched, self._by_form
        for key, value in structure.items():
            if key in watched:
                occurrence = self.key_counts.get(key, 0)
                self.key_counts[key] = occurrence + 1
                if self._is_personal(structure, key, value, form):
                    self.found.append(PersonalValue(structure, key, value, self._owner_id(owner), occurrence))
                    continue
            if type(value) is dict:
                self._search_structure(value, path.children.get(key) or self._cache.path(path, key), owner)
            elif type(value) is list:
                if by_form and _holds_personal_text(key, value):
                    self.found.append(PersonalValue(structure, key, value, self._owner_id(owner)))
                else:
                    self._search_list(value, path.children.get(key) or self._cache.path(path, key), owner)
            elif by_form and type(value) is str and is_personal_value(value):
                self._add_by_form(structure, key, value, owner)

    def _is_personal(self, structure: dict[str, Any], key: str, value: Any, form: StructureForm) -> bool:
        """Return True if a value is personal by its key or by the label beside it."""
        candidate = form.candidates.get(key)
        if (
            candidate is not None
            and (candidate.is_listed_for_path or (candidate.is_free_form and type(value) is not dict))
            and _is_value(value)
            and not self._personal.is_exempt(structure)
        ):
            return True
        return (
            type(value) is str
            and key in form.labelled
            and _is_value(value)
            and _is_labelled_personal(structure, form.labels)
        )

    def _add_by_form(self, structure: dict[str, Any], key: str, value: str, owner: Owner | None) -> None:
        """Add a text that is personal by its form. An id is added only if a pseudonym can replace it."""
        kind = identifier_kind_of_value(value)
        if not is_id_name(key):
            self.found.append(PersonalValue(structure, key, value, self._owner_id(owner)))
        elif kind is not None:
            pseudonym = self._pseudonymise(kind, value)
            self.found.append(PersonalValue(structure, key, value, pseudonym, pseudonym=pseudonym))

    def _owner_id(self, owner: Owner | None) -> str | None:
        """Return the id of the innermost person that is named: the vendor's id, or the pseudonym that replaces it.

        Most structures hold no personal value, so an owner is looked up only here.
        """
        while owner is not None:
            owner, under, structure = owner
            person = self._personal.person(under, structure)
            if person:
                kind = identifier_kind_of_value(person)
                return person if kind is None else self._pseudonymise(kind, person)
        return None


def _is_labelled_personal(structure: Mapping[str, Any], labels: tuple[str, ...]) -> bool:
    """Return True if a label of a structure has the name of a personal value."""
    named = (structure[label] for label in labels)
    return any(type(name) is str and identifier_kind_of_name(name) is not None for name in named)


def _holds_personal_text(key: str, items: list[Any]) -> bool:
    """Return True if a text of a list is personal by its form. The list is then personal as a whole."""
    return not is_id_name(key) and any(type(item) is str and is_personal_value(item) for item in items)


def _is_value(value: Any) -> bool:
    """Return True if a value can be personal. Empty and redacted values, null and truth values cannot."""
    if type(value) is str:
        return squeeze(value) not in ABSENT
    return value is not None and type(value) is not bool and value != [] and value != {}
