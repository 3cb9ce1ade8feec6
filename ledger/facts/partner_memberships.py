"""Facts about partner memberships: a customer of one programme is also a member of a partner's programme."""

from datetime import date

from ledger.facts.fact import Fact


class PartnerMembershipFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one customer's membership of one partner programme, within one of our programmes."""

    subject_kind = "partner_membership"

    customer: str
    programme: str
    partner_programme: str
    partner_name: str | None = None
    partner_type: str | None = None  # for example "SUPPLEMENTARY", "EXTERNAL"

    @property
    def subject(self) -> str:
        return f"{self.customer}:{self.programme}:{self.partner_programme}"


class PartnerMembershipDetailed(PartnerMembershipFact, frozen=True, kw_only=True, omit_defaults=True):
    """A membership as the source reports it. A field is None if the source does not state it.

    The membership number is personal, so only its presence is kept (`has_number`). `until` and `tier_until` are the
    last days of validity.
    """

    until: date | None = None
    tier: str | None = None
    tier_until: date | None = None
    has_number: bool = False


class PartnerLinked(PartnerMembershipDetailed, frozen=True, kw_only=True, omit_defaults=True):
    """The customer became a member of the partner programme."""

    rank = 10


class PartnerUpdated(PartnerMembershipDetailed, frozen=True, kw_only=True, omit_defaults=True):
    """The membership changed. `update_type` is the source's word for the change, for example "UPGRADE"."""

    rank = 20
    update_type: str | None = None


class PartnerDelinked(PartnerMembershipFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer's membership of the partner programme ended."""

    rank = 30


class PartnerExpiryClaimed(PartnerMembershipFact, frozen=True, kw_only=True, omit_defaults=True):
    """The source states the day on which the membership will end. The fact changes nothing."""

    rank = 90
    expires_on: date | None = None


FACTS: tuple[type[Fact], ...] = (
    PartnerLinked,
    PartnerUpdated,
    PartnerDelinked,
    PartnerExpiryClaimed,
)
