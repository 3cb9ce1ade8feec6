"""A value that cannot be read costs the facts that depend on it, and no other fact of its event.

Which facts depend on a value is found by experiment: another sound value is put in its place, and the facts that change
depend on it. Those of a structure are those of the values in it. Then values are put there that no vendor should send.
"""

import os
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from ledger.decimals import format_decimal
from ledger.events import Event, Origin
from ledger.facts import decode, encode
from ledger.intake.identify import identify
from ledger.intake.interpret import interpret
from ledger.parsing import parse_json
from ledger.vendors import VENDORS
from tests.support.golden import samples
from tests.support.interpretation import RECORDED_AT
from tests.support.mutations import written

SAMPLES = [sample for sample in samples() if sample.parent.name in VENDORS]
PLACES_PER_SAMPLE = int(os.environ.get("LOYALTY_MUTATED_PLACES", "4"))  # of all; 10000 takes every one
MISSING = object()
NOISE = Decimal("0.00000000000003")
WRONG: tuple[Any, ...] = (None, MISSING, "", "a word", "1e1000000", [], ["x"], {}, {"x": 1}, True)

# Facts that are told together or not at all, by sample and by the value without which the event says too little: a half
# of a transfer alone would leave points in transit, a hold belongs to an order.
TOGETHER = (
    ("order_item.", "order"),
    ("pointsContributionToGroup", "groupId"),
    ("pointsTransferred", "loyaltyProgramId"),
    ("pointsTransferredReceived", "entityInformation"),
    ("requestUpdated", "data"),
    ("rewardIssued", "rewardId"),
    ("customer.reward_redemptions.", "voucher"),
    ("customer.reward_redemptions.", "reward_redemption"),
    ("voucher.loyalty_card.transaction.created-transfer", "voucher"),
    ("voucher.loyalty_card.transaction.created-transfer", "transaction"),
)

# Voucherify repeats an order in many events. An event whose change cannot be read gives no order either.
REPEATED_ORDER = b'BillAdded{"bill":"voucherify:'

Place = tuple[str | int, ...]


def facts_of(source: str, document: Any, kind: str | None) -> list[bytes]:
    """Deliver a document, and give its facts. Its content does not name it here: then all of it would matter."""
    delivery = identify(Origin("ledger", "connection", source, kind, b"mask"), written(document))
    told = []
    for draft in delivery.events:
        event = Event(
            position=1, source=draft.source, org=draft.org, kind=draft.kind, event_key=bytes(16), content=bytes(16),
            occurred_at=draft.occurred_at, recorded_at=RECORDED_AT, ordinal=draft.ordinal, payload=delivery.payload,
        )  # fmt: skip
        told += [type(one.fact).__name__.encode() + encode(one.fact) for one in interpret(event).facts]
    return told


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Give the place of every value in a document."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(child, (*at, key))


def value_at(document: Any, place: Place) -> Any:
    for key in place:
        document = document[key]
    return document


def with_value(document: Any, place: Place, value: Any) -> Any:
    """Give the document with another value at a place, or without it. What is not on the way is shared."""
    key, rest = place[0], place[1:]
    if isinstance(document, list):
        assert isinstance(key, int)
        inner = [with_value(document[key], rest, value)] if rest else [value]
        return [*document[:key], *([] if value is MISSING and not rest else inner), *document[key + 1 :]]
    if rest:
        return {**document, key: with_value(document[key], rest, value)}
    kept = {name: part for name, part in document.items() if name != key}
    return kept if value is MISSING else {**document, key: value}


