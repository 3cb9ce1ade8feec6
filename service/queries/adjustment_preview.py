"""Dry run of an adjustment: the account as it would be. The event is built, read and folded, but not appended."""

from datetime import date
from decimal import Decimal

from ledger import clock
from ledger.errors import NothingToAdopt
from ledger.intake.interpret import interpret
from ledger.privacy.vault import Vault
from projections.definition import fact_key
from service.operations.adjust import Author, adjustment_body
from service.operations.record import build_event
from service.queries.accounts import AccountView, fold_account_with_facts, fold_holder
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext


async def preview_adjustment(
    query: QueryContext, vault: Vault, account_id: str, points: Decimal | None, author: Author, expires_on: date | None
) -> tuple[AccountView, AccountView]:
    """Return the account before and after an adjustment. `points` None adopts the vendor's claim.

    Raises SubjectUnknown, RequestInvalid, or NothingToAdopt.
    """
    author.check()
    known, before = await fold_account_with_facts(query, account_id, AsOfQuery(clock.now(), None, False))
    if points is None and not before.row["drift"] and not before.row["missing"]:
        raise NothingToAdopt(account_id)
    body = adjustment_body(before.row, points, author, expires_on)
    delivery = build_event(vault, query.ledger, "adjustmentMade", **body)
    now = clock.now()
    added = [recorded for event in delivery.as_stored(now) for recorded in interpret(event).facts]
    facts = sorted([*known.facts, *added], key=fact_key)
    return before, fold_holder(known._replace(facts=facts), now)[before.row["account_id"]]
