"""The lines of an account's statement: their table, and how postings are written in them."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import msgspec

from ledger.decimals import normalize
from ledger.facts.accounts import AccountFact
from projections.accounts.lots import Posting
from projections.definition import Table


class Line(NamedTuple):
    """One line of a statement. A "Lapsed" line has no position: no event told of it, the day was over."""

    account_id: str
    line: int
    occurred_at: datetime
    kind: str
    points: Decimal  # the change of what is available
    balance: Decimal
    promised: Decimal
    claimed: Decimal | None
    drift: Decimal | None
    reference: str | None
    untied: Decimal | None  # by how much a sum of the vendor's exceeds its parts
    again: bool  # another report of a change that had been counted: this line moves nothing
    differs: Decimal | None  # by how much that report exceeds the one that was counted
    postings: str
    position: int | None
    counted_position: int | None  # of the report that was counted


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
    grows=True,
)


def encode_postings(postings: list[Posting]) -> str:
    """Write postings as a JSON list of [from, to, points, lot or null], each number in its one spelling."""
    return _ENCODER.encode([one._replace(points=normalize(one.points)) for one in postings]).decode()


def reference_of(fact: AccountFact | None) -> str | None:
    """Name what the fact is about: a redemption, a transfer or a bill."""
    for name in ("redemption", "transfer", "item", "promise", "adjustment", "bill_number", "bill"):
        reference: str | None = getattr(fact, name, None)
        if reference is not None:
            return reference
    return None


_ENCODER = msgspec.json.Encoder()
