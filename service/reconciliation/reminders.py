"""Vendors' reminders that differ from our rows: points, tiers, rewards, partner memberships.

A reminder is a claim and changes nothing. For points it is compared with the lots of its day, as they were at that
time. The matter closes when a later reminder of the day agrees. It also closes when a balance claimed after the day
agrees.
"""

from decimal import Decimal
from typing import Any

from ledger.decimals import format_decimal
from service.reconciliation.lists import list_from_sql

DIFFERING = """
    SELECT rtrim(of.id || ' ' || of.day) AS id, of.id AS ref, of.resource, of.day AS of_day, nullif(of.day, '') AS day,
           of.customer, of.programme, of.unit, of.claimed_value, of.own_value, of.points AS amount, of.missing,
           of.since, of.position,
           (SELECT min(days.expires_on) FROM (
                 SELECT l.expires_on FROM lots l
                  WHERE l.ledger_id = $1 AND l.account_id = of.id AND l.remaining > 0 AND l.expires_on <> of.day::date
                    AND of.resource = 'points'
                  GROUP BY l.expires_on HAVING sum(l.remaining) = of.claimed_value::numeric) days) AS other_day
      FROM (
        (SELECT 'points' AS resource, r.account_id AS id, r.expires_on::text COLLATE "C" AS day, a.customer,
                a.programme, a.unit, r.claimed::text AS claimed_value, r.held::text AS own_value,
                r.claimed - r.held AS points, a.missing, r.claimed_at AS since, r.position
           FROM reminders r JOIN accounts a ON a.ledger_id = $1 AND a.account_id = r.account_id
          WHERE r.ledger_id = $1 AND r.claimed <> r.held AND abs(r.claimed - r.held) >= 0.001 AND r.claimed_at <= $2
            AND (a.agreed_at IS NULL OR a.drift <> 0 OR a.missing <> 0
                 OR (a.agreed_at AT TIME ZONE 'UTC')::date <= r.expires_on + 1)
            AND ('points', r.account_id, r.expires_on::text COLLATE "C") > ($4, $5, $6)
          ORDER BY r.account_id, r.expires_on LIMIT $3)
        UNION ALL
        (SELECT 'tier', t.subject, '', t.customer, t.programme, NULL,
                t.claimed_tier || CASE WHEN t.claimed_tier = t.tier THEN ' until ' || t.downgrade_on ELSE '' END,
                t.tier || CASE WHEN t.claimed_tier = t.tier THEN ' until ' || t.until ELSE '' END,
                NULL, NULL, e.recorded_at, t.last_position
           FROM tiers t JOIN ledger.events e ON e.ledger_id = $1 AND e.position = t.last_position
          WHERE t.ledger_id = $1 AND t.claim_differs AND e.recorded_at <= $2 AND ('tier', t.subject, '') > ($4, $5, $6)
          ORDER BY t.subject LIMIT $3)
        UNION ALL
        (SELECT 'reward', r.subject, '', NULL, r.programme, NULL, r.claimed_ends_at::text, r.ends_at::text, NULL, NULL,
                r.claimed_at, r.last_position
           FROM rewards r
          WHERE r.ledger_id = $1 AND r.claim_differs AND r.claimed_at <= $2 AND ('reward', r.subject, '') > ($4, $5, $6)
          ORDER BY r.subject LIMIT $3)
        UNION ALL
        (SELECT 'membership', m.subject, '', m.customer, m.programme, NULL, m.claimed_expires_on::text, m.until::text,
                NULL, NULL, m.updated_at, m.last_position
           FROM partner_memberships m
          WHERE m.ledger_id = $1 AND m.claim_differs AND m.updated_at <= $2
            AND ('membership', m.subject, '') > ($4, $5, $6)
          ORDER BY m.subject LIMIT $3)) of
     ORDER BY of.resource COLLATE "C", of.id COLLATE "C", of.day LIMIT $3
"""


def _cause(row: Any) -> str:
    """Write the announced value, our value, and the cause that the rows support."""
    if row["resource"] != "points":
        return CAUSES_BY_KIND[row["resource"]].format(
            announced=row["claimed_value"] or "none", held=row["own_value"] or "none"
        )
    announcement = (
        f"The vendor announces {row['claimed_value']} points that lapse on {row['day']}; we have {row['own_value']}."
    )
    if row["amount"] == row["missing"]:
        return f"{announcement} The same amount is missing by its claims. See the list `drift`."
    if row["other_day"] is not None and Decimal(row["own_value"]) == 0:  # points of that day here make it a coincidence
        return f"{announcement} The same amount lapses here after {row['other_day']}. One of the two days is wrong."
    kind = "credit" if row["amount"] > 0 else "debit"
    points = format_decimal(abs(row["amount"]))
    return (
        f"{announcement} The cause is not known: a {kind} of {points} never arrived, a lot has "
        "another day here, or other lots were used."
    )


CAUSES_BY_KIND = {
    "tier": "The vendor's reminder names tier {announced}; we have tier {held}. "
    "The cause is not known: a change of the tier never arrived, or the reminder is out of date.",
    "reward": "The vendor's reminder (end {announced}) differs from the last report of the reward (end {held}) in its "
    "end, its cost or whether it is enabled. The cause is not known: an update never arrived, or the reminder is old.",
    "membership": "The vendor announces that the membership ends on {announced}; we have {held}. "
    "The cause is not known: an update of the membership never arrived, or the reminder is out of date.",
}

REMINDERS = list_from_sql(
    "reminders",
    "Reminders of the vendor that differ from our values",
    page=DIFFERING,
    key=("resource", "ref", "of_day"),
    start=("", "", ""),
    cause=_cause,
    columns=("resource", "day", "customer", "programme", "claimed_value", "own_value"),
)
