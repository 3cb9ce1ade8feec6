"""Facts about accounts: where points live, known by (source, org, holder, programme, unit)."""

from datetime import date
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact, quote_id


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the vendor says the account holds after the event; None where it says nothing."""

    available: Decimal | None = None
    lifetime: Decimal | None = None
    promised: Decimal | None = None


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """Points that lapse together, at the end of the day `expires_on`; None when the vendor names no day."""

    points: Decimal
    expires_on: date | None = None
    origin: str = "regular"
    promotion: str | None = None


class PromotionShare(msgspec.Struct, frozen=True, omit_defaults=True):
    """Points that one promotion had given; None where the vendor does not name it."""

    points: Decimal
    promotion: str | None = None


class Bucket(msgspec.Struct, frozen=True, omit_defaults=True):
    """Points that lapsed at the end of one day; None where the vendor does not name it."""

    points: Decimal
    expires_on: date | None = None


class Promise(msgspec.Struct, frozen=True, omit_defaults=True):
    """Points to come: on the day `converts_on`, or on a trigger of the vendor's (`external`)."""

    points: Decimal
    converts_on: date | None = None
    external: bool = False
    promotion: str | None = None


def account_id_of(holder: str, programme: str, unit: str) -> str:
    """Name an account."""
    return f"{holder}:{quote_id(programme)}:{quote_id(unit)}"


def holder_of(account_id: str) -> str:
    """Return the holder that an account's id begins with: programme and unit are quoted, so two colons end it."""
    return account_id.rsplit(":", 2)[0]


SHARES = ("grants", "promises", "promotions", "promotions_total", "buckets")
AMOUNTS = ("points", "promised", "available", "expired", "points_total", "promised_total")


NO_PROGRAMME = "-"  # of a reversal that names none: the redemption it reverses says which


class AccountFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one account of a holder. The subject is the holder: a redemption across programmes, a reversal that
    names no programme and a merge concern all of a holder's accounts, and are right only when folded together.
    """

    subject_kind = "account"

    holder: str
    programme: str
    unit: str = "points"
    customer: str | None = None  # None: the holder is the customer
    claim: Claim | None = None
    untied: Decimal | None = None  # by how much a sum that the vendor states exceeds its parts, None if it does not
    # The business key: names the real-world change, so that it counts once however many events report it. `also` are
    # other names that a report of the same change may have when it lacks this one.
    change: str | None = None
    also: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        return self.holder

    @property
    def account_id(self) -> str:
        return account_id_of(self.holder, self.programme, self.unit)

    def check(self) -> None:
        """Refuse what no vendor can mean: the kind of a fact says which way points go, so none is below zero.

        Raises ValueError.
        """
        amounts = [getattr(self, name, None) for name in AMOUNTS]
        amounts += [lot.points for name in SHARES for lot in getattr(self, name, None) or ()]
        if any(amount is not None and amount < 0 for amount in amounts):
            raise ValueError("a negative number of points")


class Issued(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points were credited in lots, and further points promised."""

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


class TransferReceived(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points sent by another account arrived here, as a new lot."""

    rank = 30
    points: Decimal
    transfer: str
    sender: str | None = None


class TransferSettled(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points that this account sent have arrived at the other."""

    rank = 31
    points: Decimal
    transfer: str


class Redeemed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points were spent."""

    rank = 40
    points: Decimal
    redemption: str
    request: str | None = None  # the vendor's id of the request that spent them; a reward may carry the same
    bill_number: str | None = None
    value: Decimal | None = None  # in the programme's currency


class TransferSent(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points left for another account."""

    rank = 41
    points: Decimal
    transfer: str
    receiver: str | None = None


class RedemptionReversed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Spent points were given back. `available` and `expired` are the vendor's split, None when it gives none. The
    programme is NO_PROGRAMME where the vendor names none."""

    rank = 60
    points: Decimal
    redemption: str
    available: Decimal | None = None
    expired: Decimal | None = None


class IssueReversed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Credited points were taken back, by the return of the bill that had earned them.

    `points` is this event's share, promised points aside; None when the vendor gives only `points_total`, all that has
    been taken back for the bill so far. `promotions` and `promotions_total` say which of these points promotions had
    given; the rest are regular points. They are None where the vendor does not say.
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
    """Points that lapse on one day now lapse on another."""

    rank = 70
    points: Decimal
    old: date | None = None
    new: date | None = None
    origin: str = "regular"
    promotion: str | None = None


class Expired(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """The vendor reports points as lapsed. `buckets` say on which days, where the vendor does; lots are never named."""

    rank = 80
    points: Decimal
    buckets: tuple[Bucket, ...] = ()


class ExpiryClaimed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """The vendor says how many points will lapse on a day. Changes nothing; compared with the lots."""

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
