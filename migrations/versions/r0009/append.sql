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
CREATE OR REPLACE FUNCTION ledger.append(
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
    found          record;
    repeated_keys  bytea[];   -- the keys that stand several times in this call
    first_events   int[];     -- by the number of a duplicate: the first event in this call with its stored key
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

    repeated_keys := ARRAY(
        SELECT i.event_key FROM unnest(p_event_keys) AS i (event_key) GROUP BY i.event_key HAVING count(*) > 1);
    stored_keys := p_event_keys;
    outcomes := array_fill('appended'::text, ARRAY[cardinality(p_event_keys)]);
    positions := array_fill(NULL::bigint, ARRAY[cardinality(p_event_keys)]);
    first_events := '{}';
    FOR found IN
        -- 1. Most keys are new and stand once in this call: nothing is done for their events. Find the others.
        WITH known AS MATERIALIZED (
            SELECT i.n::int AS n, i.event_key, i.content, i.variant, stored.position AS stored_position,
                   stored.content AS stored_content, stored.variant AS stored_variant, stored.delivery_position
              FROM unnest(p_event_keys, p_contents, p_variants) WITH ORDINALITY AS i (event_key, content, variant, n)
              LEFT JOIN LATERAL (SELECT e.position, e.content, e.variant, e.delivery_position FROM ledger.events e
                                  WHERE e.ledger_id = p_ledger AND e.event_key BETWEEN i.event_key AND i.event_key
                                  ORDER BY e.event_key LIMIT 1) stored ON true
             WHERE stored.position IS NOT NULL OR i.event_key = ANY (repeated_keys)
        ),
        -- 2. Compare each of them with the first event of its key: the stored one, else the first in this call.
        compared AS MATERIALIZED (
            SELECT k.n, k.event_key, k.content, k.variant, k.stored_position,
                   coalesce(k.stored_variant, first_value(k.variant) OVER (PARTITION BY k.event_key ORDER BY k.n))
                       AS first_variant,
                   k.stored_content IS NOT DISTINCT FROM k.content AND k.stored_variant <> k.variant
                       AND ledger.is_erased(p_ledger, k.delivery_position) AS is_incomparable
              FROM known k
        ),
        -- 3. Choose the key to store it under, and look up whether that key is stored.
        keyed AS MATERIALIZED (
            SELECT c.n, false AS in_conflict, c.event_key AS stored_key, c.stored_position
              FROM compared c WHERE c.variant = c.first_variant OR c.is_incomparable
            UNION ALL
            SELECT c.n, true, c.event_key || c.variant,
                   coalesce((SELECT e.position FROM ledger.events e
                              WHERE e.ledger_id = p_ledger
                                AND e.event_key BETWEEN c.event_key || c.variant AND c.event_key || c.variant
                              ORDER BY e.event_key LIMIT 1),
                            CASE WHEN p_erasure_count > 0 AND c.variant <> c.content
                                 THEN ledger.find_erased_event(p_ledger, c.event_key, c.content) END)
              FROM compared c WHERE c.variant <> c.first_variant AND NOT c.is_incomparable
        )
        -- Of equal events in this call, only the first is new.
        SELECT k.*, first_value(k.n) OVER (PARTITION BY k.stored_key ORDER BY k.n) AS first_n FROM keyed k
    LOOP
        stored_keys[found.n] := found.stored_key;
        IF found.stored_position IS NOT NULL OR found.first_n < found.n THEN
            outcomes[found.n] := 'duplicate';
            positions[found.n] := found.stored_position;
            first_events[found.n] := found.first_n;
        ELSIF found.in_conflict THEN
            outcomes[found.n] := 'conflict';
        END IF;
    END LOOP;
    -- 4. Number the new events after the tail. The body of a delivery is stored once, with its first new event.
    new_positions := array_fill(NULL::bigint, ARRAY[cardinality(p_event_keys)]);
    body_positions := array_fill(NULL::bigint, ARRAY[cardinality(p_payloads)]);
    FOR n IN 1 .. cardinality(p_event_keys) LOOP
        IF outcomes[n] = 'duplicate' THEN
            positions[n] := coalesce(positions[n], positions[first_events[n]]);
        ELSE
            tail_position := tail_position + 1;
            positions[n] := tail_position;
            new_positions[n] := tail_position;
            IF body_positions[p_deliveries[n]] IS NULL THEN
                body_positions[p_deliveries[n]] := tail_position;
            END IF;
        END IF;
    END LOOP;

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
