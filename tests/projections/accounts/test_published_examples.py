"""Histories that vendors publish as worked examples, with the published balances.

Sources, besides docs/domain.md §4.2: Capillary, "Return after redemption scenarios" and "Use case based schema
explain"; Voucherify, "Loyalty points" (expiration and pending points); Square, loyalty expiration policy.
"""

# Exact decimals are compared with whole numbers here.
# mypy: disable-error-code="comparison-overlap"

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from ledger.facts import Fact, Occurrence, RecordedFact
from ledger.facts.accounts import Expired, Grant, Issued, IssueReversed, Redeemed, RedemptionReversed
from ledger.facts.promises import PromiseKept, PromiseMade
from ledger.facts.terms import ExpiryRule, ProgrammeTermsSet
from projections.accounts import ACCOUNTS
from projections.accounts.account import Account
from projections.definition import fold
from projections.programme_terms import Terms, period_end
from tests.support.account_facts import about, account, given_back, issued, lots, redeemed, returned, sent, settled

# ---- Capillary: points awarded on two line items, 40 and 60; 50 redeemed; the rest expires --------------------------

LINE_ITEMS = Issued(grants=(Grant(Decimal(40)), Grant(Decimal(60))), bill="1", **about())


def test_points_of_line_items_are_redeemed_line_by_line() -> None:
    of = account(LINE_ITEMS, redeemed(50))

    assert of.available == 50
    assert lots(of, "points", "redeemed", "returned", "expired") == [(40, 40, 0, 0), (60, 10, 0, 0)]


def test_what_is_left_of_the_line_items_expires() -> None:
    of = account(LINE_ITEMS, redeemed(50), Expired(points=Decimal(50), **about()))

    assert of.available == 0
    assert lots(of, "points", "redeemed", "returned", "expired") == [(40, 40, 0, 0), (60, 10, 0, 50)]


# ---- Capillary: a return after a redemption, step by step, with every column of the published tables ----------------

STEPS = [issued(100, "1"), issued(150, "2"), redeemed(110), returned(100, "1"), returned(150, "2"), issued(500, "3")]


@pytest.mark.parametrize(
    ("steps", "balance", "rows"),
    [
        (1, 100, [(100, 0, 0, 0)]),
        (2, 250, [(100, 0, 0, 0), (150, 0, 0, 0)]),
        (3, 140, [(100, 100, 0, 0), (150, 10, 0, 0)]),
        (4, 40, [(100, 0, 100, 0), (150, 110, 0, 0)]),
        (5, -110, [(100, 0, 100, 0), (150, 0, 150, 0)]),
        (6, 390, [(100, 0, 100, 0), (150, 0, 150, 0), (500, 110, 0, 0)]),
    ],
)
def test_a_return_after_a_redemption_gives_the_published_rows(
    steps: int, balance: int, rows: list[tuple[int, int, int, int]]
) -> None:
    of = account(*STEPS[:steps])

    assert of.available == balance
    assert lots(of, "points", "redeemed", "returned", "expired") == rows
    assert of.debt == max(0, -balance)


# ---- Capillary: one bill of 1 February that gives 100 points, and what may become of them ---------------------------


def february(*told: tuple[int, Fact]) -> Account:
    """Fold facts that occurred at noon of days of February 2024."""
    history = [
        RecordedFact(
            fact, Occurrence(datetime(2024, 2, day, 12, tzinfo=UTC), b"%08d%08d" % (number, number), 0, number)
        )
        for number, (day, fact) in enumerate(told, 1)
    ]
    (only,) = fold(ACCOUNTS, history).accounts.values()
    assert isinstance(only, Account)
    return only


EARNED = (1, issued(100, "1", lapses=date(2024, 2, 10)))


def test_points_expire_on_their_day_and_stay_earned() -> None:
    of = february(EARNED, (11, Expired(points=Decimal(100), **about())))

    assert (of.available, of.lifetime, of.classes["expired"]) == (0, 100, 100)


def test_the_bill_paid_with_points_is_returned_in_time() -> None:
    of = february(EARNED, (3, redeemed(100)), (5, given_back(100)))

    assert (of.available, of.lifetime, of.classes["redeemed"]) == (100, 100, 0)
    assert lots(of, "remaining", "redeemed") == [(100, 0)]


