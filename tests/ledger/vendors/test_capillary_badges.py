from decimal import Decimal

from tests.support.capillary_customer_events import fact_of, refusal_of


def test_a_badge_is_earned_by_its_earn_id_and_the_counts_are_kept() -> None:
    constraints = [{"constraintLevel": "CUSTOMER", "currentEarnCount": 2}, None, {"constraintType": "NONE"}]

    fact = fact_of("badgeEarned", {"badgeId": "b", "earnId": "e", "earnConstraints": constraints})

    assert (fact.subject, fact.earn) == ("capillary:1:7:b", "e")
    assert [limit.count for limit in fact.limits] == [Decimal(2), None]


def test_a_badge_without_an_earn_id_is_not_recognised() -> None:
    assert "earnId" in refusal_of("badgeEarned", {"badgeId": "b", "earnId": ""})
