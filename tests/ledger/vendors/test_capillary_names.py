"""Names of Capillary's events: the heading in the documents and the name in the payload mean the same event."""

import pytest

from ledger.vendors.capillary import KINDS
from ledger.vendors.capillary.envelope import ALIASES
from tests.support.interpretation import deliver


@pytest.mark.parametrize(
    ("spelt", "kind"),
    [
        ("pointsTransferInitiated", "pointsTransferredInitiated"),
        ("PointsExpired", "pointsExpired"),
        ("Points Expired Reminder Event", "pointsExpiryReminder"),
        ("LoyaltyCustomerMerge", "loyaltyCustomerMerge"),
        ("Loyalty Customer Merge Event", "loyaltyCustomerMerge"),
        ("issuedalternateCurrenciesReversed", "issuedAlternateCurrenciesReversed"),
        ("Issued Alternate Currency Reversed", "issuedAlternateCurrenciesReversed"),
        ("Unified Target Unachieved Event", "unifiedTargetsUnAchieved"),
        ("Streak level unachievement", "streakLevelUnAchieved"),
        ("couponissue", "CouponIssue"),
        ("requestWorkflowEvent", "requestWorkflowEvent"),
    ],
)
def test_an_event_is_known_by_every_documented_spelling(spelt: str, kind: str) -> None:
    body = {"eventName": spelt, "eventId": "e", "orgId": 1, "createdAt": 1_700_000_000_000, "data": {}}

    [event] = deliver("capillary", body)

    assert event.draft.kind == kind


def test_every_alias_means_a_known_event() -> None:
    assert set(ALIASES.values()) - KINDS.keys() == set()
    assert {name.lower() for name in KINDS} & ALIASES.keys() == set()