def test_the_bill_that_earned_points_is_returned_after_they_were_spent() -> None:
    of = february(EARNED, (3, redeemed(100)), (5, returned(100, "1")))

    assert (of.available, of.lifetime, of.classes["redeemed"], of.classes["reversed"]) == (-100, 0, 100, 100)
    assert lots(of, "redeemed", "returned") == [(0, 100)]


def test_the_bill_is_returned_after_its_points_expired() -> None:
    of = february(EARNED, (11, Expired(points=Decimal(100), **about())), (12, returned(100, "1")))

    assert (of.available, of.lifetime, of.classes["expired"], of.classes["reversed"]) == (0, 100, 0, 100)


def test_the_bill_is_returned_after_its_points_were_given_to_a_friend() -> None:
    of = february(EARNED, (5, sent(100)), (5, settled(100)), (7, returned(100, "1")))

    assert (of.available, of.lifetime, of.classes["sent"], of.classes["reversed"]) == (-100, 0, 100, 100)


# ---- Voucherify and Square: until when points are good --------------------------------------------------------------


@pytest.mark.parametrize(
    ("earned", "rule", "last"),
    [
        (date(2024, 1, 25), ExpiryRule("fixed", months=1), date(2024, 2, 25)),
        (date(2024, 1, 1), ExpiryRule("fixed"), date(2024, 1, 1)),  # zero months: until the end of the same day
        (date(2023, 1, 31), ExpiryRule("fixed", months=1), date(2023, 2, 28)),
        (date(2023, 1, 30), ExpiryRule("fixed", months=1), date(2023, 2, 28)),
        (date(2024, 2, 10), ExpiryRule("fixed", months=1, until="half"), date(2024, 6, 30)),
        (date(2024, 6, 10), ExpiryRule("fixed", months=1, until="half"), date(2024, 12, 31)),
        (date(2020, 7, 6), ExpiryRule("fixed", months=12, until="month"), date(2021, 7, 31)),  # Square
    ],
)
def test_points_are_good_until_the_published_day(earned: date, rule: ExpiryRule, last: date) -> None:
    assert period_end(earned, rule) == last


def test_the_period_of_pending_points_begins_when_they_become_active() -> None:
    terms = ProgrammeTermsSet(
        programme="capillary:1:gold",
        version="1",
        effective_from=datetime(2024, 1, 1, tzinfo=UTC),
        time_zone="UTC",
        expiry=ExpiryRule("fixed", months=1),
    )
    pending = PromiseMade(promise="p", points=Decimal(10), converts_on=date(2024, 1, 20), **about())
    active = PromiseKept(promise="p", points=Decimal(10), **about())
    days = [datetime(2024, 1, day, 12, tzinfo=UTC) for day in (6, 20)]
    told = [
        RecordedFact(fact, Occurrence(at, b"%08d%08d" % (at.day, at.day), 0, at.day))
        for fact, at in zip((pending, active), days, strict=True)
    ]

    (of,) = fold(ACCOUNTS, told, None, Terms.of_facts([terms])).accounts.values()

    assert lots(of, "remaining", "expires_on") == [(10, date(2024, 2, 20))]


# ---- a ledger that begins in the middle of customers' lives ---------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        Redeemed(points=Decimal(750), redemption="r", **about(claims=2250)),
        issued(60, claims=2250),
        RedemptionReversed(points=Decimal(40), redemption="unheard", available=Decimal(40), **about(claims=2250)),
        IssueReversed(points=Decimal(10), bill="unheard", **about(claims=2250)),
        sent(10, claims=2250),
    ],
    ids=["redeemed", "issued", "redemption reversed", "issue reversed", "sent"],
)
def test_the_first_stated_balance_shows_an_opening_and_no_debt(first: Fact) -> None:
    of = account(first)

    assert (of.available, of.debt, of.drift) == (2250, 0, 0)
    assert of.classes["opening"] < 0
    assert of.classes.get("unseen", 0) == 0


def test_a_lapsed_opening_is_reported_by_the_vendor_alone() -> None:
    of = account(issued(60, claims=1060), Expired(points=Decimal(1000), **about(claims=60)))

    assert (of.available, of.drift, of.debt) == (60, 0, 0)
