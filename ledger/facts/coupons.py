"""Facts about coupons.

A coupon is named by the vendor's coupon id, or by its code within its series where no id is told: a reward names only
the code. A code is unique within its series, so both names may mean one coupon; `one_coupon` says when they do.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal

from ledger.facts.fact import Fact

NO_SERIES = "-"
NAMED_BY_CODE = ":code~"
CODE_CHARACTERS_MAX = 250  # a longer code is no name: it would not fit into an index


class CouponFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one coupon. What a fact leaves out stays as it was.

    `quantity` and `redeemed_count` are the vendor's: how often the coupon may be redeemed (None if the vendor does not
    say, or sets no limit), and how often it was, after this event.
    """

    subject_kind = "coupon"

    coupon: str  # source:org:id, or source:org:code~series~code
    code: str | None = None
    series: str | None = None
    customer: str | None = None
    valid_until: datetime | None = None
    valid_through: date | None = None  # where the vendor states a day without a time: its last day
    of_series: bool = False  # the end is that of the series: the coupon's own may be another
    discount_type: str | None = None
    discount_value: Decimal | None = None
    quantity: int | None = None
    unlimited: bool = False  # the vendor says that there is no limit
    redeemed_count: int | None = None
    balance: Decimal | None = None  # money left on a gift voucher, after this event

    @property
    def subject(self) -> str:
        return self.coupon

    @property
    def alias(self) -> str | None:
        """The code without its series, in the vendor's organisation. Facts that share it may be about one coupon."""
        code = "".join((self.code or "").split())
        if not code or len(code) > CODE_CHARACTERS_MAX:
            return None
        source, org, _ = self.coupon.split(":", 2)
        return f"{source}:{org}:{code}"

    @property
    def alias_only(self) -> bool:
        return is_named_by_code(self.coupon)


class CouponIssued(CouponFact, frozen=True, kw_only=True, omit_defaults=True):
    rank = 10
    issued_at: datetime | None = None
    description: str | None = None


class CouponRedeemed(CouponFact, frozen=True, kw_only=True, omit_defaults=True):
    rank = 20
    redemption: str
    redeemed_at: datetime | None = None
    bill: str | None = None
    amount: Decimal | None = None  # money taken from a gift voucher


class CouponRedemptionReversed(CouponFact, frozen=True, kw_only=True, omit_defaults=True):
    """A redemption was undone, so that the coupon may be used again; of a gift voucher perhaps only a part of it."""

    rank = 30
    redemption: str
    reversal: str
    amount: Decimal | None = None  # money given back to a gift voucher; None: all that the redemption took


def is_named_by_code(subject: str) -> bool:
    """Return True if a coupon is named by its code, because no id was told."""
    return NAMED_BY_CODE in subject


def code_ref(code: str, series: str | None) -> str:
    """Name a coupon by its code and series, to be made a ref of a source and organisation."""
    return f"code~{series or NO_SERIES}~{code}"


def match_coupons(facts: Iterable[CouponFact]) -> Iterator[tuple[str, str]]:
    """Yield pairs of names that mean one coupon, among facts that share an alias.

    A name by code means the coupon whose facts tell an id, the same code and the same series. If its series is not
    told, there must be only one such id. Of several ids the one with the same customer is meant; if none or several
    have it, the names stay apart. Two ids are never one coupon. Where no id is told, a name without a series means the
    only name with one.
    """
    series: dict[str, set[str]] = defaultdict(set)
    customers: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        series[fact.subject] |= {fact.series} if fact.series else set()
        customers[fact.subject] |= {fact.customer} if fact.customer else set()
    by_id = [name for name in series if not is_named_by_code(name)]
    for name in filter(is_named_by_code, series):
        if not by_id:
            with_series = [one for one in series if series[one]]
            if not series[name] and len(with_series) == 1:
                yield name, with_series[0]
            continue
        same = [one for one in by_id if not series[name] or not series[one] or series[name] & series[one]]
        if len(same) > 1:
            same = [one for one in same if customers[name] & customers[one]]
        if len(same) == 1:
            yield name, same[0]


FACTS: tuple[type[Fact], ...] = (
    CouponIssued,
    CouponRedeemed,
    CouponRedemptionReversed,
)
