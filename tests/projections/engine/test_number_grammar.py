"""Whatever stands where a value was, door, reading, fold and rows take it; no fault has to be contained on the way.

Values are made by a grammar of numbers as senders, languages and attackers write them, and of what stands there else.
"""

import os
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ledger.events import Origin
from ledger.facts import RecordedFact
from ledger.intake.identify import identify
from ledger.intake.interpret import interpret
from ledger.vendors import VENDORS
from ledger.vendors.repair_report import NOT_LISTED, list_repairs
from projections.definition import fact_key, fold_until_failure
from projections.registry import BY_SUBJECT
from service.formatting import encode_json
from tests.ledger.test_side_values import Place, Sample, places, with_value
from tests.support.golden import samples
from tests.support.interpretation import RECORDED_AT
from tests.support.mutations import written

SAMPLES = [sample for sample in samples() if sample.parent.name in VENDORS]
VALUES_PER_SAMPLE = int(os.environ.get("LOYALTY_GRAMMAR_VALUES", "12"))
CONTAINED = " in ledger/"  # how ledger/failures.py names a place of ours

SIGNS = ("", "-", "+", "--")
DIGITS = (
    "",
    "0",
    "7",
    "007",
    "1_000",
    "9" * 30,
    "9" * 5_000,
    "\u0663",
    "\uff11\uff12",
    "\u00b2",
    "0x3c",
    "1 000",
    "\u2212" + "5",
)
FRACTIONS = ("", ".", ".5", ".000000", ".1234567", "." + "3" * 200, ",5")
EXPONENTS = ("", "e0", "E+4", "e-4", "e18", "e1000000", "e-2000000", "e999999999", "e99999999999999999999", "e")
WORDS = ("", " ", "null", "NaN", "-Infinity", "inf", "sNaN123", "true", "<personal>", "1e1000000" + " " * 50, "\u00a07")
OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    10**39,
    10**4_000,
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"value": 1e300},
)


def random_value(random: Random) -> Any:
    """Draw a value; most are texts that look like numbers."""
    kind = random.randint(0, 9)
    if kind == 0:
        return random.choice(OTHERS)
    if kind == 1:
        return random.choice(WORDS)
    return "".join(random.choice(part) for part in (SIGNS, DIGITS, FRACTIONS, EXPONENTS))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_spelling_of_a_number_is_a_fault(path: Path) -> None:
    sample, random = Sample(path), Random(path.stem)
    found = list(places(sample.document))

    for _ in range(VALUES_PER_SAMPLE):
        place, value = random.choice(found), random_value(random)
        check(sample, place, value)


def check(sample: Sample, place: Place, value: Any) -> None:
    body = written(with_value(sample.document, place, value))
    delivery = identify(Origin("ledger", "connection", sample.source, sample.kind, b"mask"), body)
    told: dict[tuple[str, str], list[RecordedFact]] = defaultdict(list)
    for event in delivery.as_stored(RECORDED_AT):
        meaning = interpret(event)
        assert CONTAINED not in (meaning.reason or ""), (place, value)
        assert not any(
            NOT_LISTED in one.rule for one in list_repairs(VENDORS[sample.source], event.kind, delivery.payload)
        )
        for one in meaning.facts:
            told[one.fact.subject_kind, one.fact.subject].append(one)
    for (subject_kind, subject), facts in told.items():
        folded = fold_until_failure(BY_SUBJECT[subject_kind], subject, sorted(facts, key=fact_key))
        assert folded.parked is None, (place, value)
        encode_json({table: [list(row) for row in rows] for table, rows in folded.rows.items()})
