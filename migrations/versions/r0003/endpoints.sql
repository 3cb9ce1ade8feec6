-- Outgoing webhooks: endpoints of receivers, the position that each has reached, and the log of attempts. These rows are
-- configuration and state of the sender. They are no part of the ledger: no event and no balance depends on them.

CREATE SCHEMA outgoing;

-- One receiver. It gets the messages of one ledger. Its URL, types and secrets never change but by a rotation.
CREATE TABLE outgoing.endpoints (
    ledger_id          int NOT NULL,
    endpoint_id        text NOT NULL,
    label              text NOT NULL DEFAULT '',  -- a name for people
    url                text NOT NULL,
    types              text[] NOT NULL,           -- the types of messages that it gets
    kinds              text[] NOT NULL,           -- of facts; empty means all
    events_per_request int NOT NULL CHECK (events_per_request BETWEEN 1 AND 1000),
    notice_days        int NOT NULL CHECK (notice_days BETWEEN 1 AND 366),
    secrets            bytea[] NOT NULL,          -- encrypted under the master key; two while a secret is replaced
    created_at         timestamptz NOT NULL,
    disabled_at        timestamptz,
    mac                bytea NOT NULL,            -- over the other columns, under the master key
    PRIMARY KEY (ledger_id, endpoint_id)
);
CREATE UNIQUE INDEX endpoints_by_id ON outgoing.endpoints (endpoint_id);

-- The state of the sender about one endpoint. Everything up to `position` is delivered, and `ordinal` messages of the
-- event after it.
CREATE TABLE outgoing.cursors (
    ledger_id     int NOT NULL,
    endpoint_id   text NOT NULL,
    position      bigint NOT NULL,
    ordinal       int NOT NULL DEFAULT 0,
    changes       bigint NOT NULL DEFAULT 0,  -- a sender that has read an older number writes nothing
    resets        int NOT NULL DEFAULT 0,     -- changes by an operator; a running sender then begins again
    attempts      bigint NOT NULL DEFAULT 0,  -- the number of the last attempt
    succeeded     bigint NOT NULL DEFAULT 0,  -- attempts
    failures      int NOT NULL DEFAULT 0,     -- attempts in a row
    failing_since timestamptz,
    retry_at      timestamptz,
    stop_reason   text,                       -- why the sender disabled the endpoint: gone, failing
    PRIMARY KEY (ledger_id, endpoint_id)
);

-- The log of attempts, cut to the newest of each endpoint. It holds no body of a message.
CREATE TABLE outgoing.attempts (
    ledger_id    int NOT NULL,
    endpoint_id  text NOT NULL,
    attempt      bigint NOT NULL,  -- 1, 2, 3 ...
    at           timestamptz NOT NULL,
    message_id   text NOT NULL,    -- the header webhook-id
    events       int NOT NULL,     -- CloudEvents in the request
    first_id     text NOT NULL,    -- the id of the first CloudEvent
    last_id      text NOT NULL,
    outcome      text NOT NULL,
    status       int,              -- of the answer; NULL without one
    milliseconds int NOT NULL,
    detail       text NOT NULL,    -- why there was no answer, or the begin of an answer that refuses
    PRIMARY KEY (ledger_id, endpoint_id, attempt)
);

-- Notices that the clock causes, such as points that will lapse. Each was delivered once, and is kept until its day.
CREATE TABLE outgoing.notices (
    ledger_id   int NOT NULL,
    endpoint_id text NOT NULL,
    type        text NOT NULL,
    subject     text NOT NULL,
    due_at      timestamptz,       -- after it the row is removed; NULL: it is kept until the subject is closed
    PRIMARY KEY (ledger_id, endpoint_id, type, subject)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['endpoints', 'cursors', 'attempts', 'notices'] LOOP
        PERFORM ledger.enable_tenant_isolation(format('outgoing.%I', name)::regclass);
    END LOOP;
END $$;
