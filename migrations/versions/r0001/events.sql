-- The events: one row for each event that a vendor reported or this system recorded.

CREATE TABLE ledger.events (
    ledger_id         int NOT NULL,
    position          bigint NOT NULL CHECK (position > 0),
    connection_id     text NOT NULL,
    source            text NOT NULL,   -- the vendor
    org               text NOT NULL,   -- the vendor's own tenant
    kind              text NOT NULL,
    event_key         bytea NOT NULL,  -- 16 bytes; 32 for a conflict: the key, then the variant
    content           bytea NOT NULL,  -- 16 bytes: a hash of the meaningful fields, without dispatch times and personal values
    variant           bytea NOT NULL,  -- 16 bytes: the content, or a hash of it and of a keyed fingerprint of the personal values
    occurred_at       timestamptz,     -- null if the vendor's time is missing or impossible
    recorded_at       timestamptz NOT NULL,
    delivery_position bigint NOT NULL, -- the event that holds the delivered body: this one, or another of the delivery
    ordinal           int NOT NULL,    -- index of the event in its delivery, from 0
    payload           bytea,           -- the body; null if it is at delivery_position
    entry             bytea NOT NULL CHECK (octet_length(entry) < 65536),  -- the JSON document that is hashed
    leaf_hash         bytea NOT NULL,  -- SHA-256(0x00 || entry), RFC 6962
    PRIMARY KEY (ledger_id, position),
    UNIQUE (ledger_id, event_key)
) WITH (toast_tuple_target = 8160);
-- Payloads of a few kilobytes stay in the row. Nothing is compressed: pglz costs three times what it saves.
ALTER TABLE ledger.events ALTER payload SET STORAGE EXTERNAL, ALTER entry SET STORAGE EXTERNAL;

CREATE INDEX events_by_kind ON ledger.events (ledger_id, kind, position);
CREATE INDEX events_in_conflict ON ledger.events (ledger_id, position) WHERE octet_length(event_key) > 16;
-- To notice that a connection has fallen silent. The events of one kind and connection are recorded in order, so the
-- index grows at a few right edges, which is cheap.
CREATE INDEX events_by_connection ON ledger.events (ledger_id, connection_id, kind, recorded_at);

SELECT ledger.make_append_only('ledger.events');
SELECT ledger.enable_tenant_isolation('ledger.events');
