"""Previous owners of a subject, so that queries as of an earlier time find it.

A row names the owner of the last fact, in order of occurrence. As of another time or position the owner may differ.
Rows are therefore also searched by all previous owners. Most subjects have none: the column is then NULL.
"""


def add_previous_owner(before: list[str], old: str | None, new: str | None) -> list[str]:
    """Return the previous owners after a fact that names `new`. A fact without an owner changes nothing."""
    if old is None or new is None or new == old or old in before:
        return before
    return sorted([*before, old])
