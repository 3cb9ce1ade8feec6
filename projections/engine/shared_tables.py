"""Tables that all projections of a generation share: facts, flags and links of subjects, unread events, checkpoints."""

from projections.engine.conflicts import CREATE_POLICIES, CREATE_WITHDRAWN, INDEX_WITHDRAWN
from projections.engine.snapshots import CREATE_STATES, INDEX_STATES

# The key is the order of the fold, which does not mention arrival; see FactKey in projections/definition.py.
CREATE_FACTS = """
    CREATE TABLE facts (
        ledger_id int NOT NULL, subject_kind text COLLATE "C" NOT NULL, subject text COLLATE "C" NOT NULL,
        occurred_at timestamptz NOT NULL, rank smallint NOT NULL, tag bytea NOT NULL, ordinal smallint NOT NULL,
        position bigint NOT NULL, untimed boolean NOT NULL, kind text NOT NULL, body bytea NOT NULL,
        alias text COLLATE "C")
"""
INDEX_FACTS = (
    "ALTER TABLE facts ADD PRIMARY KEY (ledger_id, subject_kind, subject, occurred_at, rank, tag, ordinal)",
    "CREATE INDEX facts_alias ON facts (ledger_id, subject_kind, alias) WHERE alias IS NOT NULL",
)
# The order in which events were recorded, for systems that follow the facts of a ledger.
INDEX_FACTS_BY_POSITION = ("CREATE INDEX facts_position ON facts (ledger_id, position, ordinal)",)

# Only subjects with a flag. `parked` is the reason why a fold stopped. `untimed` means that a fact is ordered by its
# recorded time, so the rows depend on arrival (invariant 5 exempts them).
CREATE_SUBJECTS = """
    CREATE TABLE subjects (
        ledger_id int NOT NULL, subject_kind text COLLATE "C" NOT NULL, subject text COLLATE "C" NOT NULL,
        untimed boolean NOT NULL, parked text, parked_position bigint)
"""
INDEX_SUBJECTS = (
    "ALTER TABLE subjects ADD PRIMARY KEY (ledger_id, subject_kind, subject)",
    "CREATE INDEX subjects_parked ON subjects (ledger_id, subject_kind, subject) WHERE parked IS NOT NULL",
    "CREATE INDEX subjects_untimed ON subjects (ledger_id, subject_kind, subject) WHERE untimed",
)

# Subjects that are folded together; see groups.py.
CREATE_LINKS = """
    CREATE TABLE links (
        ledger_id int NOT NULL, subject_kind text COLLATE "C" NOT NULL, subject text COLLATE "C" NOT NULL,
        root text COLLATE "C" NOT NULL, PRIMARY KEY (ledger_id, subject_kind, subject))
"""
INDEX_LINKS = ("CREATE INDEX links_root ON links (ledger_id, subject_kind, root)",)

# Events that gave no facts, each with the reason.
CREATE_UNREAD = """
    CREATE TABLE unread (
        ledger_id int NOT NULL, position bigint NOT NULL, source text NOT NULL, kind text NOT NULL,
        unread text NOT NULL, reason text NOT NULL)
"""
INDEX_UNREAD = (
    "ALTER TABLE unread ADD PRIMARY KEY (ledger_id, position)",
    "CREATE INDEX unread_by_kind ON unread (ledger_id, unread, kind, position)",
)

# The sources and organisations of a ledger's events. They let a bare vendor id be found without source and org.
CREATE_ORGS = """
    CREATE TABLE orgs (ledger_id int NOT NULL, source text NOT NULL, org text NOT NULL,
                       PRIMARY KEY (ledger_id, source, org))
"""

CREATE_CHECKPOINTS = "CREATE TABLE checkpoints (ledger_id int PRIMARY KEY, position bigint NOT NULL)"

CREATE_SHARED_TABLES = (
    CREATE_FACTS,
    CREATE_SUBJECTS,
    CREATE_STATES,
    CREATE_LINKS,
    CREATE_UNREAD,
    CREATE_ORGS,
    CREATE_CHECKPOINTS,
    CREATE_WITHDRAWN,
    INDEX_WITHDRAWN,
    CREATE_POLICIES,
)

INDEXES_OF_SHARED_TABLES = (INDEX_FACTS_BY_POSITION, INDEX_SUBJECTS, INDEX_STATES, INDEX_LINKS, INDEX_UNREAD)
