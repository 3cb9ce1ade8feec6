"""The ids of all PostgreSQL advisory locks of this software. No two uses share a number.

A lock marked "with ..." uses the form of two integers, (id, number). The others use the form of one bigint. SQL
functions in migrations/versions/ repeat the numbers of the locks that they take.
"""

# With the ledger. `ledger.append` holds it until its commit, so commit order is position order (invariant 2).
# Erasures, restores and adjustments hold it too: while they hold it, nothing is appended to the ledger.
# The program takes it by the SQL functions `ledger.lock` and `ledger.wait_for_appends` only. See r0002/ledger_lock.sql.
APPENDS = 1819239276

# Held while a revision of the schema is applied: one process migrates at a time. See migrations/runner.py.
MIGRATIONS = 1819239277

# Held by each transaction that adds a generation or changes the state of one.
GENERATIONS = 1819239278

# With the ledger. `ledger.log_access` holds it to number access records without gaps.
ACCESS_LOG = 1819239279

# With the ledger. Held to add a checkpoint, or a reason why none was signed. So their times keep their order.
CHECKPOINTS = 1819239280

# Held by the session of the dispatcher that sends outgoing webhooks: one dispatcher of a database works at a time.
DISPATCHER = 1819239281

# With a hash of the ledger and the key. Held while a change with an Idempotency-Key is made.
IDEMPOTENCY_KEYS = 1819239282

# With the generation. Shared by the sessions that read the generation; exclusive to drop it.
GENERATION_READERS = 1819239290

# With the generation. The rebuild that fills a generation holds it: one rebuild fills a generation at a time.
GENERATION_FILLING = 1819239291
