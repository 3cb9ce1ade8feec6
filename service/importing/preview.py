"""Preview of an import (`--dry-run`): deliveries are identified and looked up, and nothing is stored.

The outcomes are the same as of an append, with one exception. If two events differ in personal values only, the append
finds a conflict, the preview a duplicate. To distinguish them, persons' keys would be needed, and would have to be
stored.
"""

from collections.abc import Callable, Iterator

from ledger.database import Connection
from ledger.events import Delivery
from ledger.privacy.vault import Vault
from ledger.store.registry import InboundConnection
from service.importing.deliveries import ImportSummary, identify_blocks, repair_lines
from service.importing.split import DeliveryLine

EVENTS_REMEMBERED_MAX = 2_000_000  # to find duplicates within the file; about 200 bytes each

KNOWN = """
    SELECT k.n, e.content FROM unnest($2::bytea[]) WITH ORDINALITY AS k (event_key, n)
      JOIN ledger.events e ON e.ledger_id = $1
           AND e.event_key BETWEEN k.event_key AND k.event_key || decode(repeat('ff', 16), 'hex')
"""  # an event in conflict has its key with the variant appended


async def preview_import(
    connection: Connection,
    vault: Vault,
    inbound: InboundConnection,
    lines: Iterator[DeliveryLine],
    report_summary: Callable[[ImportSummary], None],
    *,
    repair: bool = False,
    quarantine: bool = False,
) -> ImportSummary:
    """Count the new events, and the duplicates of stored events or of earlier events in the file."""
    summary = ImportSummary()
    source_lines = repair_lines(lines, summary) if repair else lines
    seen: dict[bytes, set[bytes]] = {}
    for block in identify_blocks(inbound.origin(vault), source_lines, summary, quarantine=quarantine):
        await _count(connection, inbound.ledger.ledger_id, block, seen, summary)
        report_summary(summary)
    return summary


async def _count(
    connection: Connection, ledger_id: int, block: list[Delivery], seen: dict[bytes, set[bytes]], summary: ImportSummary
) -> None:
    """Add the expected outcomes of a block to the summary, and remember its events."""
    events = [event for delivery in block for event in delivery.events]
    rows = await connection.fetch(KNOWN, ledger_id, [event.event_key for event in events])
    stored: dict[int, set[bytes]] = {}
    for row in rows:
        stored.setdefault(row["n"], set()).add(row["content"])
    summary.lines += len(block)
    for number, event in enumerate(events, 1):
        known = stored.get(number, set()) | seen.get(event.event_key, set())
        if event.content in known:
            summary.duplicates += 1
        elif known:
            summary.conflicts += 1
        else:
            summary.appended += 1
        if event.event_key in seen or len(seen) < EVENTS_REMEMBERED_MAX:
            seen.setdefault(event.event_key, set()).add(event.content)
