"""loyalty vendors: the supported events, their subjects and personal fields, derived from the packaged samples."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ledger.errors import RequestInvalid
from ledger.events import Origin
from ledger.intake.identify import identify, pseudonym
from ledger.intake.interpret import Interpretation, interpret
from ledger.parsing import parse_json
from ledger.privacy.redaction import redact
from ledger.vendors import VENDORS
from ledger.vendors.fields import squeeze
from service.cli.demo_steps import sample_files
from service.cli.terminal.console import JsonOption, show_json, show_table

COLUMNS = ("source", "kind", "shape", "subject_kinds", "personal_keys", "sample")
ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)  # an interpretation does not depend on it


@dataclass(slots=True)
class Example:
    """Findings from the samples of one kind. `sample` is the first by name."""

    sample: str
    subject_kinds: set[str] = field(default_factory=set)
    personal_keys: set[str] = field(default_factory=set)


def show_vendors(
    source: Annotated[str | None, typer.Option(help="This vendor only.")] = None, as_json: JsonOption = False
) -> None:
    """List every supported kind of event: its model, its subjects, its personal fields, and a sample."""
    if source is not None and source not in VENDORS:
        raise RequestInvalid(f"there is no source {source!r}; sources: {', '.join(VENDORS)}")
    examples = _examples()
    found = [
        {
            "source": name,
            "kind": kind,
            "shape": reading.model.__name__,
            "subject_kinds": sorted(example.subject_kinds) if example else [],
            "personal_keys": sorted(example.personal_keys) if example else [],
            "sample": example.sample if example else None,
        }
        for name, vendor in VENDORS.items()
        if source in (None, name)
        for kind, reading in vendor.kinds.items()
        for example in [examples.get((name, kind))]
    ]
    if as_json:
        show_json(found)
    else:
        cells = ([row[column] for column in COLUMNS] for row in found)
        show_table(COLUMNS, ([_cell(cell) for cell in row] for row in cells))


def _cell(value: object) -> object:
    return ", ".join(value) if isinstance(value, list) else value


def _examples() -> dict[tuple[str, str], Example]:
    """Interpret every sample, and group the findings by source and kind."""
    found: dict[tuple[str, str], Example] = {}
    for sample in sample_files():
        personal_keys = _personal_keys(sample)
        for kind, interpretation in _events(sample):
            example = found.setdefault((sample.parent.name, kind), Example(sample.name))
            example.subject_kinds |= {recorded.fact.subject_kind for recorded in interpretation.facts}
            example.personal_keys |= personal_keys
    return found


def _personal_keys(sample: Path) -> set[str]:
    """Return the keys whose values are redacted from a sample."""
    body = sample.read_bytes()
    personal = VENDORS[sample.parent.name].personal
    return {squeeze(found.key) for found in redact(body, parse_json(body), personal, partial(pseudonym, b"")).found}


def _events(sample: Path) -> Iterator[tuple[str, Interpretation]]:
    """Yield the kind and the interpretation of each event in a sample."""
    source = sample.parent.name
    delivery = identify(Origin("", "", source, None, b""), sample.read_bytes())
    for event in delivery.as_stored(ANY_TIME):
        yield event.kind, interpret(event)
