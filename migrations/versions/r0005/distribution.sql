-- Distribute the ledgers over several servers by the extension Citus. Without it, these functions do nothing.
--
-- The rows of a ledger stand on one server, and its functions run there. So the lock, the order and the keys of a ledger
-- stay on one server, and an append commits there in one phase. ledger/placement.py lists where each table stands.

-- Return true if the ledgers are distributed.
CREATE FUNCTION ledger.is_distributed() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NULL THEN
        RETURN false;
    END IF;
    RETURN EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'ledger.events'::regclass);
END $$;

-- Distribute a table by its ledger, or copy it to all servers if one of its keys names no ledger.
--
-- Distributing a table leaves its old rows on the disk of this server, where an erasure would not find them. So a table
-- with rows is refused. Small tables that stand on all servers hold no personal values, and keep their rows.
CREATE FUNCTION ledger.distribute_table(p_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    has_rows     boolean;
    is_reference boolean;
BEGIN
    IF EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = p_table) THEN
        RETURN;
    END IF;
    SELECT EXISTS (SELECT FROM pg_index x JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
                    WHERE x.indrelid = p_table AND x.indisunique AND a.attname <> 'ledger_id') INTO is_reference;
    IF is_reference THEN
        PERFORM create_reference_table(p_table);
        RETURN;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', p_table) INTO has_rows;
    IF has_rows THEN
        RAISE EXCEPTION '% has rows: export each ledger, and import it into a database that is distributed', p_table
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM create_distributed_table(p_table, 'ledger_id', colocate_with =>
        CASE WHEN p_table = 'ledger.events'::regclass THEN 'none' ELSE 'ledger.events' END);
END $$;

-- Distribute the tables of a generation. A rebuild keeps its own tables here.
CREATE FUNCTION ledger.distribute_generation(p_schema name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found regclass;
BEGIN
    PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
    FOR found IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = p_schema::regnamespace AND c.relkind = 'r'
                   AND c.relname <> ALL (ARRAY['filled_by', 'parts', 'refused']) ORDER BY c.relname LOOP
        PERFORM ledger.distribute_table(found);
    END LOOP;
END $$;

-- Let the service, readers, auditors and backups use the tables of a generation, readers one ledger at a time.
CREATE OR REPLACE FUNCTION ledger.grant_generation_access(p_schema name) RETURNS void
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
    IF ledger.is_distributed() THEN
        PERFORM ledger.distribute_generation(p_schema);
    END IF;
END $$;

-- Return what is not distributed yet, in a database whose ledgers are: tables, functions, settings and roles. A
-- migration may add some.
CREATE FUNCTION ledger.undistributed() RETURNS SETOF text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT ledger.is_distributed() THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT format('table %s.%s', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND (n.nspname IN ('ledger', 'outgoing') OR n.nspname ~ '^generation_\d+$')
       AND c.relname !~ '_\d{6,}$' AND c.relname <> ALL (ARRAY['filled_by', 'parts', 'refused'])
       AND NOT EXISTS (SELECT FROM pg_dist_partition d WHERE d.logicalrelid = c.oid)
    UNION ALL
    SELECT format('function ledger.%s', p.proname) FROM pg_proc p
     WHERE p.pronamespace = 'ledger'::regnamespace AND p.proname = ANY (ledger.functions_of_one_ledger())
       AND NOT EXISTS (SELECT FROM pg_dist_object o WHERE o.classid = 'pg_proc'::regclass AND o.objid = p.oid
                          AND o.distribution_argument_index IS NOT NULL AND o.force_delegation)
    UNION ALL
    SELECT 'plans of function ledger.append' FROM pg_proc p
     WHERE p.pronamespace = 'ledger'::regnamespace AND p.proname = 'append'
       AND p.proconfig @> ARRAY['plan_cache_mode=force_generic_plan']
    UNION ALL
    SELECT format('role %s', rolname) FROM pg_roles
     WHERE rolname = ANY (ledger.roles_between_servers()) AND NOT rolcanlogin;
END $$;

-- The functions that run on the server of the ledger that their argument p_ledger names.
CREATE FUNCTION ledger.functions_of_one_ledger() RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY['append', 'ensure_person_keys', 'erase_person', 'erasure_count', 'lock', 'log_access', 'wait_for_appends']
$$;

-- The roles as which servers connect to each other. A statement runs elsewhere as the role that it runs as here.
CREATE FUNCTION ledger.roles_between_servers() RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY['loyalty_owner', 'loyalty_ingest', 'loyalty_projector', 'loyalty_reader', 'loyalty_eraser']
$$;

-- Distribute the ledgers. It can be repeated, and must be after each migration. Return what was distributed.
CREATE FUNCTION ledger.distribute() RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found record;
    name  text;
BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NULL THEN
        RAISE EXCEPTION 'this database does not have the extension citus' USING ERRCODE = 'feature_not_supported';
    END IF;
    IF current_setting('citus.enable_unsafe_triggers', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'citus.enable_unsafe_triggers is off: the triggers that protect the ledger need it'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
    PERFORM ledger.distribute_table('ledger.events');  -- all others stand beside it
    FOR found IN SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname IN ('ledger', 'outgoing') AND c.relkind = 'r' AND c.relname !~ '_\d{6,}$'
                    AND NOT EXISTS (SELECT FROM pg_dist_partition d WHERE d.logicalrelid = c.oid)
                  ORDER BY n.nspname, c.relname LOOP
        PERFORM ledger.distribute_table(found.oid);
        RETURN NEXT format('table %s.%s', found.nspname, found.relname);
    END LOOP;
    FOR found IN SELECT nspname FROM pg_namespace WHERE nspname ~ '^generation_\d+$' ORDER BY nspname LOOP
        PERFORM ledger.distribute_generation(found.nspname);
        RETURN NEXT format('schema %s', found.nspname);
    END LOOP;
    FOR found IN SELECT p.oid, p.proname FROM pg_proc p
                  WHERE p.pronamespace = 'ledger'::regnamespace AND p.proname = ANY (ledger.functions_of_one_ledger()) LOOP
        PERFORM create_distributed_function(found.oid::regprocedure, 'p_ledger', colocate_with => 'ledger.events',
                                            force_delegation => true);
        RETURN NEXT format('function ledger.%s', found.proname);
        IF found.proname = 'append' THEN  -- a plan for any ledger names no server
            EXECUTE format('ALTER FUNCTION %s SET plan_cache_mode = force_custom_plan', found.oid::regprocedure);
        END IF;
    END LOOP;
    FOREACH name IN ARRAY ledger.roles_between_servers() LOOP
        EXECUTE format('ALTER ROLE %I LOGIN', name);
    END LOOP;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO loyalty_service, loyalty_projector', current_database());
END $$;

REVOKE ALL ON FUNCTION ledger.is_distributed, ledger.distribute_table, ledger.distribute_generation, ledger.undistributed,
    ledger.functions_of_one_ledger, ledger.roles_between_servers, ledger.distribute FROM PUBLIC;
