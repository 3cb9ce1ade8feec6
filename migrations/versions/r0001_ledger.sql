-- The truth. Every key begins with the ledger; nothing crosses ledgers: no sequence, foreign key or transaction does.

CREATE SCHEMA ledger;

CREATE TABLE ledger.ledgers (
    ledger_id  int PRIMARY KEY,
    name       text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- One configured inbound webhook. The id is unguessable and fixes the ledger; the secrets are sealed by the master key.
CREATE TABLE ledger.connections (
    ledger_id     int NOT NULL,
    connection_id text NOT NULL,
    source        text NOT NULL,
    kind          text,
    scheme        text NOT NULL,
    header        text NOT NULL,
    secrets       bytea[] NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz,
    PRIMARY KEY (ledger_id, connection_id)
);
CREATE UNIQUE INDEX connections_by_id ON ledger.connections (connection_id);

-- Keys of our own callers: shown once, kept as a hash.
CREATE TABLE ledger.api_keys (
    ledger_id   int NOT NULL,
    key_id      text NOT NULL,
    secret_hash bytea NOT NULL,
    scopes      text[] NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz,
    PRIMARY KEY (ledger_id, key_id)
);
CREATE UNIQUE INDEX api_keys_by_id ON ledger.api_keys (key_id);

CREATE TABLE ledger.events (
    ledger_id         int NOT NULL,
    position          bigint NOT NULL CHECK (position > 0),
    connection_id     text NOT NULL,
    source            text NOT NULL,
    org               text NOT NULL,
    kind              text NOT NULL,
    event_key         bytea NOT NULL,  -- 16 bytes; 32 for a conflict: the key of its twin, then its own content
    content           bytea NOT NULL,  -- 16 bytes: a hash of what the event says, dispatch and personal values aside
    variant           bytea NOT NULL,  -- 16 bytes: the content, or a hash of it and the commitment to the personal part
    occurred_at       timestamptz,     -- null when the vendor's time is missing or cannot be true
    recorded_at       timestamptz NOT NULL,
    delivery_position bigint NOT NULL, -- where the delivered body stands
    ordinal           int NOT NULL,    -- which event of the delivery this is, from 0
    payload           bytea,           -- null when it stands at delivery_position
    entry             bytea NOT NULL CHECK (octet_length(entry) < 65536),
    leaf_hash         bytea NOT NULL,
    PRIMARY KEY (ledger_id, position),
    UNIQUE (ledger_id, event_key)
) WITH (toast_tuple_target = 8160);
-- Payloads of a few kilobytes stay in the row, and nothing is compressed: pglz costs three times what it saves.
ALTER TABLE ledger.events ALTER payload SET STORAGE EXTERNAL, ALTER entry SET STORAGE EXTERNAL;
CREATE INDEX events_by_kind ON ledger.events (ledger_id, kind, position);
CREATE INDEX events_in_conflict ON ledger.events (ledger_id, position) WHERE octet_length(event_key) > 16;

-- What was cut out of a delivery, sealed for each person under a key of that person. The entry commits to it.
CREATE TABLE ledger.personal (
    ledger_id  int NOT NULL,
    position   bigint NOT NULL,  -- where the delivered body stands
    subject    text NOT NULL,
    key_id     bytea NOT NULL,
    ciphertext bytea NOT NULL,
    commitment bytea NOT NULL,   -- HMAC-SHA-256 of what was cut out, under a key derived from the person's
    PRIMARY KEY (ledger_id, position, subject)
);
ALTER TABLE ledger.personal ALTER ciphertext SET STORAGE EXTERNAL;

-- The key of each person, wrapped by the master key. To forget a person is to delete one row here.
CREATE TABLE ledger.personal_keys (
    ledger_id  int NOT NULL,
    subject    text NOT NULL,
    key_id     bytea NOT NULL,
    wrapped    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ledger_id, subject)
);

-- By what a person may be looked up: keyed hashes of e-mail addresses and the like. Deleted with the person's key.
CREATE TABLE ledger.personal_index (
    ledger_id int NOT NULL,
    blind     bytea NOT NULL,
    subject   text NOT NULL,
    PRIMARY KEY (ledger_id, blind, subject)
);
CREATE INDEX personal_index_of ON ledger.personal_index (ledger_id, subject);

-- One row for each act of forgetting, so that whoever remembers keys can tell that some are gone.
CREATE TABLE ledger.erasures (
    ledger_id int NOT NULL,
    erasure   int NOT NULL,
    subject   text NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ledger_id, erasure)
);

-- How conflicts are settled where the default, earliest, is not wanted.
CREATE TABLE ledger.conflict_policies (
    ledger_id int NOT NULL,
    source    text NOT NULL,
    kind      text NOT NULL,
    policy    text NOT NULL,
    PRIMARY KEY (ledger_id, source, kind)
);

-- Who looked at what was sealed, and why. Written before it is shown.
CREATE TABLE ledger.access (
    ledger_id int NOT NULL,
    access    bigint NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    key_id    text NOT NULL,
    what      text NOT NULL,
    why       text NOT NULL,
    PRIMARY KEY (ledger_id, access)
);

-- Say whether a part of a delivery can be opened by nobody any more.
CREATE FUNCTION ledger.is_forgotten(p_ledger int, p_position bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM ledger.personal p
                    WHERE p.ledger_id = p_ledger AND p.position = p_position
                      AND NOT EXISTS (SELECT FROM ledger.personal_keys k
                                       WHERE k.ledger_id = p.ledger_id AND k.subject = p.subject
                                         AND k.key_id = p.key_id))
$$;

