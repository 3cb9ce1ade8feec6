"""A null removes no value: a fact with its identifiers only leaves every recorded value, before or after it."""

from typing import Any

import msgspec
import pytest

from ledger.facts import Fact, RecordedFact
from projections.definition import Projection, fold
from projections.registry import BY_SUBJECT
from tests.support.fold_helpers import on
from tests.support.golden import samples
from tests.support.interpretation import deliver

# Facts in which a missing value has a meaning.
MEANT = {
    ("TierUpgraded", "until"),  # another stay, with an unknown end
    ("TierDowngraded", "until"),
    ("TierUpgraded", "tier_name"),
    ("TierDowngraded", "tier_name"),
    ("TierJoined", "until"),
    ("TierJoined", "tier_name"),
}


def sample_facts() -> dict[str, list[Fact]]:
    """Return all facts of the samples except account facts, by kind."""
    found: dict[str, list[Fact]] = {}
    for sample in samples():
        for _, meaning in deliver(sample.parent.name, sample.read_bytes()):
            for fact, _ in meaning.facts:
                if fact.subject_kind not in ("account", "programme", "period"):
                    found.setdefault(type(fact).__name__, []).append(fact)
    return found


FACTS = sample_facts()


def without_optional_values(fact: Fact) -> Fact:
    """Return the same fact without its optional values."""
    fields = msgspec.structs.fields(type(fact))
    return type(fact)(**{field.name: getattr(fact, field.name) for field in fields if field.required})


def row(projection: Projection, subject: str, *told: RecordedFact) -> dict[str, Any]:
    table = projection.tables[0]
    rows = list(projection.rows(subject, fold(projection, told))[table.name])
    return dict(zip(table.columns, rows[0], strict=True)) if rows else {}


@pytest.mark.parametrize("kind", sorted(FACTS))
def test_a_reported_value_stays(kind: str) -> None:
    for fact in FACTS[kind]:
        projection, silent = BY_SUBJECT[fact.subject_kind], without_optional_values(fact)
        if silent.subject != fact.subject:
            continue
        alone = row(projection, fact.subject, on(1, fact))
        for order in ((on(1, fact), on(2, silent)), (on(1, silent), on(2, fact))):
            together = row(projection, fact.subject, *order)
            lost = {name for name, value in alone.items() if value not in (None, []) and together[name] in (None, [])}
            assert {name for name in lost if (kind, name) not in MEANT} == set(), (kind, order[0].fact is fact)
