"""The published list of report views and their columns, as docs/report-views.md.

`python -m service.reporting.reference` writes it. A test compares the committed file with the views.
"""

from collections.abc import Iterator
from pathlib import Path

from projections.reports.views import REPORT_VIEWS

REFERENCE = Path(__file__).parents[2] / "docs" / "report-views.md"
PREFACE = """# Report views

The views of the schema `report`, with their columns. [Reports](reports.md) explains how to read them.
This list is made by `python -m service.reporting.reference`. Names and types are a contract: a new version only adds
columns, and adds them at the end.

`key` are the columns that identify a row within its ledger.
"""


def reference_lines() -> Iterator[str]:
    """Yield the lines of the list."""
    yield PREFACE
    for view in REPORT_VIEWS:
        yield f"## report.{view.name}\n"
        key = ", ".join(f"`{column}`" for column in view.key if column != "ledger_id") or "none"
        yield f"{view.description} Key: {key}.\n"
        yield "| column | type | meaning |\n|---|---|---|"
        yield from (f"| `{column.name}` | {column.sql_type} | {column.description} |" for column in view.columns)
        yield ""


def reference_text() -> str:
    """Return the list as Markdown."""
    return "\n".join(reference_lines()).rstrip() + "\n"


if __name__ == "__main__":
    REFERENCE.write_text(reference_text())
