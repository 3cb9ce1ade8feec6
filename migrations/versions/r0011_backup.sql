-- A role that backs everything up. pg_dump refuses tables with row-level security unless it bypasses it, which only a
-- superuser may grant, or it is run with --enable-row-security and sees all rows: a policy says so.

CREATE OR REPLACE FUNCTION ledger.wall(p_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
    EXECUTE format('CREATE POLICY all_ledgers ON %s TO loyalty_service, loyalty_projector USING (true)', p_table);
    EXECUTE format('CREATE POLICY all_ledgers_to_look_at ON %s FOR SELECT TO loyalty_auditor USING (true)', p_table);
    EXECUTE format('CREATE POLICY all_ledgers_to_back_up ON %s FOR SELECT TO loyalty_backup USING (true)', p_table);
    EXECUTE format($policy$
        CREATE POLICY one_ledger ON %s TO loyalty_reader
        USING (ledger_id = nullif(current_setting('app.ledger', true), '')::int)$policy$, p_table);
END $$;

-- Let the role that backs up see all rows of the walled tables of a schema.
CREATE FUNCTION ledger.open_to_backup(p_schema name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found regclass;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO loyalty_backup', p_schema);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO loyalty_backup', p_schema);
    FOR found IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = p_schema::regnamespace AND c.relrowsecurity
                    AND NOT EXISTS (SELECT FROM pg_policy p
                                     WHERE p.polrelid = c.oid AND p.polname = 'all_ledgers_to_back_up') LOOP
        EXECUTE format('CREATE POLICY all_ledgers_to_back_up ON %s FOR SELECT TO loyalty_backup USING (true)', found);
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION ledger.open_to_backup FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.open_to_backup TO loyalty_projector;

CREATE OR REPLACE FUNCTION ledger.open_generation(p_schema name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found regclass;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO loyalty_service, loyalty_reader, loyalty_auditor', p_schema);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO loyalty_reader, loyalty_auditor', p_schema);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO loyalty_service', p_schema);
    FOR found IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = p_schema::regnamespace AND c.relkind = 'r'
                    AND NOT c.relrowsecurity LOOP
        PERFORM ledger.wall(found);
    END LOOP;
    PERFORM ledger.open_to_backup(p_schema);
END $$;

SELECT ledger.open_to_backup('ledger');

-- The views belong to the projector. Where whoever migrates may not act for it, `loyalty roles apply` or the next start
-- of a service opens them.
DO $$
DECLARE
    found name;
BEGIN
    FOR found IN SELECT nspname FROM pg_namespace WHERE nspname ~ '^generation_[0-9]+$' LOOP
        BEGIN
            PERFORM ledger.open_to_backup(found);
        EXCEPTION WHEN insufficient_privilege THEN NULL;
        END;
    END LOOP;
END $$;
