from decimal import Decimal
from typing import Any

import pytest

from ledger.facts.promotions import EarnedPromotionRevoked, Limit
from tests.support.capillary_customer_events import fact_of, facts_of, refusal_of


def limited(*maxima: int | None) -> dict[str, Any]:
    restrictions = [{"kpi": f"LIMIT_{place}", "maxLimit": maximum} for place, maximum in enumerate(maxima)]
    return {"promotionId": 1, "issualId": 2, "issueRestrictions": restrictions}


def test_minus_one_is_no_limit_and_a_limit_without_a_name_is_ignored() -> None:
    fact = fact_of("promotionIssued", limited(-1, 3, None))

    assert fact.limits == (Limit("LIMIT_0", None, "issue"), Limit("LIMIT_1", Decimal(3), "issue"))


def test_several_earned_promotions_are_revoked_by_one_event() -> None:
    details = [{"revokedEarnedId": 31}, {"revokedEarnedId": 32}]

    facts = facts_of("revokeEarnedPromotion", {"promotionId": 1, "revokedEarnedPromotionDetails": details})

    assert [fact.earned for fact in facts if type(fact) is EarnedPromotionRevoked] == ["31", "32"]


def test_a_cart_promotion_applied_to_the_cart_is_not_counted_again_at_its_lines() -> None:
    applied = {"promotionId": "p", "earnId": "e", "redemptionCount": 1, "discount": 5}

    fact = fact_of(
        "cartPromotionRedeemed",
        {
            "transactionIdentifier": "T1",
            "appliedPromotions": [applied],
            "lineItemInfo": [{"appliedPromotions": [applied]}],
        },
    )

    assert (fact.redemption, fact.uses, fact.discount) == ("T1~e", Decimal(1), Decimal(5))


def test_a_cart_promotion_applied_to_lines_alone_counts_at_each() -> None:
    applied = {"promotionId": "p", "earnId": "e", "redemptionCount": 2, "discount": Decimal("1.5")}
    lines = [{"appliedPromotions": [applied]}, {"appliedPromotions": [applied]}]

    fact = fact_of("cartPromotionRedeemed", {"lineItemInfo": lines}, eventId="e1")

    assert (fact.redemption, fact.uses, fact.discount) == ("e1~e", Decimal(4), Decimal(3))


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("cartPromotionIssued", "no issue id"),
        ("cartPromotionEarned", "no earn id"),
        ("cartPromotionRevoked", "no earn id"),
    ],
)
def test_a_cart_promotion_without_its_id_is_not_recognised(kind: str, missing: str) -> None:
    assert missing in refusal_of(kind, {"promotionId": "p"})
