-- Reports: views of the active generation, for people with tools of their own. The program creates the views, and a
-- promotion replaces them: projections/reports/publish.py. A role reads the rows of its ledger only.

CREATE SCHEMA report;

-- The owner of the ledger may be a role that creates no roles, so the role that logged in creates this one.
DO $$
DECLARE
    before text := current_setting('role');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'loyalty_report') THEN
        PERFORM set_config('role', 'none', true);
        CREATE ROLE loyalty_report NOLOGIN;
        PERFORM set_config('role', before, true);
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of the cluster was faster
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the role loyalty_report does not exist: run `loyalty roles create` as a role that may create roles'
            USING ERRCODE = 'insufficient_privilege';
END $$;

-- The roles that read one ledger by the views, and their ledgers. A role sees its own row. A member of two roles sees
-- the rows of both.
CREATE TABLE ledger.report_roles (
    role_name  name PRIMARY KEY,
    ledger_id  int NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE ledger.report_roles ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_role ON ledger.report_roles FOR SELECT TO loyalty_report
    USING (EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role_name AND pg_has_role(r.oid, 'USAGE')));
CREATE POLICY all_roles ON ledger.report_roles FOR SELECT TO loyalty_service, loyalty_auditor, loyalty_backup USING (true);

-- Let report roles read tables of a generation through the views. The views run with the rights of their reader, so the
-- policies of the tables count. Report roles have no right on the schema, so they read no table by its name.
-- Distributed tables accept no policy that reads a local table, so report roles do not exist there.
CREATE FUNCTION ledger.grant_report_access(p_schema name, p_tables text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found regclass;
BEGIN
    IF ledger.is_distributed() THEN
        RETURN;
    END IF;
    FOR found IN SELECT c.oid FROM pg_class c
                  WHERE c.relnamespace = p_schema::regnamespace AND c.relkind = 'r' AND c.relname = ANY (p_tables)
                    AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'own_ledger')
                  ORDER BY c.relname LOOP
        EXECUTE format('GRANT SELECT ON %s TO loyalty_report', found);
        EXECUTE format($policy$
            CREATE POLICY own_ledger ON %s FOR SELECT TO loyalty_report
            USING (ledger_id IN (SELECT r.ledger_id FROM ledger.report_roles r))$policy$, found);
    END LOOP;
END $$;

REVOKE ALL ON FUNCTION ledger.grant_report_access FROM PUBLIC;
