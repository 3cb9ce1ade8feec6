"""Our word that conflicts of one kind of event are settled otherwise from now on, and how they were until now."""

from collections.abc import Sequence
from typing import Any, Literal

from ledger.facts import Fact
from ledger.vendors.fields import StrictModel, Text
from ledger.vendors.vendor import EventContext, EventType

Policy = Literal["earliest", "latest", "both"]


class PolicySetPayload(StrictModel):
    """Of which vendor's events of which kind; `before` is the policy until then."""

    vendor: str
    events: str
    policy: Policy
    before: Policy
    by: Text = None


def policy_set(_event: PolicySetPayload, _context: EventContext) -> Sequence[Fact]:
    """It chooses among the facts of other events, and makes none."""
    return []


KINDS: dict[str, EventType[Any]] = {"conflictPolicySet": EventType(PolicySetPayload, policy_set)}
