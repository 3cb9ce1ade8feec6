-- Ledgers, and their configuration: inbound webhooks and API keys.

CREATE TABLE ledger.ledgers (
    ledger_id  int PRIMARY KEY,
    name       text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    created_at timestamptz NOT NULL DEFAULT now()
);
SELECT ledger.make_append_only('ledger.ledgers');
SELECT ledger.enable_tenant_isolation('ledger.ledgers');

-- One inbound webhook. The unguessable id in its URL determines the ledger.
CREATE TABLE ledger.connections (
    ledger_id     int NOT NULL,
    connection_id text NOT NULL,
    label         text NOT NULL DEFAULT '',  -- a name for people
    source        text NOT NULL,             -- the vendor
    kind          text,                      -- if all its deliveries are of one kind
    scheme        text NOT NULL,             -- how a delivery is authenticated
    header        text NOT NULL,             -- the header with the secret or the signature
    secrets       bytea[] NOT NULL,          -- encrypted under the master key; two while a secret is replaced
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz,
    mac           bytea NOT NULL,            -- over the other columns, under the master key
    PRIMARY KEY (ledger_id, connection_id)
);
CREATE UNIQUE INDEX connections_by_id ON ledger.connections (connection_id);
SELECT ledger.enable_tenant_isolation('ledger.connections');
CREATE TRIGGER fixed_columns BEFORE UPDATE ON ledger.connections FOR EACH ROW
    WHEN ((OLD.ledger_id, OLD.connection_id, OLD.source, OLD.kind, OLD.scheme, OLD.header, OLD.created_at)
          IS DISTINCT FROM (NEW.ledger_id, NEW.connection_id, NEW.source, NEW.kind, NEW.scheme, NEW.header, NEW.created_at))
    EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER no_delete BEFORE DELETE ON ledger.connections
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.connections
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();
ALTER TABLE ledger.connections
    ENABLE ALWAYS TRIGGER fixed_columns, ENABLE ALWAYS TRIGGER no_delete, ENABLE ALWAYS TRIGGER no_truncate;

-- Keys of the HTTP API. The secret is shown once and stored as a hash. Readers have no right to this table: it is
-- searched before the ledger of the caller is known. So it has no tenant isolation.
CREATE TABLE ledger.api_keys (
    ledger_id   int NOT NULL,
    key_id      text NOT NULL,
    label       text NOT NULL DEFAULT '',  -- a name for people
    secret_hash bytea NOT NULL,
    scopes      text[] NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz,               -- once set, it does not change
    mac         bytea NOT NULL,            -- over the other columns, under the master key
    PRIMARY KEY (ledger_id, key_id)
);
CREATE UNIQUE INDEX api_keys_by_id ON ledger.api_keys (key_id);
CREATE TRIGGER fixed_columns BEFORE UPDATE ON ledger.api_keys FOR EACH ROW
    WHEN ((OLD.ledger_id, OLD.key_id, OLD.secret_hash, OLD.scopes, OLD.created_at)
          IS DISTINCT FROM (NEW.ledger_id, NEW.key_id, NEW.secret_hash, NEW.scopes, NEW.created_at)
          OR (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at))
    EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER no_delete BEFORE DELETE ON ledger.api_keys
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();
ALTER TABLE ledger.api_keys
    ENABLE ALWAYS TRIGGER fixed_columns, ENABLE ALWAYS TRIGGER no_delete, ENABLE ALWAYS TRIGGER no_truncate;

-- Return the labels of the API keys of the session's ledger. Readers see this, and no other column and no other ledger.
CREATE FUNCTION ledger.key_labels() RETURNS TABLE (key_id text, label text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.key_id, k.label FROM ledger.api_keys k
     WHERE k.ledger_id = nullif(current_setting('app.ledger', true), '')::int
$$;
REVOKE ALL ON FUNCTION ledger.key_labels FROM PUBLIC;
