-- The lock of a ledger, which ledger.append and ledger.erase_person hold until their transaction ends.
--
-- The program takes this lock by these functions only. On a distributed PostgreSQL they run on the server that holds the
-- ledger, as ledger.append does. A lock that is taken elsewhere would exclude nothing.

-- Take the lock of a ledger until the transaction ends. Nothing is appended to the ledger meanwhile.
CREATE FUNCTION ledger.lock(p_ledger int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1819239276, p_ledger);
END $$;

-- Wait until the append that runs now is committed, and hold nothing afterwards.
CREATE FUNCTION ledger.wait_for_appends(p_ledger int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_lock_shared(1819239276, p_ledger);
    PERFORM pg_advisory_unlock_shared(1819239276, p_ledger);
END $$;

REVOKE ALL ON FUNCTION ledger.lock, ledger.wait_for_appends FROM PUBLIC;
