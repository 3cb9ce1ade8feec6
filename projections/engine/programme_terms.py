"""Read the terms of programmes for a fold, and find the accounts that a change of terms concerns."""

from collections.abc import AsyncIterator, Iterable, Sequence

from ledger.database import Connection
from ledger.facts import RecordedFact
from ledger.facts.fact import unquote_id
from ledger.facts.terms import ProgrammeTermsSet
from projections.definition import Projection
from projections.engine.store import decode_fact
from projections.programme_terms import NO_TERMS, Terms

ACCOUNTS_PER_READ = 2_000

# Reads facts, not rows: facts exist before anything is folded, live and in a rebuild.
READ_TERMS = """
    SELECT kind, body FROM facts WHERE ledger_id = $1 AND subject_kind = 'programme' AND position <= $2
     ORDER BY subject, occurred_at, rank, tag, ordinal
"""
GOVERNED_ACCOUNTS = """
    SELECT account_id, subject FROM accounts
     WHERE ledger_id = $1 AND programme = $2 AND account_id > $3 AND account_id < $4 ORDER BY account_id LIMIT $5
"""
EVERY_POSITION = 2**62


async def read_terms(
    connection: Connection, ledger_id: int, position: int = EVERY_POSITION, *, added: Iterable[RecordedFact] = ()
) -> Terms:
    """Read the terms of a ledger's programmes, as recorded up to a position. `added` are facts that come after them."""
    rows = await connection.fetch(READ_TERMS, ledger_id, position)
    facts = [decode_fact(row["kind"], row["body"]) for row in rows] + [recorded.fact for recorded in added]
    terms = [fact for fact in facts if isinstance(fact, ProgrammeTermsSet)]
    return Terms.of_facts(terms) if terms else NO_TERMS


async def load_terms(
    connection: Connection, ledger_id: int, projection: Projection, position: int | None = None
) -> Terms:
    """Read the terms that a projection attaches to its states, as recorded up to a position. None means all."""
    if projection.attach_terms is None:
        return NO_TERMS
    return await read_terms(connection, ledger_id, EVERY_POSITION if position is None else position)


async def governed_holders(
    connection: Connection, ledger_id: int, facts: Iterable[RecordedFact]
) -> AsyncIterator[Sequence[str]]:
    """Yield the subjects that have accounts in programmes whose terms some facts set, ACCOUNTS_PER_READ at a time."""
    for programme in sorted({fact.subject for fact, _ in facts if isinstance(fact, ProgrammeTermsSet)}):
        source, org, name = programme.split(":", 2)
        last, beyond = f"{source}:{org}:", f"{source}:{org};"
        while True:
            rows = await connection.fetch(
                GOVERNED_ACCOUNTS, ledger_id, unquote_id(name), last, beyond, ACCOUNTS_PER_READ
            )
            if not rows:
                break
            last = rows[-1]["account_id"]
            yield sorted({row["subject"] for row in rows})
