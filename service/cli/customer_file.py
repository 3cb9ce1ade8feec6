"""loyalty access-file: everything about one person, with personal values, for a request of access."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.privacy.access_log import record_access
from ledger.privacy.vault import Vault
from ledger.store import registry
from ledger.vendors.personal_values import refuse_personal_value
from projections.engine import generations
from projections.engine.worker import catch_up
from service.cli.terminal.console import DataOption, JsonOption, LedgerOption, show_json, show_result
from service.cli.terminal.operators import OPERATOR, called_by
from service.environment import Environment, run_with_connection
from service.formatting import encode_json
from service.operations.erase import is_known
from service.queries.context import QueryContext
from service.queries.references import expand_reference, require_single
from service.queries.subject_access import read_subject_access

REASON_CHARACTERS_MAX = 500
FILE_MODE = 0o600


def write_access_file(
    ledger: LedgerOption,
    customer: Annotated[
        str, typer.Option(help="The customer's id, in full or the vendor's part alone.", show_default=False)
    ],
    reason: Annotated[
        str, typer.Option(help="Why; it is stored in plain text, so name a ticket and no person.", show_default=False)
    ],
    output: Annotated[Path | None, typer.Option(help="The file. Default: standard output.", dir_okay=False)] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all rows and deliveries about one person as JSON, with the person's own values decrypted.

    The look is recorded in the access log first. Merged customers are one person. Values of other persons stay hidden.
    """
    if not 0 < len(reason.strip()) <= REASON_CHARACTERS_MAX:
        raise RequestInvalid(f"--reason must have 1 to {REASON_CHARACTERS_MAX} characters")
    refuse_personal_value("--reason", reason)

    async def work(environment: Environment, connection: Connection) -> dict[str, Any]:
        found = await registry.find_ledger(connection, ledger)
        await generations.ensure_active_generation(connection)
        await catch_up(connection, found.ledger_id)
        vault = Vault(environment.master_key)
        query = QueryContext(connection, found, "operator", vault.body_hash_key(found.ledger_id))
        refs = await expand_reference(query, customer)
        name = require_single([ref for ref in refs if await is_known(connection, found, ref)], customer)
        stated = f"{reason.strip()} {called_by()}"
        await record_access(connection, found.ledger_id, OPERATOR, f"access file of {name}", stated)
        return await read_subject_access(query, vault, name)

    document = run_with_connection(data, work)
    if output is None:
        show_json(document)
        return
    output.touch(mode=FILE_MODE)
    output.write_bytes(encode_json(document))
    summary = {"customers": document["customers"], "events": len(document["events"]), "output": str(output)}
    done = f"Wrote {summary['events']:,} events about {', '.join(document['customers'])} to {output}."
    show_result(summary, done, as_json=as_json)
