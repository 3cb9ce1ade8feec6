-- A ledger that has moved to another installation takes no more events here. Otherwise its history would fork.

-- Refuse a new event of a ledger that has moved. The detail of the error is the URL of the other installation.
CREATE FUNCTION ledger.reject_moved() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the ledger has moved to another installation' USING ERRCODE = 'LM001', DETAIL = TG_ARGV[0];
END $$;

-- Close a ledger that has moved. A trigger does it, so appends to other ledgers cost nothing where no ledger has moved.
CREATE FUNCTION ledger.close_moved(p_ledger int, p_url text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER %I BEFORE INSERT ON ledger.events FOR EACH ROW WHEN (NEW.ledger_id = %s) '
                   'EXECUTE FUNCTION ledger.reject_moved(%L)', 'moved_' || p_ledger, p_ledger, p_url);
    EXECUTE format('ALTER TABLE ledger.events ENABLE ALWAYS TRIGGER %I', 'moved_' || p_ledger);
END $$;

REVOKE ALL ON FUNCTION ledger.close_moved FROM PUBLIC;
