-- The Merkle tree over the entries of each ledger, and its signed heads. All but signatures, witness lines and
-- configuration can be derived from ledger.events.

-- The name under which a ledger's log is known outside. A further row begins a new log, if the old one cannot continue.
CREATE TABLE ledger.logs (
    ledger_id  int NOT NULL,
    log        int NOT NULL,
    origin     text NOT NULL,  -- the first line of the log's checkpoints
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ledger_id, log)
);

-- The public keys that ever signed for a log, as name+id+base64. They verify their signatures for ever.
CREATE TABLE ledger.log_keys (
    ledger_id int NOT NULL,
    log       int NOT NULL,
    key       text NOT NULL,
    added_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ledger_id, log, key)
);

-- Full tiles: 256 hashes of a level, and the root over them, which is a hash of the next level. Partial tiles are not
-- stored. At level 0 they are the leaves after the last full tile, above it the roots after the last full tile.
CREATE TABLE ledger.tiles (
    ledger_id int NOT NULL,
    level     smallint NOT NULL CHECK (level BETWEEN 0 AND 63),
    number    bigint NOT NULL CHECK (number >= 0),
    hashes    bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    root      bytea NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (ledger_id, level, number)
);
ALTER TABLE ledger.tiles ALTER hashes SET STORAGE EXTERNAL;

-- Signed tree heads.
CREATE TABLE ledger.checkpoints (
    ledger_id  int NOT NULL,
    checkpoint bigint NOT NULL,
    log        int NOT NULL,
    size       bigint NOT NULL,
    root       bytea NOT NULL,
    note       bytea NOT NULL,  -- the signed note, byte for byte
    signed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (ledger_id, checkpoint)
);

-- Signatures of witnesses on a checkpoint: one line of the note each.
CREATE TABLE ledger.cosignatures (
    ledger_id    int NOT NULL,
    checkpoint   bigint NOT NULL,
    witness      text NOT NULL,
    line         text NOT NULL,
    cosigned_at  timestamptz NOT NULL,
    collected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (ledger_id, checkpoint, witness)
);

-- Reasons why nothing was signed. The last row is the current problem, unless a checkpoint was signed since.
CREATE TABLE ledger.seal_problems (
    ledger_id int NOT NULL,
    problem   bigint NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind      text NOT NULL,
    detail    text NOT NULL,
    PRIMARY KEY (ledger_id, problem)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['logs', 'log_keys', 'tiles', 'checkpoints', 'cosignatures', 'seal_problems'] LOOP
        PERFORM ledger.make_append_only(format('ledger.%I', name)::regclass);
        PERFORM ledger.enable_tenant_isolation(format('ledger.%I', name)::regclass);
    END LOOP;
END $$;

-- Unguessable addresses at which a log is read without an API key. They are looked up before the ledger is known, by a
-- role that is not a reader. So the table has no tenant isolation.
CREATE TABLE ledger.public_logs (
    ledger_id    int NOT NULL,
    token        text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    withdrawn_at timestamptz,     -- once set, it does not change
    mac          bytea NOT NULL,  -- over the other columns, under the master key
    PRIMARY KEY (ledger_id, token)
);
CREATE UNIQUE INDEX public_logs_by_token ON ledger.public_logs (token);
CREATE TRIGGER fixed_columns BEFORE UPDATE ON ledger.public_logs FOR EACH ROW
    WHEN ((OLD.ledger_id, OLD.token, OLD.created_at) IS DISTINCT FROM (NEW.ledger_id, NEW.token, NEW.created_at)
          OR (OLD.withdrawn_at IS NOT NULL AND NEW.withdrawn_at IS DISTINCT FROM OLD.withdrawn_at))
    EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER no_delete BEFORE DELETE ON ledger.public_logs
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.public_logs
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();
ALTER TABLE ledger.public_logs
    ENABLE ALWAYS TRIGGER fixed_columns, ENABLE ALWAYS TRIGGER no_delete, ENABLE ALWAYS TRIGGER no_truncate;
