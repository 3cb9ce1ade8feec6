"""loyalty vendors: what we read, and of whom."""

from typing import Annotated

import typer

from ledger.errors import RequestInvalid
from ledger.identify import Origin, identify
from ledger.vendors import VENDORS
from service.commands.screen import AsJson, show_json, show_table
from service.demo import samples


def show_vendors(
    source: Annotated[str | None, typer.Option(help="Of this vendor only.")] = None, as_json: AsJson = False
) -> None:
    """List every kind of event that we read, the shape it is read by, and a sample of it where there is one."""
    if source is not None and source not in VENDORS:
        raise RequestInvalid(f"no source {source!r}; there are {', '.join(VENDORS)}")
    examples = _samples_by_kind()
    found = [
        {"source": name, "kind": kind, "shape": reading.shape.__name__, "sample": examples.get((name, kind))}
        for name, vendor in VENDORS.items()
        if source in (None, name)
        for kind, reading in vendor.kinds.items()
    ]
    if as_json:
        show_json(found)
    else:
        columns = ("source", "kind", "shape", "sample")
        show_table(columns, ([row[column] for column in columns] for row in found))


def _samples_by_kind() -> dict[tuple[str, str], str]:
    """Name the first sample of each source and kind."""
    found: dict[tuple[str, str], str] = {}
    for sample in samples():
        source = sample.parent.name
        for draft in identify(Origin("", "", source, None, b""), sample.read_bytes()).drafts:
            found.setdefault((source, draft.kind), sample.name)
    return found
