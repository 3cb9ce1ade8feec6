"""End of validity: rows expire at a date, computed when they are read. No job runs.

1. Stored rows hold what was reported.
2. `row_as_at` adds the status "expired", and `expires_at`, the first instant at which the row is expired.
3. A day ends in the time zone of the row's programme. Without one, the zone that all programmes of the organisation
   share applies, else UTC.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from projections.programme_terms import Terms, end_of_day, programme_ref

EXPIRED = "expired"
ONE_TICK = timedelta(microseconds=1)  # the stated end time still belongs to the validity
LOCAL_CHARACTERS_MAX = 40
NO_PARENT: Mapping[str, Any] = {}


class Ending(NamedTuple):
    """Columns of one table that hold the end, and the status values that become "expired".

    If the table has no `status` column, `status_of` computes one.
    """

    ends: tuple[str, ...]  # columns with the end; the first that is set counts: a time, a day, or local time as text
    ending: frozenset[str]
    status: str = "status"
    expires_at: str = "expires_at"


class EndedStatus(NamedTuple):
    """A status that expired: its column, the value before, and the first instant after the end."""

    column: str
    before: str | None
    ended_at: datetime


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


class TimeZones:
    """Time zones of programmes and organisations, from their terms."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def of(self, ref: str, programme: str | None, day: date) -> str:
        """Return the time zone of a row's days. `ref` has the form source:org:id."""
        noon = datetime.combine(day, time(12), UTC)
        source, org, _ = ref.split(":", 2)
        if programme is not None:
            name = programme_ref(ref, programme)
            if self._terms.of(name) is not None:
                return self._terms.zone(name, noon)
        zones = {self._terms.zone(name, noon) for name in self._terms.named(source, org)}
        return zones.pop() if len(zones) == 1 else "UTC"


def row_as_at(
    table: str, row: Mapping[str, Any], at: datetime, zones: TimeZones, parent: Mapping[str, Any] = NO_PARENT
) -> dict[str, Any]:
    """Return a row as it is at a time. `row` holds the subject as `id`.

    `parent`: for a further table of a projection, the row of the first table, which names the programme.
    """
    if table == "tiers":
        row = _enter_announced_tier(row, at)
    result = dict(row)
    values = {**parent, **row}
    for ending in ENDINGS.get(table, ()):
        status = row.get(ending.status) or status_of(table, ending.status, row)
        end = next((values[column] for column in ending.ends if values.get(column) is not None), None)
        over = end_instant(end, row["id"], values.get("programme"), zones)
        has_ended = over is not None and over <= at and status in ending.ending
        result |= {ending.status: EXPIRED if has_ended else status, ending.expires_at: over}
    return result


def ended_statuses(table: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[EndedStatus]:
    """Yield the statuses of a row that expired by its date. `after` is the row by `row_as_at`."""
    for ending in ENDINGS.get(table, ()):
        if after.get(ending.status) == EXPIRED and before.get(ending.status) != EXPIRED:
            was = before.get(ending.status) or status_of(table, ending.status, before)
            yield EndedStatus(ending.status, was, after[ending.expires_at])


def _enter_announced_tier(row: Mapping[str, Any], at: datetime) -> Mapping[str, Any]:
    """Return a tier row with the announced tier, from its time on."""
    since = row.get("announced_at")
    if since is None or since > at:
        return row
    names = ("tier", "tier_name", "until")
    entered = {name: row[f"announced_{name}"] for name in names}
    return {**row, **entered, "since": since, "previous": row["tier"], "reason": "announced"}


def end_instant(
    end: datetime | date | str | None, ref: str, programme: str | None, zones: TimeZones
) -> datetime | None:
    """Return the first instant after an end. None if there is no end, or it means "never"."""
    if isinstance(end, str):
        return _parse_local_end(end, ref, programme, zones)
    if isinstance(end, datetime):
        return end + ONE_TICK
    return None if end is None else end_of_day(end, zones.of(ref, programme, end))


def _parse_local_end(text: str, ref: str, programme: str | None, zones: TimeZones) -> datetime | None:
    """Parse a vendor's local time without a zone. None if it is invalid."""
    try:
        local = datetime.fromisoformat(text[:LOCAL_CHARACTERS_MAX].strip())
        if local.tzinfo is None:
            local = local.replace(tzinfo=ZoneInfo(zones.of(ref, programme, local.date())))
        return local.astimezone(UTC) + ONE_TICK
    except (ValueError, OverflowError):
        return None


def status_of(table: str, column: str, row: Mapping[str, Any]) -> str | None:
    """Return the status of a row whose table stores none. The end of validity is not considered."""
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
