-- What the role of the service may write changes no balance, and ends no audit.

-- Conflicts are settled by what events of the ledger say, and by no table that could say otherwise.
DROP TABLE ledger.conflict_policies;

-- A look is numbered here, without a gap: a row with the largest number there is would let no look be noted any more.
CREATE FUNCTION ledger.note_access(p_ledger int, p_key_id text, p_what text, p_why text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(1819239279, p_ledger);
    SELECT coalesce(max(a.access), 0) + 1 INTO number FROM ledger.access a WHERE a.ledger_id = p_ledger;
    INSERT INTO ledger.access (ledger_id, access, key_id, what, why) VALUES (p_ledger, number, p_key_id, p_what, p_why);
    RETURN number;
END $$;
REVOKE ALL ON FUNCTION ledger.note_access FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.note_access TO loyalty_reader, loyalty_service;
REVOKE INSERT ON ledger.access FROM loyalty_reader, loyalty_service;
