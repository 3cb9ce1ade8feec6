"""Statement lines of an account: their table, and the encoding of their postings."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import msgspec

from ledger.decimals import format_decimal
from ledger.facts.accounts import AccountFact
from projections.accounts.account import Posting
from projections.tables import Identifier, Position, Table


class Line(NamedTuple):
    """Statement lines: each change of an account, in order. A "Lapsed" line has no position: no event reports it."""

    account_id: Identifier
    line: int
    occurred_at: datetime
    kind: str
    points: Annotated[Decimal, "change of the available points"]
    balance: Decimal
    promised: Decimal
    claimed: Decimal | None
    drift: Decimal | None
    reference: str | None
    untied: Annotated[Decimal | None, "excess of a total stated by the vendor over its parts"]
    repeated: Annotated[bool, "repeats a report that was counted before; moves nothing"]
    report_excess: Annotated[Decimal | None, "excess of the repeated report over the counted one"]
    postings: str
    position: Position | None
    counted_position: Annotated[Position | None, "the position of the report that counts"]


STATEMENT = Table(
    "statement",
    Line,
    {
        "untied": "(ledger_id, account_id, line) WHERE untied IS NOT NULL",
        "report_excess": "(ledger_id, account_id, line) WHERE report_excess IS NOT NULL",
        "returns": "(ledger_id, reference, account_id, line) WHERE kind = 'IssueReversed'",
        "redemptions": "(ledger_id, reference, subject) WHERE kind = 'Redeemed' AND NOT repeated",
    },
    key=("account_id", "line"),
    unique_key=True,
    append_only=True,
)


def encode_postings(postings: list[Posting]) -> str:
    """Encode postings as a JSON list of [from, to, points, lot or null], with exact numbers as text."""
    texts = [(source, target, format_decimal(points), lot_id) for source, target, points, lot_id in postings]
    return _ENCODER.encode(texts).decode()


def decode_postings(postings: str) -> list[Posting]:
    """Decode the output of `encode_postings`."""
    decoded: list[Posting] = _DECODER.decode(postings)
    return decoded


def reference_of(fact: AccountFact | None) -> str | None:
    """Return the id that a fact refers to: a redemption, transfer, item, promise, adjustment or bill. None if there is
    none.
    """
    for name in ("redemption", "transfer", "item", "promise", "adjustment", "bill_number", "bill"):
        reference: str | None = getattr(fact, name, None)
        if reference is not None:
            return reference
    return None


_ENCODER = msgspec.json.Encoder()
_DECODER: Any = msgspec.json.Decoder(list[Posting])
