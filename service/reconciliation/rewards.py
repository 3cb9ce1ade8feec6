"""Rewards that were paid for, not given, and not reversed. The vendor names the redemption that paid, or a request id
of both.
"""

from datetime import timedelta

from service.reconciliation.lists import list_from_sql

REWARD_GRACE = timedelta(days=1)

# The reward names its debit, or its request id finds it. Request ids repeat, so the debit must be of the same day and
# of the same customer or one merged with them. A reversal covers the rewards of one debit in order of their names.
UNREVERSED = """
    SELECT r.subject AS id, r.customer, r.reward, r.status, r.quantity, paid.debit AS points_redemption, r.request,
           r.errors, r.last_position AS position, r.since, 'points' AS unit,
           CASE WHEN r.points IS NULL THEN NULL
                ELSE least(r.points, r.points + others.points - back.points) END AS amount
      FROM (SELECT one.*, coalesce(one.failed_at, one.rolled_back_at) AS since FROM reward_redemptions one
             WHERE one.ledger_id = $1 AND one.status IN ('failed', 'rolled_back') AND one.subject > $4
               AND coalesce(one.failed_at, one.rolled_back_at) <= $2) r
      CROSS JOIN LATERAL (
           SELECT coalesce(r.points_redemption, (
                SELECT convert_from(f.body, 'UTF8')::jsonb ->> 'redemption' FROM facts f
                 WHERE f.ledger_id = $1 AND f.subject_kind = 'account' AND f.kind = 'Redeemed'
                   AND f.subject IN (SELECT r.customer UNION
                                     SELECT a.subject FROM accounts a
                                      WHERE a.ledger_id = $1 AND a.customer = r.customer)
                   AND f.occurred_at BETWEEN r.since - interval '1 day' AND r.since + interval '1 day'
                   AND convert_from(f.body, 'UTF8')::jsonb ->> 'request' = r.request
                 ORDER BY f.occurred_at DESC LIMIT 1)) AS debit) paid
      CROSS JOIN LATERAL (
           SELECT coalesce(sum(abs(s.points)), 0) AS points, count(*) FILTER (WHERE s.points = 0) AS lapsed_at_once,
                  count(*) AS reversals
             FROM accounts a JOIN statement s ON s.ledger_id = $1 AND s.account_id = a.account_id
            WHERE a.ledger_id = $1 AND a.customer = r.customer
              AND s.kind = 'RedemptionReversed' AND s.reference = paid.debit) back
      CROSS JOIN LATERAL (
           SELECT coalesce(sum(o.points), 0) AS points FROM reward_redemptions o
            WHERE o.ledger_id = $1 AND o.customer = r.customer AND o.status IN ('failed', 'rolled_back')
              AND o.subject < r.subject
              AND CASE WHEN r.points_redemption IS NULL THEN o.request = r.request
                       ELSE o.points_redemption = r.points_redemption END) others
     WHERE paid.debit IS NOT NULL
       AND CASE WHEN r.points IS NULL OR back.lapsed_at_once > 0 THEN back.reversals = 0
                ELSE r.points + others.points > back.points END
     ORDER BY r.subject LIMIT $3
"""


REWARDS = list_from_sql(
    "rewards",
    "Rewards that were paid for, not given, and not reversed",
    page=UNREVERSED,
    key=("id",),
    start=("",),
    cause="The reward was not given, and the redemption that paid for it was not reversed.",
    columns=("customer", "reward", "quantity", "status", "points_redemption", "request"),
    details=("errors",),
    grace=REWARD_GRACE,
)
