"""Internal events: an operator changed the policy for conflicts of one kind of event."""

from collections.abc import Sequence
from typing import Any, Literal

from ledger.facts import Fact
from ledger.vendors.fields import StrictModel, Text
from ledger.vendors.vendor import EventContext, EventType

Policy = Literal["earliest", "latest", "both"]


class PolicySetPayload(StrictModel):
    """The vendor, the kind of its events, the new policy and the policy before."""

    vendor: str
    events: str
    policy: Policy
    before: Policy
    by: Text = None


def policy_set(_event: PolicySetPayload, _context: EventContext) -> Sequence[Fact]:
    """A policy selects facts of other events and has no facts of its own."""
    return []


KINDS: dict[str, EventType[Any]] = {"conflictPolicySet": EventType(PolicySetPayload, policy_set)}
