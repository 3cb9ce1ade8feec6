"""Facts about partner memberships: a customer of one programme belongs to a partner's programme too."""

from datetime import date

from ledger.facts.fact import Fact


class PartnerMembershipFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one customer's membership of one partner programme, within one programme of ours."""

    subject_kind = "partner_membership"

    customer: str
    programme: str
    partner_programme: str
    partner_name: str | None = None
    partner_type: str | None = None  # such as "SUPPLEMENTARY", "EXTERNAL"

    @property
    def subject(self) -> str:
        return f"{self.customer}:{self.programme}:{self.partner_programme}"


class PartnerMembershipDetailed(PartnerMembershipFact, frozen=True, kw_only=True, omit_defaults=True):
    """What the source says of the membership; None where it says nothing.

    The number of the membership is personal: only that there is one is told. Days are the last day it holds.
    """

    until: date | None = None
    tier: str | None = None
    tier_until: date | None = None
    has_number: bool = False


class PartnerLinked(PartnerMembershipDetailed, frozen=True, kw_only=True, omit_defaults=True):
    """The customer became a member of the partner programme."""

    rank = 10


class PartnerUpdated(PartnerMembershipDetailed, frozen=True, kw_only=True, omit_defaults=True):
    """The membership changed; `update_type` is the source's word for how, such as "UPGRADE"."""

    rank = 20
    update_type: str | None = None


class PartnerDelinked(PartnerMembershipFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer's membership of the partner programme ended."""

    rank = 30


class PartnerExpiryClaimed(PartnerMembershipFact, frozen=True, kw_only=True, omit_defaults=True):
    """The source says on which day the membership will end. Changes nothing."""

    rank = 90
    expires_on: date | None = None


FACTS: tuple[type[Fact], ...] = (
    PartnerLinked,
    PartnerUpdated,
    PartnerDelinked,
    PartnerExpiryClaimed,
)
