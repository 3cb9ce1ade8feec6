"""Golden pairs: every sample beside its facts, which a person has checked.

The event keys in them are published. A change of a key makes every later redelivery of a stored event look new.
`scripts/golden` prints the facts of a new sample. Check them against the payload before you save them.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.vendors import SOURCES
from tests.support.golden import facts_file, golden, samples
from tests.support.interpretation import deliver

SAMPLES = list(samples())
PAIRS = [sample for sample in SAMPLES if facts_file(sample).exists()]


def name(sample: Path) -> str:
    return f"{sample.parent.name}/{sample.stem}"


def written(sample: Path) -> Any:
    return msgspec.json.decode(facts_file(sample).read_bytes())


def kinds_in(sample: Path) -> set[str]:
    return {draft.kind for draft, _ in deliver(sample.parent.name, sample.read_bytes())}


def bare_objects() -> list[Path]:
    """Return Voucherify's samples without an envelope."""
    voucherify = [sample for sample in PAIRS if sample.parent.name == "voucherify"]
    return [sample for sample in voucherify if "data" not in msgspec.json.decode(sample.read_bytes())]


@pytest.mark.parametrize("sample", PAIRS, ids=name)
def test_a_sample_has_the_facts_of_its_golden_file(sample: Path) -> None:
    assert golden(sample) == written(sample)


@pytest.mark.parametrize("sample", bare_objects(), ids=name)
def test_a_bare_object_means_the_same_whether_its_connection_names_the_event_or_not(sample: Path) -> None:
    (event,) = written(sample)

    assert golden(sample, kind=event["kind"]) == [event]


@pytest.mark.parametrize("source", SOURCES)
def test_every_kind_of_event_has_a_golden_pair(source: str) -> None:
    paired = {event["kind"] for sample in PAIRS if sample.parent.name == source for event in written(sample)}

    assert set(SOURCES[source].kinds) - paired == set()


def test_every_sample_of_a_known_kind_has_its_facts_beside_it() -> None:
    unpaired = [sample for sample in SAMPLES if sample not in PAIRS]

    assert [name(sample) for sample in unpaired if kinds_in(sample) & SOURCES[sample.parent.name].kinds.keys()] == []


def test_no_facts_are_left_without_their_sample() -> None:
    expected = {facts_file(sample) for sample in SAMPLES}

    assert [path.name for path in SAMPLES[0].parents[1].glob("*/*.facts.json") if path not in expected] == []
