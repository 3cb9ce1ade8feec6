"""The simulated programme of the demonstration, folded without a database."""

from collections import defaultdict
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from ledger.facts import RecordedFact
from projections.accounts.wallet import ACCOUNTS
from projections.definition import fact_key, fold
from service.demo.members import CUSTOMER_FIRST, FAULTS, MERGES
from service.demo.programme import ProgrammeSimulation
from service.demo.vendor_bodies import ORG, SimulatedDelivery
from tests.support.interpretation import deliver

UNTIL = date(2026, 3, 15)
MEMBERS = 100


@cache
def deliveries() -> tuple[SimulatedDelivery, ...]:
    return tuple(ProgrammeSimulation(UNTIL, MEMBERS).deliveries())


def test_equal_arguments_give_equal_bytes() -> None:
    assert tuple(ProgrammeSimulation(UNTIL, MEMBERS).deliveries()) == deliveries()


def test_the_year_ends_before_its_day_and_arrives_in_order() -> None:
    times = [one.at for one in deliveries()]

    assert times == sorted(times)
    assert times[-1] < datetime(2026, 3, 15, tzinfo=UTC)


def test_every_person_has_their_own_address() -> None:
    members = ProgrammeSimulation(UNTIL, 800).members

    assert len({member.person.email for member in members}) == 800


def drifting_members() -> set[int]:
    """Fold the deliveries of each member, and return the numbers of members whose balance differs from the claims."""
    facts: dict[str, list[RecordedFact]] = defaultdict(list)
    seen: set[bytes] = set()
    for position, sent in enumerate(deliveries(), 1):
        for event in deliver(sent.source, sent.body):
            if event.draft.event_key in seen:
                continue
            seen.add(event.draft.event_key)
            for fact, occurrence in event.meaning.facts:
                if fact.subject_kind == ACCOUNTS.subject:
                    facts[fact.subject].append(RecordedFact(fact, occurrence._replace(position=position)))
    drifting = set()
    for subject, history in facts.items():
        state = fold(ACCOUNTS, sorted(history, key=fact_key), ACCOUNTS.start())
        rows: list[Any] = list(ACCOUNTS.rows(subject, state)["accounts"])
        if any(row.missing for row in rows) and subject.startswith(f"capillary:{ORG}:"):
            drifting.add(int(subject.rpartition(":")[2]) - CUSTOMER_FIRST)
    return drifting


def test_a_balance_drifts_only_where_a_fault_is_listed() -> None:
    listed = {number for members in FAULTS.values() for number in members}
    merged = {number for survivor in MERGES for number in (survivor, survivor + 1)}  # groups are not folded here

    drifting = drifting_members() - merged

    assert drifting <= listed
    assert {3, 9, 17} & drifting
