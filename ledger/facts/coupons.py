"""Facts about coupons.

A coupon is named by the vendor's coupon id. If no id is reported, it is named by its code and series. For example, a
reward names only the code. A code is unique within its series, so an id and a code may name the same coupon;
`match_coupons` finds these pairs.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal

from ledger.facts.fact import Fact

NO_SERIES = "-"
NAMED_BY_CODE = ":code~"
CODE_CHARACTERS_MAX = 250  # a longer code does not fit into an index, so it gives no alias


class CouponFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one coupon. A field that is None leaves the earlier value unchanged.

    - `quantity`: the vendor's limit of redemptions. None if the vendor states no limit.
    - `redeemed_count`: the vendor's count of redemptions after this event.
    - `stated_at`: the time of the vendor's report. None if it is the time of the event.
    """

    subject_kind = "coupon"

    coupon: str  # source:org:id, or source:org:code~series~code
    code: str | None = None
    series: str | None = None
    customer: str | None = None
    valid_until: datetime | None = None
    valid_through: date | None = None  # the last day, if the vendor states a day without a time
    of_series: bool = False  # the end of the series was reported; the coupon may have another
    discount_type: str | None = None
    discount_value: Decimal | None = None
    discount_limit: Decimal | None = None  # the most money that a percentage takes off
    series_type: str | None = None
    series_valid_until: datetime | None = None  # the end of the series; a coupon may end before or after it
    series_valid_through: date | None = None
    description: str | None = None
    quantity: int | None = None
    unlimited: bool = False  # the vendor states that there is no limit
    redeemed_count: int | None = None
    balance: Decimal | None = None  # money left on a gift voucher, after this event
    stated_at: datetime | None = None

    @property
    def subject(self) -> str:
        return self.coupon

    @property
    def alias(self) -> str | None:
        """The code without its series, within the vendor's organisation. Facts with the same alias may be about the
        same coupon.
        """
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
    issual_type: str | None = None  # for example "SINGLE", "BULK"


class CouponRedeemed(CouponFact, frozen=True, kw_only=True, omit_defaults=True):
    rank = 20
    redemption: str
    redeemed_at: datetime | None = None
    bill: str | None = None
    amount: Decimal | None = None  # money taken from a gift voucher


class CouponRedemptionReversed(CouponFact, frozen=True, kw_only=True, omit_defaults=True):
    """A redemption was undone, so the coupon can be used again. For a gift voucher, `amount` may be only a part of the
    redemption.
    """

    rank = 30
    redemption: str
    reversal: str
    amount: Decimal | None = None  # money given back to a gift voucher; None: all of it


def is_named_by_code(subject: str) -> bool:
    """Return True if a coupon is named by its code, because no id was reported."""
    return NAMED_BY_CODE in subject


def code_ref(code: str, series: str | None) -> str:
    """Return the name of a coupon from its code and series. The caller adds source and organisation."""
    return f"code~{series or NO_SERIES}~{code}"


def match_coupons(facts: Iterable[CouponFact]) -> Iterator[tuple[str, str]]:
    """Yield pairs of names that mean the same coupon. All facts must have the same alias.

    A name by code is matched in this order:

    1. If ids were reported: the id with the same code and the same series. Without a series, every id with the code
       matches.
    2. If several ids match: the only one with the same customer. If no id or several ids remain, the names stay
       separate.
    3. If no id was reported: a name without a series matches the only name with one.

    Two ids never match.
    """
    series: dict[str, set[str]] = defaultdict(set)
    customers: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        series[fact.subject] |= {fact.series} if fact.series else set()
        customers[fact.subject] |= {fact.customer} if fact.customer else set()
    ids = [name for name in series if not is_named_by_code(name)]
    for name in filter(is_named_by_code, series):
        if not ids:
            with_series = [other for other in series if series[other]]
            if not series[name] and len(with_series) == 1:
                yield name, with_series[0]
            continue
        matches = [other for other in ids if not series[name] or not series[other] or series[name] & series[other]]
        if len(matches) > 1:
            matches = [other for other in matches if customers[name] & customers[other]]
        if len(matches) == 1:
            yield name, matches[0]


FACTS: tuple[type[Fact], ...] = (
    CouponIssued,
    CouponRedeemed,
    CouponRedemptionReversed,
)
