"""Facts about loyalty cards: their status and the names of their filled fields."""

from ledger.facts.fact import Fact


class CardUpdated(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The status or the fields of a card changed. Statuses are labels that the brand may choose.

    `fields` holds only the names of fields, because the values are free text. It is None if the source does not report
    fields.
    """

    subject_kind = "card"

    card: str
    status: str | None = None
    previous_status: str | None = None
    fields: tuple[str, ...] | None = None

    @property
    def subject(self) -> str:
        return self.card


FACTS: tuple[type[Fact], ...] = (CardUpdated,)