-- Append events to one ledger, in the order given. One call is one transaction and one fsync for all of them.
--
-- The first statement takes the ledger's lock; each later one sees, on a fresh READ COMMITTED snapshot, all that was
-- committed before the lock was granted. So positions are dense, commit order is position order, and a reader needs
-- nothing but "position > n". What is already there by event key and variant is not written again: it is answered
-- with its position. The same key with another variant is a conflict: written under its key and variant together. But
-- where only personal values could differ and one of those persons has been forgotten since, nobody can tell whether
-- they do: that is a redelivery.
--
-- p_payloads holds one body a delivery; p_deliveries, p_part_deliveries and p_blind_deliveries say, from 1, which one an
-- event, a sealed part or an identifier came in. The entry is the caller's head and tail around the position and the
-- recorded time, which only the lock can give. p_erasures is how many erasures the caller's keys take into account.
CREATE FUNCTION ledger.append(
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
-- A look-up is planned anew at each call: a plan kept from when the ledger was empty would read all of it. What is
-- written needs no look-up, and its plan is kept: each new one would copy every array.
SET plan_cache_mode = force_custom_plan
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
    IF p_erasures <> (SELECT coalesce(max(e.erasure), 0) FROM ledger.erasures e WHERE e.ledger_id = p_ledger) THEN
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
                              WHERE e.ledger_id = p_ledger AND e.event_key = i.event_key OFFSET 0) known ON true
    ),
    keyed AS MATERIALIZED (
        SELECT t.n, t.delivery, false AS in_conflict, t.event_key AS store_key, t.known_position
          FROM told t WHERE t.variant = t.first_variant OR t.cannot_tell
        UNION ALL
        SELECT t.n, t.delivery, true, t.event_key || t.variant,
               (SELECT e.position FROM ledger.events e
                 WHERE e.ledger_id = p_ledger AND e.event_key = t.event_key || t.variant)
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

    PERFORM set_config('plan_cache_mode', 'force_generic_plan', true);
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

-- Forget a person: destroy the key of every part sealed for them, and what they could be looked up by. Give whether there
-- was anything to destroy.
CREATE FUNCTION ledger.forget(p_ledger int, p_subject text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    destroyed boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(1819239276, p_ledger);
    DELETE FROM ledger.personal_keys k WHERE k.ledger_id = p_ledger AND k.subject = p_subject;
    destroyed := FOUND;
    DELETE FROM ledger.personal_index i WHERE i.ledger_id = p_ledger AND i.subject = p_subject;
    destroyed := destroyed OR FOUND;
    IF destroyed THEN
        INSERT INTO ledger.erasures (ledger_id, erasure, subject)
        SELECT p_ledger, coalesce(max(e.erasure), 0) + 1, p_subject FROM ledger.erasures e WHERE e.ledger_id = p_ledger;
    END IF;
    RETURN destroyed;
END $$;

CREATE FUNCTION ledger.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % on %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- What is written stays. Keys of persons, and what they are looked up by, may go, and nothing else may happen to them.
DO $$
DECLARE
    kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['events', 'ledgers', 'personal', 'erasures', 'access'] LOOP
        EXECUTE format('CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON ledger.%I FOR EACH ROW EXECUTE FUNCTION ledger.refuse()', kept);
    END LOOP;
    FOREACH kept IN ARRAY ARRAY['personal_keys', 'personal_index'] LOOP
        EXECUTE format('CREATE TRIGGER stays BEFORE UPDATE ON ledger.%I FOR EACH ROW EXECUTE FUNCTION ledger.refuse()', kept);
    END LOOP;
    FOREACH kept IN ARRAY ARRAY['events', 'ledgers', 'personal', 'erasures', 'access', 'personal_keys', 'personal_index'] LOOP
        EXECUTE format('CREATE TRIGGER is_not_truncated BEFORE TRUNCATE ON ledger.%I FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse()', kept);
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER stays, ENABLE ALWAYS TRIGGER is_not_truncated', kept);
    END LOOP;
END $$;

-- The built copies of the views. A copy is one schema and holds its own checkpoints, so that it lives, is swapped and
-- is dropped as a whole; the schema named "live" is the one that readers see.
CREATE SCHEMA projections;
CREATE TABLE projections.generations (
    generation  int PRIMARY KEY,
    schema_name text NOT NULL UNIQUE,
    versions    jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    promoted_at timestamptz
);

-- The role of the service. Make the login role of `loyalty serve` and `loyalty project` a member of it, nothing more.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'loyalty_service') THEN
        CREATE ROLE loyalty_service NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this cluster was quicker
END $$;
REVOKE ALL ON FUNCTION ledger.append, ledger.forget, ledger.is_forgotten FROM PUBLIC;
GRANT USAGE ON SCHEMA ledger TO loyalty_service;
GRANT EXECUTE ON FUNCTION ledger.append, ledger.forget TO loyalty_service;
GRANT SELECT ON ledger.ledgers, ledger.events, ledger.personal, ledger.erasures TO loyalty_service;
GRANT SELECT, INSERT ON ledger.personal_keys, ledger.personal_index, ledger.access TO loyalty_service;
GRANT SELECT, INSERT, UPDATE ON ledger.conflict_policies TO loyalty_service;
GRANT SELECT, INSERT, UPDATE ON ledger.connections, ledger.api_keys TO loyalty_service;
GRANT INSERT ON ledger.ledgers TO loyalty_service;
GRANT USAGE ON SCHEMA projections TO loyalty_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON projections.generations TO loyalty_service;
GRANT SELECT ON public.alembic_version TO loyalty_service;
DO $$ BEGIN
    EXECUTE format('GRANT CREATE ON DATABASE %I TO loyalty_service', current_database());
END $$;
