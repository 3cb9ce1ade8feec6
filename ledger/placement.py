"""Where each table stands in a database of many servers. In a database of one server this changes nothing.

- Distributed tables have their rows on the server that holds the ledger. Their keys begin with the ledger.
- Reference tables are small, and asked by an id that names no ledger. Each server has a copy.
- Local tables stand on the server that clients connect to.

The tables of a generation are distributed when they are created, except LOCAL_TABLES_OF_GENERATION.
"""

DISTRIBUTED_TABLES = (
    "ledger.access",
    "ledger.checkpoints",
    "ledger.cosignatures",
    "ledger.erasures",
    "ledger.events",
    "ledger.idempotent_answers",
    "ledger.log_keys",
    "ledger.logs",
    "ledger.personal",
    "ledger.personal_index",
    "ledger.personal_keys",
    "ledger.seal_problems",
    "ledger.tiles",
    "outgoing.attempts",
    "outgoing.cursors",
    "outgoing.notices",
)
REFERENCE_TABLES = (
    "ledger.api_keys",
    "ledger.connections",
    "ledger.ledgers",
    "ledger.public_logs",
    "ledger.report_roles",
    "outgoing.endpoints",
)
LOCAL_TABLES = ("projections.generations", "public.alembic_version")
LOCAL_TABLES_OF_GENERATION = ("filled_by", "parts", "refused")
