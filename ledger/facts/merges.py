"""Facts about merges: the accounts and tiers of one holder move to another holder.

Both holders get a fact about a merge. So each of them names the other, and a late fact about either holder is folded
correctly.
"""

from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact
from ledger.facts.tiers import MembershipFact, TierFact


class ProgrammeClaim(msgspec.Struct, frozen=True, omit_defaults=True):
    """The survivor's balances in one programme after the merge, as the vendor states them. None if not stated."""

    programme: str
    available: Decimal | None = None
    lifetime: Decimal | None = None
    promised: Decimal | None = None
    tier: str | None = None


class MergeFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about all accounts of a holder.

    Its rank is after every change of the same instant. A merge moves the result of these changes. It is before the
    claims.
    """

    subject_kind = "account"
    rank = 85

    holder: str

    @property
    def subject(self) -> str:
        return self.holder


class HolderMergedAway(MergeFact, frozen=True, kw_only=True, omit_defaults=True):
    """This holder is the victim of a merge: its accounts moved to the survivor."""

    survivor: str


class HolderMerged(MergeFact, frozen=True, kw_only=True, omit_defaults=True):
    """This holder is the survivor of a merge: the victim's accounts moved to it. `claims` are the vendor's balances
    after the merge.
    """

    victim: str
    claims: tuple[ProgrammeClaim, ...] = ()


class HolderUnmerged(MergeFact, frozen=True, kw_only=True, omit_defaults=True):
    """An operator undid a merge. The remaining points of this holder return to its own accounts."""

    rank = 86


class TierAfterMerge(TierFact, frozen=True, kw_only=True, omit_defaults=True):
    """The tier of the survivor after a merge. The vendor does not report whether the merge changed it."""

    rank = 40


class TierMergedAway(MembershipFact, frozen=True, kw_only=True, omit_defaults=True):
    """This customer is the victim of a merge, so the membership of the programme ended."""

    rank = 41

    survivor: str


class TierUnmerged(MembershipFact, frozen=True, kw_only=True, omit_defaults=True):
    """An operator undid a merge. The membership that ended with the merge continues."""

    rank = 42


FACTS: tuple[type[Fact], ...] = (
    HolderMergedAway,
    HolderMerged,
    HolderUnmerged,
    TierAfterMerge,
    TierMergedAway,
    TierUnmerged,
)
