"""The conditions that alert an operator, in one table: alert rules, runbook and `loyalty doctor` come from it.

A condition with a threshold is about a gauge of the database, so it can be checked at any time (`find_problems`). The
others are about rates. Only Prometheus, which keeps earlier scrapes, can check these.

After a change: `python -m service.monitoring.alert_rules` writes the rules and the runbook again.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from service.monitoring import samples
from service.monitoring.samples import GaugeFamily, Sample

Severity = Literal["page", "ticket"]
OF_A_PROCESS = (samples.DATABASE_UP, samples.CLOCK_OFFSET, samples.DISK_FREE, samples.DISK_RATIO)


class Threshold(NamedTuple):
    """A limit of a gauge. The condition holds above it, or below it if `below` is true. `absolute` ignores the sign."""

    family: GaugeFamily
    limit: float
    where: tuple[tuple[str, str], ...] = ()  # values of labels
    below: bool = False
    absolute: bool = False

    def expression(self) -> str:
        """Return the condition in PromQL."""
        labels = ", ".join(f'{name}="{value}"' for name, value in self.where)
        series = f"{self.family.name}{{{labels}}}" if labels else self.family.name
        series = f"abs({series})" if self.absolute else series
        if self.family not in OF_A_PROCESS:  # several processes report the same database
            series = f"{'min' if self.below else 'max'} without (instance) ({series})"
        return f"{series} {'<' if self.below else '>'} {self.limit:g}"

    def is_crossed(self, sample: Sample) -> bool:
        """Return True if a value is beyond the limit."""
        labels = dict(zip(sample.family.labels, sample.labels, strict=True))
        if sample.family is not self.family or any(labels.get(name) != value for name, value in self.where):
            return False
        value = abs(sample.value) if self.absolute else sample.value
        return value < self.limit if self.below else value > self.limit


class Condition(NamedTuple):
    """A condition that an operator must act on. `check` is a threshold, or an expression in PromQL."""

    name: str
    severity: Severity
    check: Threshold | str
    minutes: int  # that it must hold before the alert fires
    summary: str  # one sentence; {{ $labels.x }} is a label, {{ $value }} the value
    meaning: str
    look: str
    act: str

    @property
    def expression(self) -> str:
        """The condition in PromQL."""
        return self.check if isinstance(self.check, str) else self.check.expression()


class Problem(NamedTuple):
    """A condition that holds, with the sample that shows it."""

    condition: Condition
    sample: Sample

    def sentence(self) -> str:
        """Return the summary with its labels and value."""
        value = self.sample.value
        texts = {"$value | humanize": f"{value:,.6g}", "$value | humanizePercentage": f"{value:.1%}"}
        texts["$labels.instance"] = "this process"
        for name, label in zip(self.sample.family.labels, self.sample.labels, strict=True):
            texts[f"$labels.{name}"] = label
        return re.sub(r"\{\{ (.*?) \}\}", lambda found: texts[found[1]], self.condition.summary)


def find_problems(current: Iterable[Sample]) -> list[Problem]:
    """Return every condition that holds now, with each sample that shows it, in the order of the table."""
    found = list(current)
    return [
        Problem(condition, sample)
        for condition in CONDITIONS
        if isinstance(condition.check, Threshold)
        for sample in found
        if condition.check.is_crossed(sample)
    ]


CONDITIONS: Sequence[Condition] = (
    Condition(
        "LoyaltyDown", "page", 'up{job="loyalty"} == 0', 2,
        "{{ $labels.instance }} does not answer.",
        "A process of the service has ended, hangs, or cannot be reached. Vendors get no answer and send again later.",
        "The process (`systemctl status`, the container's state), the end of its log, its memory limit, its disk.",
        "Start it again. Deliveries that were acknowledged are stored. Vendors resend the others.",
    ),
    Condition(
        "LoyaltyDatabaseDown", "page", Threshold(samples.DATABASE_UP, 1, below=True), 1,
        "{{ $labels.instance }} cannot read the database.",
        "PostgreSQL does not answer, or refuses the service. Deliveries are answered 503, so vendors send again.",
        "PostgreSQL and its log, the network, `loyalty doctor` on the machine of the service.",
        "Bring PostgreSQL back. The service reconnects by itself. After a failover, check the hosts in DATABASE_URL.",
    ),
    Condition(
        "LoyaltyCannotStore", "page", 'sum(rate(loyalty_deliveries_refused_total{reason="unavailable"}[5m])) > 0', 2,
        "Deliveries are refused with 503: {{ $value | humanize }} a second.",
        "The database is down or full, a ledger is locked, or more arrives than the database stores.",
        "The log of the service, which names the reason; free space of PostgreSQL's disks; `loyalty_append_seconds`; "
        "`loyalty_append_waiting`.",
        "Free space or remove what blocks the database. Vendors resend after 503, for hours to days: see the guide on "
        "vendors.",
    ),
    Condition(
        "LoyaltyDeliveriesRefused", "ticket",
        "sum by (reason) (rate(loyalty_deliveries_refused_total"
        '{reason=~"credentials|too_large|coding|invalid|slow"}[15m])) > 0', 15,
        "Deliveries are refused: {{ $labels.reason }}.",
        "A vendor sends deliveries that are answered 4xx. Some vendors never send such a delivery again.",
        "The log has a line for each, with the connection, the ledger and the reason.",
        "For `credentials`, compare the secret at the vendor, or run `loyalty connection rotate`. For `too_large`, ask "
        "the vendor for smaller batches.",
    ),
    Condition(
        "LoyaltyProjectorBehind", "page", Threshold(samples.LAG_SECONDS, 60, (("generation_state", "active"),)), 5,
        "The rows of ledger {{ $labels.ledger }} are {{ $value | humanize }} s behind.",
        "The projector is dead, blocked or too slow. Deliveries are stored. Answers show an older state.",
        "The log of `loyalty project` or `loyalty serve`: `projections of ledger … wait`. Processor and disk of "
        "PostgreSQL. Long transactions in `pg_stat_activity`.",
        "Start the projector again. It continues at its checkpoint. A second `loyalty project` does no harm.",
    ),
    Condition(
        "LoyaltyRebuildDue", "ticket", Threshold(samples.REBUILD_DUE, 0), 15,
        "Projection {{ $labels.projection }} waits for a rebuild.",
        "Another version of this software made the rows of a projection. New facts of it wait.",
        "`loyalty generations`, and the versions of all running processes.",
        "Run `loyalty rebuild` with the newest version, as described in the guide on rebuilds.",
    ),
    Condition(
        "LoyaltySubjectParked", "ticket", Threshold(samples.PARKED, 0), 5,
        "{{ $value | humanize }} subjects of ledger {{ $labels.ledger }} are parked.",
        "A fact of a subject cannot be folded. Its rows show the state before that fact. All other subjects continue.",
        "`loyalty parked list`: it names the subject, the fact and the place of the fault.",
        "Update to a version that folds the fact, then run `loyalty parked retry`. Report the fault otherwise.",
    ),
    Condition(
        "LoyaltyEventsUnread", "ticket",
        "max without (instance) (loyalty_unread_events - (loyalty_unread_events offset 1h)) > 0", 5,
        "{{ $value | humanize }} new {{ $labels.why }} events of {{ $labels.source }} in ledger {{ $labels.ledger }}.",
        "Events arrived that this version cannot interpret. They are stored, and move no points.",
        "`loyalty reconcile`: the lists `quarantine` and `unrecognised`. `loyalty vendors` lists all known kinds.",
        "Ask the vendor about a changed format. Update, then run `loyalty rebuild`: it reads stored events again.",
    ),
    Condition(
        "LoyaltyConnectionSilent", "ticket", Threshold(samples.SILENT, 0), 10,
        "Connection {{ $labels.connection }} of ledger {{ $labels.ledger }} is silent for {{ $value | humanize }} s.",
        "A kind of event arrived regularly and has stopped. Some vendors disable a webhook after failures.",
        "`loyalty reconcile` with `--csv silence` names the kinds. The vendor's log of failed deliveries.",
        "Enable the webhook at the vendor. Import what was not delivered with `loyalty import`.",
    ),
    Condition(
        "LoyaltyDriftAtStake", "ticket", Threshold(samples.AT_STAKE, 0, (("list", "drift"),)), 60,
        "{{ $value | humanize }} {{ $labels.unit }} in drift in ledger {{ $labels.ledger }}.",
        "Balances differ from the vendor's claims, or histories prove that events are missing.",
        "`loyalty reconcile` with `--csv drift` names each account and the cause that its rows support.",
        "Import the missing events, or adjust the balance: see the guide on reconciliation.",
    ),
    Condition(
        "LoyaltyUnsealed", "page", Threshold(samples.UNSEALED_OLDEST, 600), 5,
        "Events of ledger {{ $labels.ledger }} have no checkpoint for {{ $value | humanize }} s.",
        "Nobody signs the ledger, or the signer refuses. A change of these events could not be proven.",
        "`/v1/ledger/checkpoint` and the log: `NOT SEALED here`, with the reason. `loyalty seal` tries it now.",
        "Mount the signer's folder (LOYALTY_SIGNER) where the projector runs. If the ledger does not continue the last "
        "head, find out why before `loyalty seal --adopt`.",
    ),
    Condition(
        "LoyaltyWitnessBehind", "ticket", Threshold(samples.WITNESS_AGE, 3600), 10,
        "Witness {{ $labels.witness }} has not cosigned ledger {{ $labels.ledger }} for {{ $value | humanize }} s.",
        "A witness refuses or cannot be reached. Other witnesses and anchors still hold checkpoints.",
        "The log: `checkpoint … to …`, with the witness's answer.",
        "Ask who runs the witness. If it has seen a larger tree, this database may be an old copy.",
    ),
    Condition(
        "LoyaltyAnchorFails", "ticket", "increase(loyalty_anchor_failures_total[1h]) > 3", 10,
        "Checkpoints of ledger {{ $labels.ledger }} do not reach an anchor.",
        "A file or URL of LOYALTY_ANCHORS does not take checkpoints.",
        "The log: `checkpoint … to …`, with the reason.",
        "Repair the address. The next checkpoint covers those that were not taken.",
    ),
    Condition(
        "LoyaltyEndpointFailing", "ticket", Threshold(samples.OUTGOING_FAILING, 3600), 10,
        "Endpoint {{ $labels.endpoint }} of ledger {{ $labels.ledger }} accepts nothing for {{ $value | humanize }} s.",
        "A receiver of outgoing webhooks fails or cannot be reached. Its messages wait; other endpoints go on.",
        "`loyalty endpoint attempts` shows the answers. `loyalty endpoint test` tries it now.",
        "Ask who runs the receiver. Messages are sent again for LOYALTY_OUTGOING_DAYS, then the endpoint is disabled.",
    ),
    Condition(
        "LoyaltyEndpointBehind", "ticket",
        "min without (instance) (min_over_time(loyalty_outgoing_lag_events[15m])) > 1000 "
        "unless on (ledger, endpoint) max by (ledger, endpoint) "
        '(increase(loyalty_outgoing_attempts_total{outcome="succeeded"}[15m])) > 0',
        5,
        "Endpoint {{ $labels.endpoint }} of ledger {{ $labels.ledger }} is {{ $value }} events behind.",
        "No dispatcher works, or the receiver fails. Messages wait in the ledger, so they fill no disk.",
        "`loyalty endpoint list`: with failures the receiver is the cause. Else look for the process "
        "`loyalty dispatch` and for `LOYALTY_OUTGOING=false`.",
        "Start a dispatcher, or repair the receiver. For a receiver that is gone use `loyalty endpoint disable`.",
    ),
    Condition(
        "LoyaltyEndpointStopped", "page", Threshold(samples.OUTGOING_STOPPED, 0), 1,
        "Endpoint {{ $labels.endpoint }} of ledger {{ $labels.ledger }} was disabled by the sender.",
        "A receiver answered 410, or failed for LOYALTY_OUTGOING_DAYS. Nothing is sent to it now, and nothing is lost.",
        "`loyalty endpoint show` names the reason and the position, `loyalty endpoint attempts` the last answers.",
        "Repair the receiver, then `loyalty endpoint enable`: it goes on where it ended. Or `loyalty endpoint delete`.",
    ),
    Condition(
        "LoyaltyDiskFull", "page", Threshold(samples.DISK_RATIO, 0.1, below=True), 5,
        "The disk of the folder {{ $labels.folder }} has {{ $value | humanizePercentage }} left.",
        "The embedded database or the signer's folder will not be able to write. Deliveries are then answered 503.",
        "The disk. `loyalty generations`: a retired generation takes as much space as the active one.",
        "Free space or enlarge the disk. `loyalty drop` removes a retired generation. Watch the disks of your own "
        "PostgreSQL with its own exporter.",
    ),
    Condition(
        "LoyaltyClockWrong", "ticket", Threshold(samples.CLOCK_OFFSET, 60, absolute=True), 5,
        "The clock of {{ $labels.instance }} differs from the database's by {{ $value | humanize }} s.",
        "The clocks of the service and the database differ. The database's clock is used.",
        "NTP on both machines.",
        "Set the clock. Signed deliveries of Standard Webhooks are refused beyond 300 s.",
    ),
    Condition(
        "LoyaltyServerErrors", "page",
        'sum(rate(http_server_request_duration_seconds_count{http_response_status_code=~"5.."}[5m]))'
        " / sum(rate(http_server_request_duration_seconds_count[5m])) > 0.05", 5,
        "{{ $value | humanizePercentage }} of all requests fail.",
        "Requests are answered 500 or 503: the database is away, the service is overloaded, or it has a fault.",
        "The log of the service; `http_server_request_duration_seconds` by route; memory and LOYALTY_MEMORY_MIB.",
        "For 503 see LoyaltyCannotStore. For 500 report the line of the log. It holds no personal values.",
    ),
    Condition(
        "LoyaltyAppendSlow", "ticket",
        "histogram_quantile(0.99, sum by (le) (rate(loyalty_append_seconds_bucket[5m]))) > 1", 10,
        "1 of 100 commits takes longer than {{ $value | humanize }} s.",
        "PostgreSQL is slow to commit: its disk, a synchronous replica, or a lock. Deliveries wait meanwhile.",
        "Latency of PostgreSQL's disk and of its replicas; `pg_stat_activity`; a running rebuild or backup.",
        "Move the load or the disk. A commit that takes over 4.5 s is given up and answered 503.",
    ),
)  # fmt: skip
