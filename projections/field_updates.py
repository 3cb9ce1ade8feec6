"""Updates of a state's fields by a fact that states only some of them.

A row names the owner of the last fact, in order of occurrence. As of another time or position the owner may differ.
Rows are therefore also searched by all previous owners. Most subjects have none: the column is then NULL.
"""

from typing import Any


def update_stated(state: object, fact: object, *names: str) -> None:
    """Set the named fields to the values of a fact. An absent or empty value changes nothing; zero is a value."""
    for name in names:
        value = getattr(fact, name)
        if value is not None and value not in ("", ()):
            setattr(state, name, value)


def update_customer(state: Any, fact: Any) -> None:
    """Set the customer of a state to that of a fact, and remember the customer before it."""
    state.previous_owners = add_previous_owner(state.previous_owners, state.customer, fact.customer)
    update_stated(state, fact, "customer")


def add_previous_owner(before: list[str] | None, old: str | None, new: str | None) -> list[str] | None:
    """Return the previous owners after a fact that names `new`. A fact without an owner changes nothing."""
    if old is None or new is None or new == old:
        return before
    return sorted({*(before or ()), old})
