"""Planted faults: in histories of a vendor whose claims are true, a named cause is right, or it says "not known".

LOYALTY_PLANTED_HISTORIES=1000 plants that many; the suite plants five of each fault.
"""

import os
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.database import Connection
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine.worker import catch_up
from service.reconciliation.catalogue import LISTS
from service.reconciliation.lists import ListQuery, OpenItem
from tests.service.reconciliation.planted_faults import FAULTS, Story, story
from tests.support.payloads import START, VAULT, delivery

HISTORIES = int(os.environ.get("LOYALTY_PLANTED_HISTORIES", 5 * len(FAULTS)))
SEED = int(os.environ.get("LOYALTY_PLANTED_SEED", 1))
AT = datetime(2030, 1, 1, tzinfo=UTC)
MISSING = re.compile(r"[Aa] (credit|debit) of (\d+) never arrived, (?:by (.+?) \(|(?:between|at) (.+?) (?:\(|UTC, b))")
PLACES = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? UTC")
# Faults by which the vendor's balance moves and no event, or none that can be read, tells of it.
UNTOLD = ("missing", "half transfer", "unread", "untold merge")


def verdict(item: OpenItem, name: str, of: Story) -> str:
    """Judge the cause of one open matter: "right", "not known", or "wrong"."""
    cause = item.cause
    if "cause is not known" in cause:
        return "not known"
    match name:
        case "drift":
            return _verdict_of_drift(cause, of)
        case "transfers":
            half = "receiver's" if of.culprit is not None and of.culprit.kind == "received" else "sender's"
            return "right" if of.fault in ("missing", "half transfer", "unread") and half in cause else "wrong"
        case "expiries":
            is_claim = "agree that all of it lapsed" in cause or "may still count" in cause
            return "right" if not is_claim or "may" in cause or of.fault != "wrong expiry" else "wrong"
        case _:
            return "right" if of.fault == "unread" and name == "unrecognised" else "wrong"


def _verdict_of_drift(cause: str, of: Story) -> str:
    culprit = of.culprit
    if culprit is None:
        return "wrong"
    if cause.startswith("Our adjustment"):
        return "right" if of.fault == "adjustment of ours" else "wrong"
    named = MISSING.findall(cause)
    if len(named) != 1:
        return "wrong"
    [(kind, points, *_)] = named
    change = culprit.more.get("taken_over", culprit.change)
    when = datetime.fromtimestamp(START / 1000 + culprit.at, UTC).replace(microsecond=0, tzinfo=None)
    places = [datetime.fromisoformat(one) for one in PLACES.findall(cause)]
    within = (len(places) == 1 or places[0] <= when) and when <= places[-1]
    if of.fault in UNTOLD:
        larger = "or a larger one" in cause
        same = (kind == "credit") is (change > 0) and (
            int(points) == abs(change) or (larger and int(points) <= abs(change))
        )
        return "right" if same and within else "wrong"
    if of.fault in ("wrong amount", "other content") and "an event in between has another amount" in cause:
        return "right" if within else "wrong"
    return "wrong"


async def planted(
    connection: Connection, ledger: Ledger, stories: list[Story]
) -> list[tuple[Story, str, OpenItem, str]]:
    bodies = [delivery(body) for one in stories for body in one.told]
    for first in range(0, len(bodies), 500):
        await append(connection, VAULT, ledger.ledger_id, bodies[first : first + 500])
    await catch_up(connection, ledger.ledger_id)
    by_customer = {customer: one for one in stories for customer in one.customers}
    found = []
    for name in ("drift", "transfers", "expiries", "early-expiries", "sums", "promises", "reminders", "unrecognised"):
        asked = ListQuery(ledger.ledger_id, AT, AT - timedelta(days=30), 100, LISTS[name].start)
        following: Any = asked.after
        while following is not None:
            items, following = await LISTS[name].read(connection, asked._replace(after=following))
            for item in items:
                of = by_customer.get(_customer_of(item))
                if of is not None:
                    found.append((of, name, item, verdict(item, name, of)))
    return found


def _customer_of(item: OpenItem) -> int:
    customer = item.details.get("customer") or item.details.get("receiver") or item.details.get("sender") or ""
    return int(str(customer).rpartition(":")[2] or 0)


async def test_a_named_cause_is_right_or_not_known(connection: Connection, ledger: Ledger) -> None:
    stories = [story(number, FAULTS[number % len(FAULTS)], SEED) for number in range(HISTORIES)]

    found = await planted(connection, ledger, stories)

    counted = Counter((of.fault, name, says) for of, name, _, says in found)
    for (fault, name, says), count in sorted(counted.items()):
        print(f"{fault:20} {name:16} {says:10} {count}")
    wrong = [(of.number, of.fault, of.culprit, name, item.cause) for of, name, item, says in found if says == "wrong"]
    assert wrong == []
    seen = {of.number for of, *_ in found}
    with_fault = [one for one in stories if one.fault != "none"]
    print(f"{len(stories)} histories, {len(with_fault)} with a fault, {len(seen)} of them seen")
    assert len(seen) > len(with_fault) // 2
    assert counted["missing", "drift", "right"] > 0
