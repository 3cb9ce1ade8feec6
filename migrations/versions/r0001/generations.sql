-- Generations: built copies of all projection tables, each in a schema of its own with its own checkpoint. Exactly one is
-- active. Promotion changes states and moves no data, so a session that reads a generation keeps reading the same one.
--
-- The projection tables themselves have no migrations: the program creates them, and a rebuild replaces them.

CREATE SCHEMA projections;

CREATE TABLE projections.generations (
    generation  int PRIMARY KEY,
    schema_name text NOT NULL UNIQUE,
    state       text NOT NULL DEFAULT 'filling'
                CHECK (state IN ('filling', 'ready', 'active', 'retired', 'dropping')),
    basis       text NOT NULL DEFAULT 'ledger' CHECK (basis IN ('ledger', 'facts')),
    versions    jsonb NOT NULL,               -- of each projection
    shapes      jsonb,                        -- of each projection: a hash of its tables and its state
    scope       jsonb NOT NULL DEFAULT '{}',  -- the rebuilt part, if it is not everything
    comparison  jsonb,                        -- with the generation that was active, if they were compared
    created_at  timestamptz NOT NULL DEFAULT now(),
    ready_at    timestamptz,
    promoted_at timestamptz,
    retired_at  timestamptz
);
CREATE UNIQUE INDEX one_is_active ON projections.generations ((true)) WHERE state = 'active';

-- Let the service, readers, auditors and backups use the tables of a generation, readers one ledger at a time.
CREATE FUNCTION ledger.grant_generation_access(p_schema name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unprotected regclass;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO loyalty_service, loyalty_reader, loyalty_auditor, loyalty_backup', p_schema);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO loyalty_reader, loyalty_auditor, loyalty_backup', p_schema);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO loyalty_service', p_schema);
    FOR unprotected IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = p_schema::regnamespace AND c.relkind = 'r'
                          AND NOT c.relrowsecurity LOOP
        PERFORM ledger.enable_tenant_isolation(unprotected);
    END LOOP;
END $$;

REVOKE ALL ON FUNCTION ledger.grant_generation_access FROM PUBLIC;
