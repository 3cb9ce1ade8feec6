-- A role for each kind of work; grants.sql says what each may do. Applied by the migration that needs them and by
-- `loyalty roles apply`, as often as one likes: it only adds. None of them can log in; make login roles members of those
-- whose work they do.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['owner', 'migrator', 'service', 'ingest', 'projector', 'reader', 'auditor', 'eraser', 'backup'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'loyalty_' || wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', 'loyalty_' || wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this cluster was quicker
            END;
        END IF;
    END LOOP;
    -- The service does the work of all but the auditor, and takes on the one role that each connection needs.
    FOREACH wanted IN ARRAY ARRAY['ingest', 'projector', 'reader', 'eraser'] LOOP
        IF NOT pg_has_role('loyalty_service', 'loyalty_' || wanted, 'MEMBER') THEN
            BEGIN
                EXECUTE format('GRANT %I TO loyalty_service', 'loyalty_' || wanted);
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
    -- Whoever migrates can also read and restore the views, which the projector owns.
    IF NOT pg_has_role(current_user, 'loyalty_projector', 'USAGE') THEN
        BEGIN
            EXECUTE format('GRANT loyalty_projector TO %I', current_user);
        EXCEPTION WHEN insufficient_privilege OR unique_violation THEN NULL;  -- others made the roles
        END;
    END IF;
    IF NOT has_database_privilege('loyalty_projector', current_database(), 'CREATE') THEN  -- a generation is a schema
        EXECUTE format('GRANT CREATE ON DATABASE %I TO loyalty_projector', current_database());
    END IF;
END $$;
