-- A redelivered event of a forgotten person makes no new key for that person: there would be something to forget again,
-- and each redelivery would append another act of forgetting.

-- Return the position of an event with this key and content whose personal part can be opened by nobody any more: the
-- first event of the key or one in conflict with it. NULL if there is none.
CREATE FUNCTION ledger.forgotten_event(p_ledger int, p_event_key bytea, p_content bytea) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.position FROM ledger.events e
     WHERE e.ledger_id = p_ledger AND e.event_key >= p_event_key
       AND e.event_key <= p_event_key || '\xffffffffffffffffffffffffffffffff'::bytea
       AND e.content = p_content AND ledger.is_forgotten(p_ledger, e.delivery_position)
     ORDER BY e.event_key LIMIT 1
$$;

-- Return the keys of persons; make a key for a person without one, unless all deliveries that name the person hold
-- nothing but redelivered events of forgotten persons. Such a person gets no key and is not in the result.
--
-- p_part_subjects and p_part_deliveries say which persons a delivery names; p_event_deliveries, p_event_keys and
-- p_contents which events it holds. A subject that no delivery names gets a key.
DROP FUNCTION ledger.person_keys(int, text[], bytea[], bytea[]);
CREATE FUNCTION ledger.person_keys(
    p_ledger           int,
    p_subjects         text[],
    p_key_ids          bytea[],
    p_wrapped          bytea[],
    p_part_subjects    text[],
    p_part_deliveries  int[],
    p_event_deliveries int[],
    p_event_keys       bytea[],
    p_contents         bytea[]
) RETURNS TABLE (subject text, key_id bytea, wrapped bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    unknown text[];
BEGIN
    SELECT array_agg(w.subject) INTO unknown FROM unnest(p_subjects) AS w (subject)
     WHERE NOT EXISTS (SELECT FROM ledger.personal_keys k WHERE k.ledger_id = p_ledger AND k.subject = w.subject);
    IF unknown IS NOT NULL AND EXISTS (SELECT FROM ledger.erasures e WHERE e.ledger_id = p_ledger) THEN
        WITH redelivered AS MATERIALIZED (
            SELECT e.delivery
              FROM unnest(p_event_deliveries, p_event_keys, p_contents) AS e (delivery, event_key, content)
             GROUP BY e.delivery
            HAVING bool_and(ledger.forgotten_event(p_ledger, e.event_key, e.content) IS NOT NULL)
        ),
        forgotten AS MATERIALIZED (
            SELECT p.subject FROM unnest(p_part_subjects, p_part_deliveries) AS p (subject, delivery)
              LEFT JOIN redelivered r ON r.delivery = p.delivery
             GROUP BY p.subject HAVING bool_and(r.delivery IS NOT NULL)
        )
        SELECT array_agg(u.subject) INTO unknown
          FROM unnest(unknown) AS u (subject) LEFT JOIN forgotten f ON f.subject = u.subject WHERE f.subject IS NULL;
    END IF;
    IF unknown IS NOT NULL THEN
        INSERT INTO ledger.personal_keys (ledger_id, subject, key_id, wrapped)
        SELECT p_ledger, w.subject, w.key_id, w.wrapped
          FROM unnest(p_subjects, p_key_ids, p_wrapped) AS w (subject, key_id, wrapped)
         WHERE w.subject = ANY (unknown)
         ORDER BY w.subject
            ON CONFLICT DO NOTHING;
    END IF;
    RETURN QUERY SELECT k.subject, k.key_id, k.wrapped FROM ledger.personal_keys k
                  WHERE k.ledger_id = p_ledger AND k.subject = ANY (p_subjects);
END $$;
REVOKE ALL ON FUNCTION ledger.person_keys, ledger.forgotten_event FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.person_keys TO loyalty_ingest;

-- Append events to one ledger, in the order given. One call is one transaction and one fsync for all of them.
--
-- The first statement takes the ledger's lock; each later one sees, on a fresh READ COMMITTED snapshot, all that was
-- committed before the lock was granted. So positions are dense, commit order is position order, and a reader needs
-- nothing but "position > n". What is already there by event key and variant is not written again: it is answered
-- with its position. The same key with another variant is a conflict: written under its key and variant together. But
-- where only personal values could differ and one of those persons has been forgotten since, nobody can tell whether
-- they do: that is a redelivery, of the first event or of one in conflict with it.
--
-- p_payloads holds one body a delivery; p_deliveries, p_part_deliveries and p_blind_deliveries say, from 1, which one an
-- event, a sealed part or an identifier came in. The entry is the caller's head and tail around the position and the
-- recorded time, which only the lock can give. p_erasures is how many erasures the caller's keys take into account.
CREATE OR REPLACE FUNCTION ledger.append(
    p_ledger      int,
    p_connections text[],
    p_sources     text[],
    p_orgs        text[],
    p_kinds       text[],
    p_event_keys  bytea[],
    p_contents    bytea[],
    p_variants    bytea[],
    p_occurred    timestamptz[],
    p_deliveries  int[],
    p_ordinals    int[],
    p_entry_heads text[],
    p_entry_tails text[],
    p_payloads    bytea[],
    p_erasures         int,
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
-- To plan anew at each call cost as much as ten events, and a plan kept from when the ledger was empty might read all of
-- it ever after. So each look-up asks for an order in which only one index reads, the right one, and nothing else is
-- let compete with it: not sorting, and in what this calls not reading a whole table either. Sorting is still done
-- where nothing else will do, at a made-up cost that must not set the compiler off.
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    tail_position bigint;
    tail_recorded timestamptz;
    recorded      timestamptz;
    recorded_text text;
    store_keys    bytea[];    -- of each event: its key, or as a conflict its key and variant
    positions     bigint[];   -- where it stands
    fresh         bigint[];   -- the same, null unless it is new
    outcomes      text[];
    bodies        bigint[];   -- of each delivery: where its body stands, null unless an event of it is new
BEGIN
    PERFORM pg_advisory_xact_lock(1819239276, p_ledger);  -- 'loyl'
    SELECT e.position, e.recorded_at INTO tail_position, tail_recorded
      FROM ledger.events e WHERE e.ledger_id = p_ledger ORDER BY e.position DESC LIMIT 1;
    IF tail_position IS NULL AND NOT EXISTS (SELECT FROM ledger.ledgers l WHERE l.ledger_id = p_ledger) THEN
        RAISE EXCEPTION 'no such ledger' USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF p_erasures <> coalesce((SELECT e.erasure FROM ledger.erasures e
                                WHERE e.ledger_id = p_ledger ORDER BY e.erasure DESC LIMIT 1), 0) THEN
        RAISE EXCEPTION 'a person has been forgotten since the keys were read' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    tail_position := coalesce(tail_position, 0);
    -- Never backwards, so that "what we knew at a time" is a position.
    recorded := greatest(clock_timestamp(), tail_recorded);
    recorded_text := to_char(recorded AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
    WITH told AS MATERIALIZED (  -- what the plain key stands for: in the ledger already, or else first in this call
        SELECT i.n::int AS n, i.event_key, i.content, i.variant, i.delivery, known.position AS known_position,
               coalesce(known.variant, first_value(i.variant) OVER (PARTITION BY i.event_key ORDER BY i.n))
                   AS first_variant,
               known.content IS NOT DISTINCT FROM i.content AND known.variant <> i.variant
                   AND ledger.is_forgotten(p_ledger, known.delivery_position) AS cannot_tell
          FROM unnest(p_event_keys, p_contents, p_variants, p_deliveries)
               WITH ORDINALITY AS i (event_key, content, variant, delivery, n)
          LEFT JOIN LATERAL (SELECT e.position, e.content, e.variant, e.delivery_position FROM ledger.events e
                              WHERE e.ledger_id = p_ledger AND e.event_key BETWEEN i.event_key AND i.event_key
                              ORDER BY e.event_key LIMIT 1) known ON true
    ),
    keyed AS MATERIALIZED (
        SELECT t.n, t.delivery, false AS in_conflict, t.event_key AS store_key, t.known_position
          FROM told t WHERE t.variant = t.first_variant OR t.cannot_tell
        UNION ALL
        SELECT t.n, t.delivery, true, t.event_key || t.variant,
               coalesce((SELECT e.position FROM ledger.events e
                          WHERE e.ledger_id = p_ledger
                            AND e.event_key BETWEEN t.event_key || t.variant AND t.event_key || t.variant
                          ORDER BY e.event_key LIMIT 1),
                        CASE WHEN p_erasures > 0 AND t.variant <> t.content
                             THEN ledger.forgotten_event(p_ledger, t.event_key, t.content) END)
          FROM told t WHERE t.variant <> t.first_variant AND NOT t.cannot_tell
    ),
    placed AS MATERIALIZED (
        SELECT k.*, k.known_position IS NULL
                    AND row_number() OVER (PARTITION BY k.store_key ORDER BY k.n) = 1 AS is_new
          FROM keyed k
    ),
    numbered AS MATERIALIZED (
        SELECT p.*, CASE WHEN p.is_new
                         THEN tail_position + count(*) FILTER (WHERE p.is_new) OVER (ORDER BY p.n) END AS new_position
          FROM placed p
    )
    SELECT array_agg(p.store_key ORDER BY p.n),
           array_agg(coalesce(p.known_position, p.key_position) ORDER BY p.n),
           array_agg(p.new_position ORDER BY p.n),
           array_agg(CASE WHEN NOT p.is_new THEN 'duplicate' WHEN p.in_conflict THEN 'conflict' ELSE 'appended' END
                     ORDER BY p.n)
      INTO store_keys, positions, fresh, outcomes
      FROM (SELECT f.*, max(f.new_position) OVER (PARTITION BY f.store_key) AS key_position FROM numbered f) p;
    SELECT array_agg(d.body ORDER BY d.delivery) INTO bodies
      FROM (SELECT u.delivery, min(u.new_position) AS body
              FROM unnest(p_deliveries, fresh) AS u (delivery, new_position) GROUP BY u.delivery) d;

    INSERT INTO ledger.events (ledger_id, position, connection_id, source, org, kind, event_key, content, variant,
                               occurred_at, recorded_at, delivery_position, ordinal, payload, entry, leaf_hash)
    SELECT p_ledger, e.position, e.connection_id, e.source, e.org, e.kind, e.store_key, e.content, e.variant,
           e.occurred_at, recorded, bodies[e.delivery], e.ordinal,
           CASE WHEN e.position = bodies[e.delivery] THEN p_payloads[e.delivery] END,
           e.entry, sha256('\x00'::bytea || e.entry)
      FROM (SELECT u.*, convert_to(u.head || u.position || ',"recorded_at":"' || recorded_text || '",' || u.tail, 'UTF8')
                        AS entry
              FROM unnest(fresh, store_keys, p_connections, p_sources, p_orgs, p_kinds, p_contents, p_variants,
                          p_occurred, p_deliveries, p_ordinals, p_entry_heads, p_entry_tails)
                   AS u (position, store_key, connection_id, source, org, kind, content, variant,
                         occurred_at, delivery, ordinal, head, tail)
             WHERE u.position IS NOT NULL OFFSET 0) e;

    INSERT INTO ledger.personal (ledger_id, position, subject, key_id, ciphertext, commitment)
    SELECT p_ledger, bodies[u.delivery], u.subject, u.key_id, u.ciphertext, u.commitment
      FROM unnest(p_part_deliveries, p_part_subjects, p_part_key_ids, p_part_ciphertexts, p_part_commitments)
           AS u (delivery, subject, key_id, ciphertext, commitment)
     WHERE bodies[u.delivery] IS NOT NULL;

    INSERT INTO ledger.personal_index (ledger_id, blind, subject)
    SELECT p_ledger, u.blind, u.subject FROM unnest(p_blind_deliveries, p_blind_subjects, p_blinds)
           AS u (delivery, subject, blind)
     WHERE bodies[u.delivery] IS NOT NULL
        ON CONFLICT DO NOTHING;

    RETURN QUERY SELECT u.n::int, u.position, u.outcome
                   FROM unnest(positions, outcomes) WITH ORDINALITY AS u (position, outcome, n);
END $$;
