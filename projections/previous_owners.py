"""Whom something was said to be of before it was said to be of another: so questions as of earlier find it.

A row names who is named by the last fact, in order of occurrence. As of another time or position it may be another, and
such rows are looked for by all who were ever named. Of few things anybody else was: the column is null for all others.
"""


def named_before(before: list[str], old: str | None, new: str | None) -> list[str]:
    """Give who was named before, where a fact names somebody: none where it names nobody."""
    if old is None or new is None or new == old or old in before:
        return before
    return sorted([*before, old])
