-- The access log: who looked at personal values, at what, and why. A row is written before the values are shown.

CREATE TABLE ledger.access (
    ledger_id int NOT NULL,
    access    bigint NOT NULL,  -- 1, 2, 3 ... without gaps
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    key_id    text NOT NULL,    -- the API key that was used
    what      text NOT NULL,
    why       text NOT NULL,
    PRIMARY KEY (ledger_id, access)
);
SELECT ledger.make_append_only('ledger.access');
SELECT ledger.enable_tenant_isolation('ledger.access');

-- Add a row to the access log and return its number. No role may insert directly: a row with the largest possible
-- number would end the log.
CREATE FUNCTION ledger.log_access(p_ledger int, p_key_id text, p_what text, p_why text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(1819239279, p_ledger);
    SELECT coalesce(max(a.access), 0) + 1 INTO number FROM ledger.access a WHERE a.ledger_id = p_ledger;
    INSERT INTO ledger.access (ledger_id, access, key_id, what, why) VALUES (p_ledger, number, p_key_id, p_what, p_why);
    RETURN number;
END $$;
REVOKE ALL ON FUNCTION ledger.log_access FROM PUBLIC;
