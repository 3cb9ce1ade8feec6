"""Facts about accounts, where points are held. An account is (source, org, holder, programme, unit)."""

from datetime import date, datetime
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact, quote_id


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """The account's balances after the event, as the vendor states them. A field is None if the vendor does not state
    it.
    """

    available: Decimal | None = None
    lifetime: Decimal | None = None
    promised: Decimal | None = None


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """Points that lapse together, at the end of the day `expires_on`. It is None if the vendor names no day."""

    points: Decimal
    expires_on: date | None = None
    origin: str = "regular"
    promotion: str | None = None


class PromotionShare(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of an amount that one promotion granted. `promotion` is None if the vendor does not name it."""

    points: Decimal
    promotion: str | None = None


class Bucket(msgspec.Struct, frozen=True, omit_defaults=True):
    """Points that lapsed at the end of one day. `expires_on` is None if the vendor does not name the day."""

    points: Decimal
    expires_on: date | None = None


class Promise(msgspec.Struct, frozen=True, omit_defaults=True):
    """Promised points. They become spendable on the day `converts_on`, or on a trigger of the vendor (`external`)."""

    points: Decimal
    converts_on: date | None = None
    external: bool = False
    promotion: str | None = None


class EarningActivity(msgspec.Struct, frozen=True, omit_defaults=True):
    """The activity for which converted points were promised. `points` is the vendor's figure; it is never added up."""

    name: str | None = None
    bill_number: str | None = None
    event_log: str | None = None
    entered_at: datetime | None = None
    points: Decimal | None = None


def account_id_of(holder: str, programme: str, unit: str) -> str:
    """Return the id of an account."""
    return f"{holder}:{quote_id(programme)}:{quote_id(unit)}"


def holder_of(account_id: str) -> str:
    """Return the holder of an account from the account's id. Programme and unit are quoted, so the last two colons
    separate them.
    """
    return account_id.rsplit(":", 2)[0]


SHARES = ("grants", "promises", "promotions", "promotions_total", "buckets")
AMOUNTS = ("points", "promised", "available", "expired", "points_total", "promised_total")


NO_PROGRAMME = "-"  # of a reversal without a programme: the reversed redemption has it


class AccountFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one account of a holder.

    The subject is the holder, not the account. Three facts concern several accounts of a holder: a redemption across
    programmes, a reversal without a programme, and a merge. They are folded correctly only if all accounts of the
    holder are folded together.
    """

    subject_kind = "account"

    holder: str
    programme: str
    unit: str = "points"
    customer: str | None = None  # None: the holder is the customer
    claim: Claim | None = None
    ratio: Decimal | None = None  # worth of one point in the programme's currency at that time, as the vendor states it
    unit_name: str | None = None  # the vendor's name of an alternate currency
    card_code: str | None = None  # the code of the loyalty card that is the holder
    acted_by: str | None = None  # the customer who acted, if that is not the owner of the card
    untied: Decimal | None = None  # a total stated by the vendor minus the sum of its parts; None if equal
    # The business key. It names the change in the real world, so the change counts once even if several events report
    # it. `also` holds other names, which a report of the same change may have if it lacks `change`.
    change: str | None = None
    also: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        return self.holder

    @property
    def account_id(self) -> str:
        return account_id_of(self.holder, self.programme, self.unit)

    def check(self) -> None:
        """Raise ValueError if an amount of points is negative. The kind of a fact gives the direction of points, so no
        vendor can mean a negative amount.
        """
        amounts = [getattr(self, name, None) for name in AMOUNTS]
        amounts += [lot.points for name in SHARES for lot in getattr(self, name, None) or ()]
        if any(amount is not None and amount < 0 for amount in amounts):
            raise ValueError("a negative number of points")


class Issued(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points were credited in lots. The event may promise further points."""

    rank = 10
    grants: tuple[Grant, ...] = ()
    promises: tuple[Promise, ...] = ()
    bill: str | None = None
    bill_number: str | None = None
    activity: str | None = None


class PromisedConverted(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Promised points became spendable."""

    rank = 20
    grants: tuple[Grant, ...]
    bill_number: str | None = None
    activities: tuple[EarningActivity, ...] = ()
    trigger: str | None = None  # for example "systemTrigger", "externalTrigger"


class TransferReceived(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points from another account arrived in this account, as a new lot."""

    rank = 30
    points: Decimal
    transfer: str
    sender: str | None = None


class TransferSettled(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points that this account sent have arrived in the other account."""

    rank = 31
    points: Decimal
    transfer: str


class Redeemed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points were spent."""

    rank = 40
    points: Decimal
    redemption: str
    request: str | None = None  # the vendor's id of the request; a reward may have the same
    bill_number: str | None = None
    value: Decimal | None = None  # in the programme's currency
    value_of_all: Decimal | None = None  # of all programmes of the redemption, if the vendor states only the sum
    by_group: bool = msgspec.field(default=False, name="of_group")  # a group of customers redeemed the points together
    has_notes: bool = False  # the notes are personal; only the event holds them, encrypted


class TransferSent(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points were sent to another account."""

    rank = 41
    points: Decimal
    transfer: str
    receiver: str | None = None


class RedemptionReversed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Spent points were given back.

    `available` and `expired` are the vendor's split of these points, None if the vendor gives none. `programme` is
    NO_PROGRAMME if the vendor names none.
    """

    rank = 60
    points: Decimal
    redemption: str
    available: Decimal | None = None
    expired: Decimal | None = None


class IssueReversed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Credited points were taken back, because the bill that earned them was returned.

    - `points`: points that this event takes back, without promised points. None if the vendor states only the total.
    - `points_total`: all points taken back for the bill so far.
    - `promotions`, `promotions_total`: the parts of these points that promotions granted; the rest are regular points.
      None if the vendor does not state the parts.
    """

    rank = 61
    points: Decimal | None = None
    promised: Decimal | None = None
    points_total: Decimal | None = None
    promised_total: Decimal | None = None
    promotions: tuple[PromotionShare, ...] | None = None
    promotions_total: tuple[PromotionShare, ...] | None = None
    bill: str | None = None
    bill_number: str | None = None


class ExpiryMoved(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """The expiry day of some points changed."""

    rank = 70
    points: Decimal
    old: date | None = None
    new: date | None = None
    origin: str = "regular"
    promotion: str | None = None


class Expired(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """The vendor reports points as expired. `buckets` lists their days, if the vendor states them. The vendor never
    names the lots.
    """

    rank = 80
    points: Decimal
    buckets: tuple[Bucket, ...] = ()


class ExpiryClaimed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """The vendor states how many points will lapse on a day. The fact changes nothing; it is compared with the lots."""

    rank = 90
    points: Decimal
    expires_on: date | None = None


FACTS: tuple[type[Fact], ...] = (
    Issued,
    PromisedConverted,
    TransferReceived,
    TransferSettled,
    Redeemed,
    TransferSent,
    RedemptionReversed,
    IssueReversed,
    ExpiryMoved,
    Expired,
    ExpiryClaimed,
)
