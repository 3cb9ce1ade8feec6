"""Actions with a confirmation: the first form shows the dry run, the second one confirms exactly these effects.

If the effects changed in between, the dry run is shown again.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from service.console.headlines import Figure
from service.console.links import account_link, subject_link
from service.console.pages import Page
from service.console.row_columns import PROJECTION_OF_TABLE, column_title
from service.console.tables import PageColumn, PageTable
from service.operations.preview import Preview

CONFIRMED = "confirmed"  # the field with the digest of the effects
ROWS_SHOWN_MAX = 200
TECHNICAL = ("position", "previous_owners", "last_at")  # ends of columns that mean nothing to a person
CHANGE_COLUMNS = (
    PageColumn("kind", "Object"),
    PageColumn("id", "Id", "code", lambda row: row["href"]),
    PageColumn("field", "Value"),
    PageColumn("before", "Before", "any"),
    PageColumn("after", "After", "any"),
)


class Effects(NamedTuple):
    """The effects of an action, as its dry run shows them."""

    sentences: Sequence[str]
    figures: Sequence[Figure] = ()
    changes: Sequence[Mapping[str, Any]] = ()

    def digest(self) -> str:
        """Return a digest of everything that is shown, except times: those of the dry run are its own."""
        lasting = [one for one in self.changes if not isinstance(one["after"], datetime)]
        return hashlib.sha256(repr((self.sentences, self.figures, lasting)).encode()).hexdigest()[:32]


class Action(NamedTuple):
    """An action that a person may confirm: its title, the button, and the pages before and after."""

    title: str
    button: str
    address: str
    back: str


def is_confirmed(fields: Mapping[str, str], effects: Effects) -> bool:
    """Return True if a form confirms exactly these effects."""
    return fields.get(CONFIRMED) == effects.digest()


def confirmation_page(action: Action, effects: Effects, fields: Mapping[str, str]) -> Page:
    """Return the page that shows the effects, and asks to confirm them."""
    repeated = {name: value for name, value in fields.items() if name != CONFIRMED}
    table = PageTable("changes", "Rows that change", CHANGE_COLUMNS, effects.changes, "No row changes.")
    values = {
        "action": action,
        "effects": effects,
        "fields": repeated,
        "digest": effects.digest(),
        "changed": CONFIRMED in fields,
    }
    return Page("confirm.html", action.title, (table,), values)


def changes_of(preview: Preview) -> list[dict[str, Any]]:
    """Return the values of rows that a previewed operation changes: at most ROWS_SHOWN_MAX."""
    changes: list[dict[str, Any]] = []
    for row in preview.rows:
        before, after = row.before or {}, row.after or {}
        projection = PROJECTION_OF_TABLE.get(row.table)
        if projection is None:
            continue  # rows of a further table, such as lots, follow from the first
        names = [name for name in after or before if before.get(name) != after.get(name)]
        for name in names:
            if not name.endswith(TECHNICAL):
                changes.append(
                    {
                        "kind": column_title(row.table).removesuffix("s"),
                        "id": after.get("account_id") or before.get("account_id") or row.subject,
                        "href": _href(row.table, row.subject, after or before),
                        "field": name.replace("_", " "),
                        "before": before.get(name),
                        "after": after.get(name),
                    }
                )
    return changes[:ROWS_SHOWN_MAX]


def _href(table: str, subject: str, row: Mapping[str, Any]) -> str | None:
    if table == "accounts":
        return account_link(row["account_id"])
    projection = PROJECTION_OF_TABLE[table]
    return subject_link(projection.path or projection.subject, subject)
