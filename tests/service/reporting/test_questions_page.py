"""Each question of the guide on reports gives the answer that the guide shows.

`LOYALTY_RECORD_REPORTS=1 scripts/test tests/service/reporting/test_questions_page.py` writes the answers again.
"""

import os
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from ledger.database import Connection
from ledger.decimals import format_decimal
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine.worker import catch_up
from service.reporting.reference import REFERENCE
from tests.service.finance.test_breakage import MONTHS, month_end, seconds
from tests.support.payloads import VAULT, delivery, issued, redeemed, samples

GUIDE = REFERENCE.with_name("reports.md")
QUESTION = re.compile(r"```sql\n(.*?)```\n\n```text\n(.*?)```\n", re.DOTALL)
QUESTIONS = 10


def history() -> Iterator[bytes]:
    """Yield ten vintages of two customers each. Some points are spent at once, more later, and the rest lapses."""
    for month in range(MONTHS):
        for customer, points in ((month, 100), (100 + month, 40)):
            yield issued(f"i{customer}", seconds(month, 15), customer, points, lapses=month_end(month + 3))
            for age in range(3):
                spent = (points // 10) * (age + 1) if customer % 3 else points // 20
                yield redeemed(f"r{customer}.{age}", seconds(month + age, 20), customer, spent)
    yield issued("c1", seconds(1, 2), 500, 60, programCurrentPoints=60)
    yield issued("c2", seconds(2, 2), 500, 10, programCurrentPoints=95)


def as_text(rows: Sequence[Any]) -> str:
    """Write rows as a table of aligned columns."""
    lines = [list(rows[0].keys()), *([show(value) for value in row] for row in rows)] if rows else [["no rows"]]
    widths = [max(len(line[number]) for line in lines) for number in range(len(lines[0]))]
    return "".join(
        " | ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )


def show(value: Any) -> str:
    return format_decimal(value) if isinstance(value, Decimal) else "" if value is None else str(value)


async def test_each_question_of_the_guide_has_the_answer_that_it_shows(connection: Connection, ledger: Ledger) -> None:
    bodies = [(body, "capillary") for body in (*samples("capillary"), *history())]
    bodies += [(body, "ascenda") for body in samples("ascenda")]
    await append(connection, VAULT, ledger.ledger_id, [delivery(body, source) for body, source in bodies])
    await catch_up(connection, ledger.ledger_id)
    guide = GUIDE.read_text()
    found = QUESTION.findall(guide)

    for query, shown in found:
        answer = as_text(await connection.fetch(query))
        guide = guide.replace(
            f"```sql\n{query}```\n\n```text\n{shown}```\n", f"```sql\n{query}```\n\n```text\n{answer}```\n"
        )

    assert len(found) == QUESTIONS
    if os.environ.get("LOYALTY_RECORD_REPORTS"):
        GUIDE.write_text(guide)
    assert GUIDE.read_text() == guide
