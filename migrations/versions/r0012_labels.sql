-- Names for people: of keys and connections. The MAC of a row covers its label, if it has one.
ALTER TABLE ledger.connections ADD COLUMN label text NOT NULL DEFAULT '';
ALTER TABLE ledger.api_keys ADD COLUMN label text NOT NULL DEFAULT '';

-- Whose key was used for a look: a reader sees the labels of the keys of its ledger, and no other column or ledger.
CREATE FUNCTION ledger.key_labels() RETURNS TABLE (key_id text, label text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.key_id, k.label FROM ledger.api_keys k
     WHERE k.ledger_id = nullif(current_setting('app.ledger', true), '')::int
$$;
REVOKE ALL ON FUNCTION ledger.key_labels FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.key_labels TO loyalty_reader, loyalty_service;
