-- The roles: one for each kind of work. grants.sql lists their rights.
--
-- The first revision runs this file, and so does `loyalty roles apply`, at any time: it only adds. No role can log in,
-- except between the servers of distributed ledgers.
-- Make a login role a member of the roles whose work it does.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['owner', 'migrator', 'service', 'ingest', 'projector', 'reader', 'auditor', 'eraser', 'backup', 'report'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'loyalty_' || name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', 'loyalty_' || name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of the cluster was faster
            END;
        END IF;
    END LOOP;
    -- The service does the work of all roles but the auditor's. Each of its connections takes the one role it needs.
    FOREACH name IN ARRAY ARRAY['ingest', 'projector', 'reader', 'eraser'] LOOP
        IF NOT pg_has_role('loyalty_service', 'loyalty_' || name, 'MEMBER') THEN
            BEGIN
                EXECUTE format('GRANT %I TO loyalty_service', 'loyalty_' || name);
            EXCEPTION WHEN unique_violation THEN NULL;
            END;
        END IF;
    END LOOP;
    IF NOT pg_has_role('loyalty_migrator', 'loyalty_owner', 'MEMBER') THEN
        BEGIN
            GRANT loyalty_owner TO loyalty_migrator;
        EXCEPTION WHEN unique_violation THEN NULL;
        END;
    END IF;
    -- The role that migrates can read and restore the projections, which the projector owns.
    IF NOT pg_has_role(current_user, 'loyalty_projector', 'USAGE') THEN
        BEGIN
            EXECUTE format('GRANT loyalty_projector TO %I', current_user);
        EXCEPTION WHEN insufficient_privilege OR unique_violation THEN NULL;  -- another role created these roles
        END;
    END IF;
    -- A generation is a schema, so these two create schemas. The service first: it inherits the projector's right.
    FOREACH name IN ARRAY ARRAY['loyalty_service', 'loyalty_projector'] LOOP
        IF NOT has_database_privilege(name, current_database(), 'CREATE') THEN
            EXECUTE format('GRANT CREATE ON DATABASE %I TO %I', current_database(), name);
        END IF;
    END LOOP;
END $$;
