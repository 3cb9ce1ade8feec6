"""Copy the configuration of a ledger into another installation: connections, API keys and published logs.

Their ids and secrets stay the same, so vendors and callers change nothing. Secrets are encrypted again, and each row
gets the MAC of the other master key.
"""

from ledger.database import Connection
from ledger.privacy.encryption import MasterKey
from ledger.store.registry import Ledger
from ledger.store.row_macs import MAC_COLUMNS, mac_of, secret_context

LABELLED = ("api_keys", "connections")
COPIED_TABLES = (*LABELLED, "public_logs")


async def copy_configuration(
    source: Connection, target: Connection, ledger: Ledger, copy: Ledger, source_key: MasterKey, target_key: MasterKey
) -> int:
    """Copy the rows of `ledger` to its copy, unless they are there. Return their number. Raises MasterKeyWrong."""
    count = 0
    for table in COPIED_TABLES:
        columns = [*MAC_COLUMNS[table], *(["label"] if table in LABELLED else [])]
        names, values = ", ".join(columns), ", ".join(f"${number}" for number in range(1, len(columns) + 2))
        rows = await source.fetch(f"SELECT {names} FROM ledger.{table} WHERE ledger_id = $1", ledger.ledger_id)  # noqa: S608
        for stored in rows:
            row = {**stored, "ledger_id": copy.ledger_id}
            if table == "connections":
                before, after = (secret_context(one.ledger_id, row["connection_id"]) for one in (ledger, copy))
                row["secrets"] = [
                    target_key.encrypt(source_key.decrypt(secret, before), after) for secret in row["secrets"]
                ]
            await target.execute(
                f"INSERT INTO ledger.{table} ({names}, mac) VALUES ({values}) ON CONFLICT DO NOTHING",  # noqa: S608
                *row.values(),
                mac_of(target_key, table, row),
            )
            count += 1
    return count
