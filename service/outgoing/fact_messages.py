"""Messages about facts: recorded, taken back, and in effect again. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ledger.facts import RecordedFact, kind_of
from projections.engine.store import decode_fact
from service.formatting import encode_json
from service.outgoing.message_types import FACT_RECORDED, FACT_RETRACTED
from service.outgoing.messages import FACTS, RESTORATIONS, RETRACTIONS, FeedCursor, Message, sequence_of
from service.queries.explain_steps import fact_json


class FeedFact(NamedTuple):
    """A stored fact, as far as a message shows it."""

    position: int
    ordinal: int
    subject_kind: str
    subject: str
    kind: str
    occurred_at: datetime
    untimed: bool
    fields: Mapping[str, Any]

    def data(self, **more: Any) -> bytes:
        """Return the data of a message, with further fields."""
        document = {
            "position": self.position,
            "ordinal": self.ordinal,
            "fact": self.kind,
            "subject_kind": self.subject_kind,
            "subject": self.subject,
            "occurred_at": self.occurred_at,
            "untimed": self.untimed,
            "fields": self.fields,
            **more,
        }
        return encode_json(document).strip()

    @property
    def path(self) -> str:
        """The subject of a message."""
        return f"{self.subject_kind}/{self.subject}"


def fact_of_row(row: Any) -> FeedFact:
    """Build a fact from a row of the tables `facts` or `withdrawn`."""
    fields = fact_json(decode_fact(row["kind"], row["body"], row["subject"]))
    return FeedFact(
        row["position"],
        row["ordinal"],
        row["subject_kind"],
        row["subject"],
        row["kind"],
        row["occurred_at"],
        row["untimed"],
        fields,
    )


def fact_of_recorded(recorded: RecordedFact) -> FeedFact:
    """Build a fact from one that was interpreted again."""
    fact, (occurred_at, _, ordinal, position, untimed) = recorded
    return FeedFact(
        position, ordinal, fact.subject_kind, fact.subject, kind_of(fact), occurred_at, untimed, fact_json(fact)
    )


def recorded_message(fact: FeedFact) -> Message:
    """Return the message that an event means a fact."""
    return Message(
        FeedCursor(fact.position),
        f"{fact.position}/{fact.ordinal}",
        FACT_RECORDED,
        fact.path,
        fact.occurred_at,
        sequence_of(fact.position, FACTS, fact.ordinal),
        fact.data(),
    )


def retracted_messages(facts: Iterable[FeedFact], position: int, at: datetime) -> list[Message]:
    """Return the messages that the event at `position`, recorded at `at`, takes facts back."""
    return _messages_of_earlier(facts, position, at, FACT_RETRACTED, RETRACTIONS, retracted_by=position)


def restored_messages(facts: Iterable[FeedFact], position: int, at: datetime) -> list[Message]:
    """Return the messages that the policy set at `position` lets facts of earlier events count."""
    return _messages_of_earlier(facts, position, at, FACT_RECORDED, RESTORATIONS, restored_by=position)


def _messages_of_earlier(
    facts: Iterable[FeedFact], position: int, at: datetime, kind: str, series: int, **added: int
) -> list[Message]:
    """Return messages of the event at `position` about facts of earlier events, in the order of these."""
    return [
        Message(
            FeedCursor(position),
            f"{position}/{kind}/{fact.position}/{fact.ordinal}",
            kind,
            fact.path,
            at,
            sequence_of(position, series, number),
            fact.data(**added),
        )
        for number, fact in enumerate(sorted(facts, key=lambda fact: fact[:2]), 1)
    ]
