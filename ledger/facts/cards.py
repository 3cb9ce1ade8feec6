"""Facts about loyalty cards: their status, and which further fields are filled in."""

from ledger.facts.fact import Fact


class CardUpdated(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A card's status or fields changed. Statuses are labels that the brand may choose; of the fields only the names
    are told, since their values are free text. `fields` is None where the source says nothing of them."""

    subject_kind = "card"

    card: str
    status: str | None = None
    previous_status: str | None = None
    fields: tuple[str, ...] | None = None

    @property
    def subject(self) -> str:
        return self.card


FACTS: tuple[type[Fact], ...] = (CardUpdated,)
