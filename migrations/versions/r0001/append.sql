-- Append events to one ledger, in the order given. One call is one transaction, and one fsync for all of its events.
--
-- Theory. The first statement takes the ledger's lock. Each later statement has a fresh READ COMMITTED snapshot, so it
-- sees everything that was committed before the lock was granted. Therefore positions are dense, commit order is
-- position order, and a reader needs nothing but "position > n".
--
-- Each event has one of three outcomes:
--   appended   the event key is new
--   duplicate  the key and the variant are stored already; the stored position is returned and nothing is written
--   conflict   the key is stored with another variant; the event is stored too, under its key followed by its variant
-- An exception: if a person of the stored event was erased, it is unknown whether the personal values differ. If nothing
-- else differs, the event is a duplicate: of the first event of the key, or of one in conflict with it.
--
-- Arguments. Most are parallel arrays.
--   one element an event: p_connections to p_entry_tails. p_deliveries is the number of the event's delivery, from 1.
--   one element a delivery: p_payloads, the bodies
--   one element an encrypted part of personal values: p_part_*
--   one element a keyed hash of an identifier: p_blind_* and p_blinds
--   p_erasure_count: the number of erasures that the caller's keys take into account. If it is not the current one, the
--   call raises object_not_in_prerequisite_state: the caller reads the keys again.
-- The entry is p_entry_heads, the position, the recorded time, p_entry_tails: only the lock fixes position and time.
CREATE FUNCTION ledger.append(
    p_ledger           int,
    p_connections      text[],
    p_sources          text[],
    p_orgs             text[],
    p_kinds            text[],
    p_event_keys       bytea[],
    p_contents         bytea[],
    p_variants         bytea[],
    p_occurred         timestamptz[],
    p_deliveries       int[],
    p_ordinals         int[],
    p_entry_heads      text[],
    p_entry_tails      text[],
    p_payloads         bytea[],
    p_erasure_count    int,
    p_part_deliveries  int[],
    p_part_subjects    text[],
    p_part_key_ids     bytea[],
    p_part_ciphertexts bytea[],
    p_part_commitments bytea[],
    p_blind_deliveries int[],
    p_blind_subjects   text[],
    p_blinds           bytea[]
) RETURNS TABLE (n int, "position" bigint, outcome text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Plans are made once a session. To plan at each call costs as much as ten events. But a plan made while the ledger is
-- empty might read the whole table ever after. So each look-up asks for an order that only the right index gives, and
-- the alternatives are off: sorting, and reading a whole table. PostgreSQL still sorts where nothing else is possible,
-- at an artificially high cost, which must not start the JIT compiler.
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    tail_position  bigint;
    tail_recorded  timestamptz;
    recorded       timestamptz;
    recorded_text  text;
    -- One element an event:
    stored_keys    bytea[];   -- the event key; in a conflict the key followed by the variant
    positions      bigint[];  -- the position of the event, or of the event that it duplicates
    new_positions  bigint[];  -- the same, null for a duplicate
    outcomes       text[];
    -- One element a delivery:
    body_positions bigint[];  -- the position of the event that holds the body; null if no event is new
BEGIN
    PERFORM pg_advisory_xact_lock(1819239276, p_ledger);
    SELECT e.position, e.recorded_at INTO tail_position, tail_recorded
      FROM ledger.events e WHERE e.ledger_id = p_ledger ORDER BY e.position DESC LIMIT 1;
    IF tail_position IS NULL AND NOT EXISTS (SELECT FROM ledger.ledgers l WHERE l.ledger_id = p_ledger) THEN
        RAISE EXCEPTION 'no such ledger' USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF p_erasure_count <> coalesce((SELECT e.erasure FROM ledger.erasures e
                                     WHERE e.ledger_id = p_ledger ORDER BY e.erasure DESC LIMIT 1), 0) THEN
        RAISE EXCEPTION 'a person was erased since the keys were read' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    tail_position := coalesce(tail_position, 0);
    -- Recorded times never go backwards. So the knowledge at a time is the events up to a position.
    recorded := greatest(clock_timestamp(), tail_recorded);
    recorded_text := to_char(recorded AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

    -- 1. Compare each event with the first of its key: the stored one, else the first in this call.
    WITH compared AS MATERIALIZED (
        SELECT i.n::int AS n, i.event_key, i.content, i.variant, i.delivery, stored.position AS stored_position,
               coalesce(stored.variant, first_value(i.variant) OVER (PARTITION BY i.event_key ORDER BY i.n))
                   AS first_variant,
               stored.content IS NOT DISTINCT FROM i.content AND stored.variant <> i.variant
                   AND ledger.is_erased(p_ledger, stored.delivery_position) AS is_incomparable
          FROM unnest(p_event_keys, p_contents, p_variants, p_deliveries)
               WITH ORDINALITY AS i (event_key, content, variant, delivery, n)
          LEFT JOIN LATERAL (SELECT e.position, e.content, e.variant, e.delivery_position FROM ledger.events e
                              WHERE e.ledger_id = p_ledger AND e.event_key BETWEEN i.event_key AND i.event_key
                              ORDER BY e.event_key LIMIT 1) stored ON true
    ),
    -- 2. Choose the key to store it under, and look up whether that key is stored.
    keyed AS MATERIALIZED (
        SELECT c.n, c.delivery, false AS in_conflict, c.event_key AS stored_key, c.stored_position
          FROM compared c WHERE c.variant = c.first_variant OR c.is_incomparable
        UNION ALL
        SELECT c.n, c.delivery, true, c.event_key || c.variant,
               coalesce((SELECT e.position FROM ledger.events e
                          WHERE e.ledger_id = p_ledger
                            AND e.event_key BETWEEN c.event_key || c.variant AND c.event_key || c.variant
                          ORDER BY e.event_key LIMIT 1),
                        CASE WHEN p_erasure_count > 0 AND c.variant <> c.content
                             THEN ledger.find_erased_event(p_ledger, c.event_key, c.content) END)
          FROM compared c WHERE c.variant <> c.first_variant AND NOT c.is_incomparable
    ),
    -- 3. Number the new events after the tail. Of equal events in this call, only the first is new.
    marked AS MATERIALIZED (
        SELECT k.*, k.stored_position IS NULL
                    AND row_number() OVER (PARTITION BY k.stored_key ORDER BY k.n) = 1 AS is_new
          FROM keyed k
    ),
    numbered AS MATERIALIZED (
        SELECT m.*, CASE WHEN m.is_new
                         THEN tail_position + count(*) FILTER (WHERE m.is_new) OVER (ORDER BY m.n) END AS new_position
          FROM marked m
    )
    SELECT array_agg(r.stored_key ORDER BY r.n),
           array_agg(coalesce(r.stored_position, r.position_of_key) ORDER BY r.n),
           array_agg(r.new_position ORDER BY r.n),
           array_agg(CASE WHEN NOT r.is_new THEN 'duplicate' WHEN r.in_conflict THEN 'conflict' ELSE 'appended' END
                     ORDER BY r.n)
      INTO stored_keys, positions, new_positions, outcomes
      FROM (SELECT d.*, max(d.new_position) OVER (PARTITION BY d.stored_key) AS position_of_key FROM numbered d) r;
    -- 4. The body of a delivery is stored once, with its first new event.
    SELECT array_agg(b.position ORDER BY b.delivery) INTO body_positions
      FROM (SELECT u.delivery, min(u.new_position) AS position
              FROM unnest(p_deliveries, new_positions) AS u (delivery, new_position) GROUP BY u.delivery) b;

    INSERT INTO ledger.events (ledger_id, position, connection_id, source, org, kind, event_key, content, variant,
                               occurred_at, recorded_at, delivery_position, ordinal, payload, entry, leaf_hash)
    SELECT p_ledger, e.position, e.connection_id, e.source, e.org, e.kind, e.stored_key, e.content, e.variant,
           e.occurred_at, recorded, body_positions[e.delivery], e.ordinal,
           CASE WHEN e.position = body_positions[e.delivery] THEN p_payloads[e.delivery] END,
           e.entry, sha256('\x00'::bytea || e.entry)
      FROM (SELECT u.*, convert_to(u.head || u.position || ',"recorded_at":"' || recorded_text || '",' || u.tail, 'UTF8')
                        AS entry
              FROM unnest(new_positions, stored_keys, p_connections, p_sources, p_orgs, p_kinds, p_contents, p_variants,
                          p_occurred, p_deliveries, p_ordinals, p_entry_heads, p_entry_tails)
                   AS u (position, stored_key, connection_id, source, org, kind, content, variant,
                         occurred_at, delivery, ordinal, head, tail)
             WHERE u.position IS NOT NULL OFFSET 0) e;

    INSERT INTO ledger.personal (ledger_id, position, subject, key_id, ciphertext, commitment)
    SELECT p_ledger, body_positions[u.delivery], u.subject, u.key_id, u.ciphertext, u.commitment
      FROM unnest(p_part_deliveries, p_part_subjects, p_part_key_ids, p_part_ciphertexts, p_part_commitments)
           AS u (delivery, subject, key_id, ciphertext, commitment)
     WHERE body_positions[u.delivery] IS NOT NULL;

    INSERT INTO ledger.personal_index (ledger_id, blind, subject)
    SELECT p_ledger, u.blind, u.subject FROM unnest(p_blind_deliveries, p_blind_subjects, p_blinds)
           AS u (delivery, subject, blind)
     WHERE body_positions[u.delivery] IS NOT NULL
        ON CONFLICT DO NOTHING;

    RETURN QUERY SELECT u.n::int, u.position, u.outcome
                   FROM unnest(positions, outcomes) WITH ORDINALITY AS u (position, outcome, n);
END $$;
REVOKE ALL ON FUNCTION ledger.append FROM PUBLIC;
