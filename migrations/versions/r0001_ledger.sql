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
    content           bytea NOT NULL,  -- 16 bytes: a hash of what the event says, dispatch aside
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

-- Append events to one ledger, in the order given. One call is one transaction and one fsync for all of them.
--
-- The first statement takes the ledger's lock; each later one sees, on a fresh READ COMMITTED snapshot, all that was
-- committed before the lock was granted. So positions are dense, commit order is position order, and a reader needs
-- nothing but "position > n". What is already there by event key and content is not written again: it is answered
-- with its position. The same key with other content is a conflict: written under its key and content together.
--
-- p_payloads holds one body a delivery; p_deliveries says, from 1, which one an event came in. The entry is the
-- caller's head and tail around the position and the recorded time, which only the lock can give.
CREATE FUNCTION ledger.append(
    p_ledger      int,
    p_connections text[],
    p_sources     text[],
    p_orgs        text[],
    p_kinds       text[],
    p_event_keys  bytea[],
    p_contents    bytea[],
    p_occurred    timestamptz[],
    p_deliveries  int[],
    p_ordinals    int[],
    p_entry_heads text[],
    p_entry_tails text[],
    p_payloads    bytea[]
) RETURNS TABLE (n int, "position" bigint, outcome text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- A plan made while the ledger was small must not scan it when it is large.
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    tail_position bigint;
    tail_recorded timestamptz;
    recorded      timestamptz;
    recorded_text text;
BEGIN
    PERFORM pg_advisory_xact_lock(1819239276, p_ledger);  -- 'loyl'
    SELECT e.position, e.recorded_at INTO tail_position, tail_recorded
      FROM ledger.events e WHERE e.ledger_id = p_ledger ORDER BY e.position DESC LIMIT 1;
    IF tail_position IS NULL AND NOT EXISTS (SELECT FROM ledger.ledgers l WHERE l.ledger_id = p_ledger) THEN
        RAISE EXCEPTION 'no such ledger' USING ERRCODE = 'foreign_key_violation';
    END IF;
    tail_position := coalesce(tail_position, 0);
    -- Never backwards, so that "what we knew at a time" is a position.
    recorded := greatest(clock_timestamp(), tail_recorded);
    recorded_text := to_char(recorded AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
    RETURN QUERY
    WITH told AS MATERIALIZED (  -- what the plain key stands for: in the ledger already, or else first in this call
        SELECT i.n::int AS n, i.event_key, i.content, i.delivery, known.position AS known_position,
               coalesce(known.content, first_value(i.content) OVER (PARTITION BY i.event_key ORDER BY i.n))
                   AS first_content
          FROM unnest(p_event_keys, p_contents, p_deliveries) WITH ORDINALITY AS i (event_key, content, delivery, n)
          LEFT JOIN LATERAL (SELECT e.position, e.content FROM ledger.events e
                              WHERE e.ledger_id = p_ledger AND e.event_key = i.event_key OFFSET 0) known ON true
    ),
    keyed AS MATERIALIZED (
        SELECT t.n, t.delivery, false AS in_conflict, t.event_key AS store_key, t.known_position
          FROM told t WHERE t.content = t.first_content
        UNION ALL
        SELECT t.n, t.delivery, true, t.event_key || t.content,
               (SELECT e.position FROM ledger.events e
                 WHERE e.ledger_id = p_ledger AND e.event_key = t.event_key || t.content)
          FROM told t WHERE t.content <> t.first_content
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
    ),
    entered AS MATERIALIZED (
        SELECT f.n, f.delivery, f.store_key, f.new_position,
               min(f.new_position) OVER (PARTITION BY f.delivery) AS body_position,
               convert_to(p_entry_heads[f.n] || f.new_position || ',"recorded_at":"' || recorded_text || '",'
                          || p_entry_tails[f.n], 'UTF8') AS entry
          FROM numbered f WHERE f.is_new
    ),
    written AS (
        INSERT INTO ledger.events (ledger_id, position, connection_id, source, org, kind, event_key, content,
                                   occurred_at, recorded_at, delivery_position, ordinal, payload, entry, leaf_hash)
        SELECT p_ledger, t.new_position, p_connections[t.n], p_sources[t.n], p_orgs[t.n], p_kinds[t.n], t.store_key,
               p_contents[t.n], p_occurred[t.n], recorded, t.body_position, p_ordinals[t.n],
               CASE WHEN t.new_position = t.body_position THEN p_payloads[t.delivery] END,
               t.entry, sha256('\x00'::bytea || t.entry)
          FROM entered t ORDER BY t.new_position
    )
    SELECT p.n, coalesce(p.known_position, max(p.new_position) OVER (PARTITION BY p.store_key)),
           CASE WHEN NOT p.is_new THEN 'duplicate' WHEN p.in_conflict THEN 'conflict' ELSE 'appended' END
      FROM numbered p ORDER BY p.n;
END $$;

CREATE FUNCTION ledger.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % on %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER events_stay BEFORE UPDATE OR DELETE ON ledger.events
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER events_are_not_truncated BEFORE TRUNCATE ON ledger.events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER ledgers_stay BEFORE UPDATE OR DELETE ON ledger.ledgers
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER ledgers_are_not_truncated BEFORE TRUNCATE ON ledger.ledgers
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse();
ALTER TABLE ledger.events ENABLE ALWAYS TRIGGER events_stay, ENABLE ALWAYS TRIGGER events_are_not_truncated;
ALTER TABLE ledger.ledgers ENABLE ALWAYS TRIGGER ledgers_stay, ENABLE ALWAYS TRIGGER ledgers_are_not_truncated;

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
REVOKE ALL ON FUNCTION ledger.append FROM PUBLIC;
GRANT USAGE ON SCHEMA ledger TO loyalty_service;
GRANT EXECUTE ON FUNCTION ledger.append TO loyalty_service;
GRANT SELECT ON ledger.ledgers, ledger.events TO loyalty_service;
GRANT SELECT, INSERT, UPDATE ON ledger.connections, ledger.api_keys TO loyalty_service;
GRANT INSERT ON ledger.ledgers TO loyalty_service;
GRANT USAGE ON SCHEMA projections TO loyalty_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON projections.generations TO loyalty_service;
GRANT SELECT ON public.alembic_version TO loyalty_service;
DO $$ BEGIN
    EXECUTE format('GRANT CREATE ON DATABASE %I TO loyalty_service', current_database());
END $$;
