"""Statement lines of an account: their table, and the encoding of their postings."""

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from ledger.decimals import normalize
from ledger.facts.accounts import AccountFact
from projections.accounts.account import Posting
from projections.definition import Table


class Line(NamedTuple):
    """One statement line. A "Lapsed" line has no position, because no event reports a lapse."""

    account_id: str
    line: int
    occurred_at: datetime
    kind: str
    points: Decimal  # change of the available points
    balance: Decimal
    promised: Decimal
    claimed: Decimal | None
    drift: Decimal | None
    reference: str | None
    untied: Decimal | None  # excess of a total stated by the vendor over its parts
    again: bool  # repeats a report that was counted before; moves nothing
    differs: Decimal | None  # excess of the repeated report over the counted one
    postings: str
    position: int | None
    counted_position: int | None  # of the counted report


STATEMENT = Table(
    name="statement",
    create="""
        CREATE TABLE statement (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            account_id text COLLATE "C" NOT NULL, line int NOT NULL, occurred_at timestamptz NOT NULL,
            kind text NOT NULL, points numeric NOT NULL, balance numeric NOT NULL, promised numeric NOT NULL,
            claimed numeric, drift numeric, reference text, untied numeric, again boolean NOT NULL,
            differs numeric, postings text NOT NULL, position bigint, counted_position bigint)
        """,
    index=(
        "ALTER TABLE statement ADD PRIMARY KEY (ledger_id, account_id, line)",
        "CREATE INDEX statement_subject ON statement (ledger_id, subject)",
        "CREATE INDEX statement_untied ON statement (ledger_id, account_id, line) WHERE untied IS NOT NULL",
        "CREATE INDEX statement_differs ON statement (ledger_id, account_id, line) WHERE differs IS NOT NULL",
    ),
    columns=Line._fields,
    key=("account_id", "line"),
    append_only=True,
)


def encode_postings(postings: list[Posting]) -> str:
    """Encode postings as a JSON list of [from, to, points, lot or null], with normalized numbers."""
    return _ENCODER.encode([posting._replace(points=normalize(posting.points)) for posting in postings]).decode()


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
