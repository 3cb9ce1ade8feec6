"""Gauges that are read from the database: their names, their labels, and their values."""

from typing import NamedTuple

LEDGERS_MAX = 500  # with series of their own; each has about 40
CONNECTIONS_MAX = 2_000  # with a series of their own, of all ledgers


class GaugeFamily(NamedTuple):
    """The name of a gauge, its help text, and the names of its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One value of a gauge. The labels are in the order of its family."""

    family: GaugeFamily
    labels: tuple[str, ...]
    value: float


ENDPOINTS_MAX = 500  # with series of their own, of all ledgers


_STATE = ("ledger", "generation_state")

DATABASE_UP = GaugeFamily("loyalty_database_up", "1 if the database answered the last reading of its gauges.")
DATABASE_SIZE = GaugeFamily("loyalty_database_size_bytes", "Size of the database on its disk.")
CLOCK_OFFSET = GaugeFamily("loyalty_clock_offset_seconds", "Clock of this process minus the clock of the database.")
DISK_FREE = GaugeFamily("loyalty_disk_free_bytes", "Free bytes of the disk that holds a folder.", ("folder",))
DISK_RATIO = GaugeFamily("loyalty_disk_free_ratio", "Free part of the disk that holds a folder.", ("folder",))
BUILD_INFO = GaugeFamily(
    "loyalty_build_info", "Version of the software and schema of the database.", ("version", "schema")
)
LEDGER_POSITION = GaugeFamily("loyalty_ledger_position", "Position of the last event.", ("ledger",))
PROJECTION_POSITION = GaugeFamily("loyalty_projection_position", "Position that the rows reflect.", _STATE)
LAG_EVENTS = GaugeFamily("loyalty_projection_lag_events", "Events that the rows do not reflect yet.", _STATE)
LAG_SECONDS = GaugeFamily(
    "loyalty_projection_lag_seconds",
    "Age of the oldest event that the rows do not reflect; 0 if there is none.",
    _STATE,
)
REBUILD_DUE = GaugeFamily("loyalty_projection_rebuild_due", "1 if a projection waits for a rebuild.", ("projection",))
REBUILD_PROGRESS = GaugeFamily(
    "loyalty_rebuild_progress_ratio", "Done part of a stage of a running rebuild.", ("stage",)
)
PARKED = GaugeFamily("loyalty_parked_subjects", "Subjects with a fact that cannot be folded.", ("ledger",))
PARKED_OLDEST = GaugeFamily(
    "loyalty_parked_oldest_seconds", "Age of the oldest event at which a subject is parked; 0 if none is.", ("ledger",)
)
UNREAD = GaugeFamily("loyalty_unread_events", "Events without facts, by reason.", ("ledger", "source", "why"))
OPEN_ITEMS = GaugeFamily("loyalty_open_items", "Open items of a reconciliation list.", ("ledger", "list"))
AT_STAKE = GaugeFamily(
    "loyalty_points_at_stake", "Points of the open items of a list, summed without signs.", ("ledger", "list", "unit")
)
SILENT = GaugeFamily(
    "loyalty_connection_silent_seconds",
    "Time since a kind of event stopped to arrive over a connection; 0 if all kinds arrive as expected.",
    ("ledger", "connection"),
)
UNSEALED = GaugeFamily("loyalty_unsealed_events", "Events that no checkpoint covers.", ("ledger",))
UNSEALED_OLDEST = GaugeFamily(
    "loyalty_unsealed_oldest_seconds", "Age of the oldest event that no checkpoint covers; 0 if there is none.",
    ("ledger",),
)  # fmt: skip
CHECKPOINT_AGE = GaugeFamily("loyalty_checkpoint_age_seconds", "Age of the last checkpoint.", ("ledger",))
WITNESS_AGE = GaugeFamily(
    "loyalty_witness_age_seconds",
    "Age of the oldest checkpoint that a witness should have cosigned since; 0 if it cosigned the last one.",
    ("ledger", "witness"),
)
OUTGOING_LAG = GaugeFamily(
    "loyalty_outgoing_lag_events", "Events whose messages an endpoint has not accepted yet.", ("ledger", "endpoint")
)
OUTGOING_FAILING = GaugeFamily(
    "loyalty_outgoing_failing_seconds", "Time since an endpoint accepts nothing; 0 if it does.", ("ledger", "endpoint")
)
OUTGOING_STOPPED = GaugeFamily(
    "loyalty_outgoing_stopped", "1 if the sender has disabled an endpoint: it failed for days, or answered 410.",
    ("ledger", "endpoint"),
)  # fmt: skip
OUTGOING_ATTEMPTS = GaugeFamily(
    "loyalty_outgoing_attempts_total", "Requests to an endpoint, by outcome.", ("ledger", "endpoint", "outcome")
)
