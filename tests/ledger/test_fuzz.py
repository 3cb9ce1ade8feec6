"""Whatever a vendor sends, it is named, cut and read without an error, and says nothing personal."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events import Delivery, Origin
from ledger.facts import decode, encode, kind_of
from ledger.intake.identify import identify
from ledger.privacy.redaction import restore_body
from ledger.vendors import VENDORS
from ledger.vendors.repair_report import list_repairs
from tests.support.golden import samples
from tests.support.interpretation import deliver
from tests.support.mutations import CANARY, damaged, muddled, planted, written

SAMPLES = [sample for sample in samples() if sample.parent.name in VENDORS]
RANDOMS = st.integers(0, 2**32).map(Random)
EXAMPLES_PER_SAMPLE = 20
SPLINTERS = (b"", b" ", b'"', b"{", b"}", b",", b"\\", b"\\u0000", b"\xff", b"e9", b"\xc2\xa0")  # put into texts


def delivery(source: str, body: bytes) -> Delivery:
    return identify(Origin("ledger", "connection", source, None, b"mask"), body)


def check(source: str, body: bytes) -> list[bytes]:
    """Deliver a body: nothing raises, and what comes out is whole. Give its facts as they are stored."""
    of = delivery(source, body)
    assert restore_body(of.payload, [piece for part in of.parts for piece in part.spans]) == body
    encoded = []
    for draft, meaning in deliver(source, body):
        assert meaning.status in (None, "unrecognised", "quarantined")
        assert (meaning.status is None) == (meaning.reason is None)
        assert not (meaning.status and meaning.facts)
        for fact, _ in meaning.facts:
            assert decode(kind_of(fact), encode(fact)) == fact
            encoded.append(encode(fact))
        list_repairs(VENDORS[source], draft.kind, of.payload)
    return encoded


def name(sample: Path) -> str:
    return f"{sample.parent.name}/{sample.stem}"


@pytest.mark.parametrize("sample", SAMPLES, ids=name)
def test_a_damaged_sample_is_read_or_left_and_nothing_personal_stays_in_it(sample: Path) -> None:
    source = sample.parent.name
    for seed in range(EXAMPLES_PER_SAMPLE):
        document, _ = planted(source, sample.read_bytes())
        body = written(damaged(document, Random(seed)))

        facts = check(source, body)

        assert CANARY not in delivery(source, body).payload.decode(), seed
        assert not any(CANARY.encode() in fact for fact in facts), seed


@pytest.mark.parametrize("sample", SAMPLES, ids=name)
def test_a_muddled_sample_is_read_or_left(sample: Path) -> None:
    for seed in range(EXAMPLES_PER_SAMPLE):
        document, _ = planted(sample.parent.name, sample.read_bytes())

        check(sample.parent.name, written(muddled(document, Random(seed))))


@given(sample=st.sampled_from(SAMPLES), random=RANDOMS)
def test_a_sample_damaged_as_text_is_read_or_left(sample: Path, random: Random) -> None:
    body = bytearray(sample.read_bytes())
    for _ in range(random.randint(1, 5)):
        at = random.randrange(len(body))
        body[at : at + random.choice((0, 1, 1, 50))] = random.choice((*SPLINTERS, random.randbytes(1)))

    check(sample.parent.name, bytes(body))


@given(source=st.sampled_from(list(VENDORS)), sample=st.sampled_from(SAMPLES), random=RANDOMS)
def test_a_sample_of_another_vendor_is_read_or_left(source: str, sample: Path, random: Random) -> None:
    document, _ = planted(sample.parent.name, sample.read_bytes())

    check(source, written(muddled(document, random)))


@given(source=st.sampled_from(list(VENDORS)), body=st.binary(max_size=200))
def test_any_bytes_are_read_or_left(source: str, body: bytes) -> None:
    check(source, body)


@pytest.mark.parametrize("sample", SAMPLES, ids=name)
def test_every_canary_in_a_sample_is_cut_out_and_put_back(sample: Path) -> None:
    document, canaries = planted(sample.parent.name, sample.read_bytes())
    body = written(document)
    of = delivery(sample.parent.name, body)

    assert CANARY not in of.payload.decode()
    assert not any(CANARY.encode() in fact for fact in check(sample.parent.name, body))
    values = b"".join(piece.value for part in of.parts for piece in part.spans)
    assert all(canary.encode() in values for canary in canaries)
