-- The Merkle tree over the entries of each ledger, the heads of it that were signed, and by whom. All of it is only ever
-- added to, and all but the signatures can be derived from ledger.events again.

-- As which log a ledger is known outside. A further row begins a new log, where the old one cannot be continued.
CREATE TABLE ledger.logs (
    ledger_id  int NOT NULL,
    log        int NOT NULL,
    origin     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ledger_id, log)
);

-- The public keys that ever signed for a log, as name+id+base64. They verify what they signed for ever.
CREATE TABLE ledger.log_keys (
    ledger_id int NOT NULL,
    log       int NOT NULL,
    key       text NOT NULL,
    added_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ledger_id, log, key)
);

-- Full tiles: 256 hashes of a level, and the root over them, which is a hash of the next level. Partial tiles are not
-- kept: at level 0 they are the leaves behind the last full tile, above it the roots behind the last full tile.
CREATE TABLE ledger.tiles (
    ledger_id int NOT NULL,
    level     smallint NOT NULL CHECK (level BETWEEN 0 AND 63),
    number    bigint NOT NULL CHECK (number >= 0),
    hashes    bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    root      bytea NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (ledger_id, level, number)
);
ALTER TABLE ledger.tiles ALTER hashes SET STORAGE EXTERNAL;

CREATE TABLE ledger.checkpoints (
    ledger_id  int NOT NULL,
    checkpoint bigint NOT NULL,
    log        int NOT NULL,
    size       bigint NOT NULL,
    root       bytea NOT NULL,
    note       bytea NOT NULL,  -- as it was signed, byte for byte
    signed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (ledger_id, checkpoint)
);

-- What witnesses said of a checkpoint: a line of a signature each.
CREATE TABLE ledger.cosignatures (
    ledger_id    int NOT NULL,
    checkpoint   bigint NOT NULL,
    witness      text NOT NULL,
    line         text NOT NULL,
    cosigned_at  timestamptz NOT NULL,
    collected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (ledger_id, checkpoint, witness)
);

-- Why nothing was signed. The last one is what is the matter, unless a checkpoint was signed since.
CREATE TABLE ledger.seal_problems (
    ledger_id int NOT NULL,
    problem   bigint NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind      text NOT NULL,
    detail    text NOT NULL,
    PRIMARY KEY (ledger_id, problem)
);

-- Addresses at which a log is read without a key, by whoever knows them.
CREATE TABLE ledger.public_logs (
    ledger_id    int NOT NULL,
    token        text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    withdrawn_at timestamptz,
    PRIMARY KEY (ledger_id, token)
);
CREATE UNIQUE INDEX public_logs_by_token ON ledger.public_logs (token);

DO $$
DECLARE
    kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['logs', 'log_keys', 'tiles', 'checkpoints', 'cosignatures', 'seal_problems'] LOOP
        EXECUTE format('CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON ledger.%I FOR EACH ROW EXECUTE FUNCTION ledger.refuse()', kept);
        EXECUTE format('CREATE TRIGGER is_not_truncated BEFORE TRUNCATE ON ledger.%I FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse()', kept);
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER stays, ENABLE ALWAYS TRIGGER is_not_truncated', kept);
    END LOOP;
END $$;

GRANT SELECT, INSERT ON ledger.logs, ledger.log_keys, ledger.tiles, ledger.checkpoints, ledger.cosignatures,
    ledger.seal_problems TO loyalty_service;
GRANT SELECT, INSERT, UPDATE ON ledger.public_logs TO loyalty_service;
