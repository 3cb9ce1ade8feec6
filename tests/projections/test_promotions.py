from decimal import Decimal
from typing import Any

from ledger.facts.promotions import (
    EarnedPromotionRevoked,
    IssuedPromotionRevoked,
    Limit,
    PromotionEarned,
    PromotionIssued,
    PromotionRedeemed,
)
from projections.promotions import PROMOTIONS
from tests.support.fold_helpers import day, on, row_of, rows_of

ANN: dict[str, Any] = {"customer": "capillary:1:ann", "promotion": "7"}


def issued(issual: str = "i", **more: Any) -> PromotionIssued:
    return PromotionIssued(**ANN, issual=issual, **more)


def earned(name: str = "e", issual: str | None = "i") -> PromotionEarned:
    return PromotionEarned(**ANN, earned=name, issual=issual)


def redeemed(redemption: str, uses: int = 1, discount: int = 5) -> PromotionRedeemed:
    return PromotionRedeemed(**ANN, earned="e", redemption=redemption, uses=Decimal(uses), discount=Decimal(discount))


def issual_revoked(issual: str = "i") -> IssuedPromotionRevoked:
    return IssuedPromotionRevoked(**ANN, issual=issual)


def earned_revoked(name: str = "e") -> EarnedPromotionRevoked:
    return EarnedPromotionRevoked(**ANN, earned=name)


def test_a_promotion_is_issued_and_earned_several_times() -> None:
    row = row_of(PROMOTIONS, on(1, issued("i1")), on(2, issued("i2")), on(3, earned("e1", "i1")))

    assert (row.issued_count, row.earned_count, row.revoked_count, row.incomplete) == (2, 1, 0, False)


def test_revoking_the_issual_leaves_what_was_earned_from_it() -> None:
    told = [on(1, issued()), on(2, earned()), on(3, issual_revoked())]

    tables = rows_of(PROMOTIONS, *told)

    assert [(row.status, row.revoked_at) for row in tables["promotion_issuals"]] == [("revoked", day(3))]
    assert [row.status for row in tables["promotions_earned"]] == ["earned"]
    assert (tables["promotions"][0].issued_count, tables["promotions"][0].earned_count) == (0, 1)


def test_an_earned_promotion_is_revoked_by_its_own_event() -> None:
    row = row_of(PROMOTIONS, on(1, issued()), on(2, earned()), on(3, earned_revoked()))

    assert (row.issued_count, row.earned_count, row.revoked_count) == (1, 0, 1)


def test_a_revocation_of_what_was_never_reported_is_kept() -> None:
    told = [on(3, earned_revoked("e9"))]

    (row,) = rows_of(PROMOTIONS, *told)["promotions_earned"]

    assert (row.earned, row.status, row.incomplete) == ("e9", "revoked", True)
    assert row_of(PROMOTIONS, *told).incomplete is True


def test_what_arrives_after_its_revocation_is_revoked_already() -> None:
    told = [on(1, earned_revoked()), on(1, issual_revoked()), on(2, issued()), on(3, earned())]

    tables = rows_of(PROMOTIONS, *told)

    assert [(row.status, row.incomplete) for row in tables["promotion_issuals"]] == [("revoked", False)]
    assert [(row.status, row.incomplete) for row in tables["promotions_earned"]] == [("revoked", False)]


def test_an_earned_promotion_is_used_and_each_use_counts_once() -> None:
    told = [on(1, earned()), on(2, redeemed("T1", uses=2)), on(3, redeemed("T2")), on(4, redeemed("T2"))]

    (row,) = rows_of(PROMOTIONS, *told)["promotions_earned"]

    assert (row.status, row.redeemed_count, row.discount, row.redeemed_at) == ("redeemed", 3, 10, day(4))


def test_a_limit_is_shown_as_the_vendor_names_it() -> None:
    limits = (Limit("MAX_POINTS_PER_EARN"), Limit("MAX_EARNS", Decimal(3)))

    assert row_of(PROMOTIONS, on(1, issued(limits=limits))).limits == ["MAX_EARNS 3", "MAX_POINTS_PER_EARN unlimited"]
