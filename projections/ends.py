"""What ends by a date has ended once the date is over: arithmetic at the time that is asked for, never a job.

Stored rows say what was told. `as_at` adds what follows from the time: the status "expired", and `expires_at`, the
first instant at which it has expired. A day is over at its end in the time zone of the row's programme, else in that of
its organisation, which is the one that all its programmes share; else in UTC.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from projections.programme_terms import Terms, end_of, programme_of

EXPIRED = "expired"
ONE_TICK = timedelta(microseconds=1)  # a time stated as the end still belongs to it
LOCAL_CHARACTERS_MAX = 40
NOTHING: Mapping[str, Any] = {}


class Ending(NamedTuple):
    """How the rows of one table end. `ending` names the status values that the end turns into "expired"; a table
    without a column `status` gets one from `status_of`."""

    ends: tuple[str, ...]  # columns with the end, the first that is told counts: a time, a day, or a local time as text
    ending: frozenset[str]
    status: str = "status"
    expires_at: str = "expires_at"


OPEN_COUPONS = frozenset({"issued", "partly_redeemed"})
LINKED = frozenset({"linked"})
CURRENT = frozenset({"current"})
PARTNER_TIER = Ending(("tier_until",), CURRENT, "tier_status", "tier_expires_at")

ENDINGS: Mapping[str, tuple[Ending, ...]] = {
    "coupons": (Ending(("valid_until", "valid_through"), OPEN_COUPONS),),
    "partner_memberships": (Ending(("until",), LINKED), PARTNER_TIER),
    "partner_membership_history": (Ending(("until",), LINKED), PARTNER_TIER),
    "promotions": (Ending(("ends_on",), frozenset({"active"})),),
    "promotion_issuals": (Ending(("expires_on", "ends_on"), frozenset({"issued"})),),
    "promotions_earned": (Ending(("expires_on", "ends_on"), frozenset({"earned"})),),
    "tiers": (Ending(("until",), CURRENT),),
    "tier_history": (Ending(("until",), CURRENT),),
    "rewards": (Ending(("ends_at",), frozenset({"active", "disabled"})),),
    "streaks": (Ending(("ends_local",), frozenset({"enrolled", "running"})),),
}


class Zones:
    """The time zones of programmes and organisations, as far as terms were told."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def of(self, ref: str, programme: str | None, day: date) -> str:
        """Name the time zone in which a day of a thing (source:org:id) ends."""
        noon = datetime.combine(day, time(12), UTC)
        source, org, _ = ref.split(":", 2)
        if programme is not None:
            name = programme_of(ref, programme)
            if self._terms.of(name) is not None:
                return self._terms.zone(name, noon)
        zones = {self._terms.zone(name, noon) for name in self._terms.named(source, org)}
        return zones.pop() if len(zones) == 1 else "UTC"


def as_at(
    table: str, row: Mapping[str, Any], at: datetime, zones: Zones, parent: Mapping[str, Any] = NOTHING
) -> dict[str, Any]:
    """Return a row as it stands at a time. `row` has the subject as `id`; a row of a table beside a projection's first
    has the row of the first as its `parent`, which names the programme."""
    if table == "tiers":
        row = _announced(row, at)
    shown = dict(row)
    told = {**parent, **row}
    for ending in ENDINGS.get(table, ()):
        status = row.get(ending.status) or status_of(table, ending.status, row)
        end = next((told[column] for column in ending.ends if told.get(column) is not None), None)
        over = over_at(end, row["id"], told.get("programme"), zones)
        has_ended = over is not None and over <= at and status in ending.ending
        shown |= {ending.status: EXPIRED if has_ended else status, ending.expires_at: over}
    return shown


def _announced(row: Mapping[str, Any], at: datetime) -> Mapping[str, Any]:
    """Return a tier's row with the tier that was announced, from its time on."""
    since = row.get("announced_at")
    if since is None or since > at:
        return row
    names = ("tier", "tier_name", "until")
    entered = {name: row[f"announced_{name}"] for name in names}
    return {**row, **entered, "since": since, "previous": row["tier"], "reason": "announced"}


def over_at(end: datetime | date | str | None, ref: str, programme: str | None, zones: Zones) -> datetime | None:
    """Return the first instant after an end; None if there is none, or it stands for "never"."""
    if isinstance(end, str):
        return _local(end, ref, programme, zones)
    if isinstance(end, datetime):
        return end + ONE_TICK
    return None if end is None else end_of(end, zones.of(ref, programme, end))


def _local(text: str, ref: str, programme: str | None, zones: Zones) -> datetime | None:
    """Read a local time without a zone, as the vendor writes it; None if it is none."""
    try:
        local = datetime.fromisoformat(text[:LOCAL_CHARACTERS_MAX].strip())
        if local.tzinfo is None:
            local = local.replace(tzinfo=ZoneInfo(zones.of(ref, programme, local.date())))
        return local.astimezone(UTC) + ONE_TICK
    except (ValueError, OverflowError):
        return None


def status_of(table: str, column: str, row: Mapping[str, Any]) -> str | None:
    """Return the status of a row in whose table none is stored, its end aside."""
    if column == "tier_status":
        return None if row.get("tier") is None else "current"
    if table == "rewards":
        return {True: "active", False: "disabled", None: "active"}[row.get("enabled")]
    if table == "promotions":
        return "active"
    if table == "tiers":
        if row.get("tier") is not None:
            return "current"
        return "merged" if row.get("merged_into") is not None else "none"
    if table == "tier_history":
        return "current" if row.get("left_at") is None else "left"
    if table == "partner_membership_history":
        return "linked" if row.get("delinked_at") is None else "delinked"
    return None
