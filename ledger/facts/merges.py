"""Facts about merges: one holder's accounts and tiers go over to another's.

A merge is told of both holders, each as a fact about its own account: so whichever is asked knows of the other, and a
late fact about either of them comes out right.
"""

from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact
from ledger.facts.tiers import MembershipFact, TierFact


class ProgrammeClaim(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the vendor says the survivor holds in one programme after the merge; None where it says nothing."""

    programme: str
    available: Decimal | None = None
    lifetime: Decimal | None = None
    promised: Decimal | None = None
    tier: str | None = None


class MergeFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about all accounts of a holder. It comes after every change of the same instant, since a merge moves what
    is there, and before the claims."""

    subject_kind = "account"
    rank = 85

    holder: str

    @property
    def subject(self) -> str:
        return self.holder


class HolderMergedAway(MergeFact, frozen=True, kw_only=True, omit_defaults=True):
    """This holder's accounts went over to the survivor; it is the victim of the merge."""

    survivor: str


class HolderMerged(MergeFact, frozen=True, kw_only=True, omit_defaults=True):
    """This holder took over the victim's accounts, and now holds what the vendor claims, programme by programme."""

    victim: str
    claims: tuple[ProgrammeClaim, ...] = ()


class HolderUnmerged(MergeFact, frozen=True, kw_only=True, omit_defaults=True):
    """We undid a merge: what is left of this holder's goes back to its own accounts."""

    rank = 86


class TierAfterMerge(TierFact, frozen=True, kw_only=True, omit_defaults=True):
    """After a merge the survivor is in this tier, entered by the merge or kept: the vendor does not say which."""

    rank = 40


class TierMergedAway(MembershipFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer became the survivor of a merge: their own membership of the programme ended with it."""

    rank = 41

    survivor: str


class TierUnmerged(MembershipFact, frozen=True, kw_only=True, omit_defaults=True):
    """We undid a merge: the membership that ended with it goes on."""

    rank = 42


FACTS: tuple[type[Fact], ...] = (
    HolderMergedAway,
    HolderMerged,
    HolderUnmerged,
    TierAfterMerge,
    TierMergedAway,
    TierUnmerged,
)
