"""Interpret a sample in the form of its golden facts: see tests/ledger/vendors/test_golden.py.

`scripts/golden <sample.json> …` prints it. Compare it with the payload and the vendor's rules before you save it. A
golden file holds the right facts, which may not be the ones that the code derives.
"""

import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from ledger.facts import encode, kind_of
from tests.support.interpretation import SAMPLES, Delivered, deliver


def golden(sample: Path, kind: str | None = None) -> list[Mapping[str, Any]]:
    """Return the golden form of a sample's events. The sample's folder is its source; `kind` is the kind of the
    connection.

    Raises AssertionError if an event in it is not recognised.
    """
    return [_golden(delivered) for delivered in deliver(sample.parent.name, sample.read_bytes(), kind)]


def _golden(delivered: Delivered) -> Mapping[str, Any]:
    draft, meaning = delivered
    assert meaning.status is None, f"{draft.kind} is {meaning.status}: {meaning.reason}"
    return {
        "kind": draft.kind,
        "org": draft.org,
        "event_key": draft.event_key.hex(),
        "occurred_at": _text(draft.occurred_at),
        "facts": [
            {
                "fact": kind_of(fact),
                "subject": fact.subject,
                "occurred_at": _text(occurrence.occurred_at),
                "body": msgspec.json.decode(encode(fact)),
            }
            for fact, occurrence in meaning.facts
        ],
    }


def samples() -> Iterator[Path]:
    """Return the paths of all payloads, published or modelled on the vendor's documents."""
    return (path for path in sorted(SAMPLES.glob("*/*.json")) if not path.name.endswith(".facts.json"))


def facts_file(sample: Path) -> Path:
    return sample.with_name(sample.name.removesuffix(".json") + ".facts.json")


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def _print(paths: list[str]) -> None:
    for path in paths:
        text = msgspec.json.format(msgspec.json.encode(golden(Path(path).resolve())), indent=2)
        sys.stdout.write(text.decode() + "\n")


if __name__ == "__main__":
    _print(sys.argv[1:])