def other_values(value: Any) -> list[Any]:
    """Give sound values of the same type; none for a structure."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | Decimal):
        return [value + 1, value * 2 + 3]
    if isinstance(value, str):
        digits = "".join(str((int(one) + 1) % 10) if one.isascii() and one.isdigit() else one for one in value)
        return [digits, f"{value}7", "USER_GROUP", "CANCELLED", "7"]
    return [7, "7", "2031-01-01", True] if value is None else []


class Sample:
    """A published payload, the facts of it, and which of them depend on which value."""

    def __init__(self, path: Path) -> None:
        golden = path.with_suffix(".facts.json")
        self.source, self.kind = path.parent.name, None
        if golden.exists():  # the connection names the event of a bare object
            self.kind = msgspec.json.decode(golden.read_bytes())[0]["kind"]
        self.document = parse_json(path.read_bytes()).value
        self.facts = self.told(self.document)
        self._dependent: dict[Place, frozenset[bytes]] = {}

    def told(self, document: Any) -> list[bytes]:
        return facts_of(self.source, document, self.kind)

    def dependent(self, place: Place) -> frozenset[bytes]:
        if place not in self._dependent:
            value = value_at(self.document, place)
            found = set[bytes]()
            for inner in places(value):
                found |= self.dependent((*place, *inner)) if len(inner) == 1 else set()
            for other in other_values(value):
                changed = self.told(with_value(self.document, place, other))
                found |= {fact for fact in self.facts if fact not in changed}
            self._dependent[place] = frozenset(found)
        return self._dependent[place]

    def lost(self, place: Place, value: Any) -> list[bytes]:
        """Give the facts that a value at a place costs, though they do not depend on it.

        A fact that only says less than before is not lost: it is of the same kind, subject and points.
        """
        told = self.told(with_value(self.document, place, value))
        left = Counter(outline(fact) for fact in told)
        left.subtract(outline(fact) for fact in self.facts if fact in told)
        gone = []
        for fact in self.facts:
            if fact not in told and fact not in self.dependent(place):
                left[outline(fact)] -= 1
                gone += [fact] if left[outline(fact)] < 0 else []
        return gone if told else [fact for fact in gone if not fact.startswith(REPEATED_ORDER)]


def outline(fact: bytes) -> tuple[str, str, Decimal]:
    """Give the kind, the subject and the points of a fact."""
    kind, _, body = fact.partition(b"{")
    one = decode(kind.decode(), b"{" + body)
    grants = getattr(one, "grants", ())
    return kind.decode(), one.subject, getattr(one, "points", None) or sum((lot.points for lot in grants), Decimal(0))


def name(sample: Path) -> str:
    return f"{sample.parent.name}/{sample.stem}"


def is_told_together(path: Path, place: Place) -> bool:
    return any(path.stem.startswith(stem) and key in place for stem, key in TOGETHER)


def some_places(sample: Sample, seed: str) -> list[Place]:
    found = list(places(sample.document))
    return found if len(found) <= PLACES_PER_SAMPLE else Random(seed).sample(found, PLACES_PER_SAMPLE)


@pytest.mark.parametrize("path", SAMPLES, ids=name)
def test_a_wrong_value_costs_no_fact_that_does_not_depend_on_it(path: Path) -> None:
    sample = Sample(path)

    lost = [
        (place, "missing" if value is MISSING else value, fact)
        for place in some_places(sample, path.stem)
        if not is_told_together(path, place)
        for value in WRONG
        for fact in sample.lost(place, value)
    ]

    assert lost == []


@pytest.mark.parametrize("path", SAMPLES, ids=name)
def test_a_number_written_as_text_or_with_binary_noise_is_the_same_number(path: Path) -> None:
    sample = Sample(path)
    numbers = [
        place for place in some_places(sample, path.stem) if type(value_at(sample.document, place)) in (int, Decimal)
    ]

    for place in numbers:
        value = value_at(sample.document, place)
        assert sample.told(with_value(sample.document, place, format_decimal(Decimal(value)))) == sample.facts, place
        noisy = sample.told(with_value(sample.document, place, Decimal(value) + NOISE))
        if not is_told_together(path, place):
            assert {*sample.facts} - {*noisy} <= sample.dependent(place), place


# A figure that cannot be read, and the values from which the moved points are known all the same.
OTHERWISE_KNOWN: tuple[tuple[str, str], ...] = (
    ("capillary/pointsIssued", "totalPointsIssued"),
    ("capillary/alternateCurrenciesIssued", "totalAlternateCurrenciesIssued"),
    ("capillary/issuedPointsReversed", "currentEventTotalPointsReturned"),
    ("capillary/issuedPointsReversed", "currentEventPromisedPointsReturned"),
    ("capillary/manualPointsAdjustment", "totalPoinstDeducted"),
    ("voucherify/voucher.loyalty_card.points_added", "transaction.type"),
    ("voucherify/voucher.loyalty_card.points_expired", "transaction.type"),
    ("voucherify/redemption.succeeded", "data.voucher.type"),
)


@pytest.mark.parametrize(("stem", "name"), OTHERWISE_KNOWN)
@pytest.mark.parametrize("value", ["many", ["x"], True, "1e1000000"])
def test_points_that_another_value_states_are_read(stem: str, name: str, value: Any) -> None:
    [path] = [path for path in SAMPLES if f"{path.parent.name}/{path.stem}" == stem]
    sample = Sample(path)
    spots = [place for place in places(sample.document) if ".".join(map(str, place)).endswith(name)]

    assert spots
    for place in spots:
        told = sample.told(with_value(sample.document, place, value))
        assert [outline(fact) for fact in told] == [outline(fact) for fact in sample.facts], place
