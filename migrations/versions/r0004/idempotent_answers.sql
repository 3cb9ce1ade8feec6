-- The answers to changes that were asked for with an Idempotency-Key. A repeated request gets the same answer.

CREATE TABLE ledger.idempotent_answers (
    ledger_id    int NOT NULL,
    key_hash     bytea NOT NULL,  -- keyed hash of the Idempotency-Key
    request_hash bytea NOT NULL,  -- keyed hash of the method, the path, the parameters and the body
    answered_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    status       smallint NOT NULL,
    body         bytea NOT NULL,  -- encrypted under the master key
    PRIMARY KEY (ledger_id, key_hash)
);
SELECT ledger.make_append_only('ledger.idempotent_answers');
SELECT ledger.enable_tenant_isolation('ledger.idempotent_answers');
