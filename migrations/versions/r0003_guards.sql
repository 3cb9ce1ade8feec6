-- Who may do what. migrations/roles.sql and grants.sql hold what is applied again by `loyalty roles apply`;
-- here stand the functions, triggers and policies, which are objects of the database.

-- Let a table keep what is written: it refuses UPDATE, DELETE and TRUNCATE, also from replication and from its owner.
CREATE FUNCTION ledger.keep(p_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER stays BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION ledger.refuse()', p_table);
    EXECUTE format('CREATE OR REPLACE TRIGGER is_not_truncated BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse()', p_table);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER stays, ENABLE ALWAYS TRIGGER is_not_truncated', p_table);
END $$;

-- Let who reads for a caller see one ledger's rows of a table, whatever the statement says: the ledger that app.ledger
-- names, none where it names none. Those who work for all ledgers see all. Neither goes for the owner or a superuser:
-- against them stand signatures, not walls. Not FORCE: the owner's policy would be "true" anyway, and COPY refuses it.
CREATE FUNCTION ledger.wall(p_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
    EXECUTE format('CREATE POLICY all_ledgers ON %s TO loyalty_service, loyalty_projector USING (true)', p_table);
    EXECUTE format('CREATE POLICY all_ledgers_to_look_at ON %s FOR SELECT TO loyalty_auditor USING (true)', p_table);
    EXECUTE format($policy$
        CREATE POLICY one_ledger ON %s TO loyalty_reader
        USING (ledger_id = nullif(current_setting('app.ledger', true), '')::int)$policy$, p_table);
END $$;

-- Open a generation's tables, which stand in a schema of their own, to readers, one ledger at a time.
CREATE FUNCTION ledger.open_generation(p_schema name) RETURNS void
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
END $$;

-- What the role that appends needs of the keys of persons, so that it needs no right to any table: find them, and make
-- those that are not there. Whoever loses the race to make one reads the winner's on the next try.
CREATE FUNCTION ledger.person_keys(p_ledger int, p_subjects text[], p_key_ids bytea[], p_wrapped bytea[])
RETURNS TABLE (subject text, key_id bytea, wrapped bytea)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
    WITH wanted AS (SELECT * FROM unnest(p_subjects, p_key_ids, p_wrapped) AS w (subject, key_id, wrapped)),
    made AS (INSERT INTO ledger.personal_keys (ledger_id, subject, key_id, wrapped)
             SELECT p_ledger, subject, key_id, wrapped FROM wanted ON CONFLICT DO NOTHING
             RETURNING subject, key_id, wrapped)
    SELECT subject, key_id, wrapped FROM made
    UNION ALL
    SELECT k.subject, k.key_id, k.wrapped FROM wanted w
      JOIN ledger.personal_keys k ON k.ledger_id = p_ledger AND k.subject = w.subject
$$;
CREATE FUNCTION ledger.erasures_so_far(p_ledger int) RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(max(erasure), 0) FROM ledger.erasures WHERE ledger_id = p_ledger
$$;

-- A person's key, and what they are looked up by, go by ledger.forget and no other way.
CREATE OR REPLACE FUNCTION ledger.forget(p_ledger int, p_subject text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    destroyed boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(1819239276, p_ledger);
    PERFORM set_config('app.forgets', p_ledger || ' ' || p_subject, true);
    DELETE FROM ledger.personal_keys k WHERE k.ledger_id = p_ledger AND k.subject = p_subject;
    destroyed := FOUND;
    DELETE FROM ledger.personal_index i WHERE i.ledger_id = p_ledger AND i.subject = p_subject;
    destroyed := destroyed OR FOUND;
    PERFORM set_config('app.forgets', '', true);
    IF destroyed THEN
        INSERT INTO ledger.erasures (ledger_id, erasure, subject)
        SELECT p_ledger, coalesce(max(e.erasure), 0) + 1, p_subject FROM ledger.erasures e WHERE e.ledger_id = p_ledger;
    END IF;
    RETURN destroyed;
END $$;

DO $$
DECLARE
    guarded text;
BEGIN
    FOREACH guarded IN ARRAY ARRAY['personal_keys', 'personal_index'] LOOP
        EXECUTE format($trigger$
            CREATE TRIGGER goes_by_forgetting BEFORE DELETE ON ledger.%I FOR EACH ROW
            WHEN (current_setting('app.forgets', true) IS DISTINCT FROM OLD.ledger_id || ' ' || OLD.subject)
            EXECUTE FUNCTION ledger.refuse()$trigger$, guarded);
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER goes_by_forgetting', guarded);
    END LOOP;
    -- What is configured may change where that is its purpose, and is never removed.
    FOREACH guarded IN ARRAY ARRAY['connections', 'api_keys', 'conflict_policies', 'public_logs'] LOOP
        EXECUTE format('CREATE TRIGGER is_not_removed BEFORE DELETE ON ledger.%I FOR EACH ROW EXECUTE FUNCTION ledger.refuse()', guarded);
        EXECUTE format('CREATE TRIGGER is_not_truncated BEFORE TRUNCATE ON ledger.%I FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse()', guarded);
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER is_not_removed, ENABLE ALWAYS TRIGGER is_not_truncated', guarded);
    END LOOP;
    FOREACH guarded IN ARRAY ARRAY['events', 'personal', 'personal_keys', 'personal_index', 'erasures', 'access', 'conflict_policies',
                                   'logs', 'log_keys', 'tiles', 'checkpoints', 'cosignatures', 'seal_problems'] LOOP
        PERFORM ledger.wall(format('ledger.%I', guarded)::regclass);
    END LOOP;
END $$;
CREATE TRIGGER stays BEFORE UPDATE ON ledger.connections FOR EACH ROW
    WHEN ((OLD.ledger_id, OLD.connection_id, OLD.source, OLD.kind, OLD.scheme, OLD.header, OLD.created_at)
          IS DISTINCT FROM (NEW.ledger_id, NEW.connection_id, NEW.source, NEW.kind, NEW.scheme, NEW.header, NEW.created_at))
    EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER stays BEFORE UPDATE ON ledger.api_keys FOR EACH ROW
    WHEN ((OLD.ledger_id, OLD.key_id, OLD.secret_hash, OLD.scopes, OLD.created_at)
          IS DISTINCT FROM (NEW.ledger_id, NEW.key_id, NEW.secret_hash, NEW.scopes, NEW.created_at)
          OR (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at))
    EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER stays BEFORE UPDATE ON ledger.conflict_policies FOR EACH ROW
    WHEN ((OLD.ledger_id, OLD.source, OLD.kind) IS DISTINCT FROM (NEW.ledger_id, NEW.source, NEW.kind))
    EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER stays BEFORE UPDATE ON ledger.public_logs FOR EACH ROW
    WHEN ((OLD.ledger_id, OLD.token, OLD.created_at) IS DISTINCT FROM (NEW.ledger_id, NEW.token, NEW.created_at)
          OR (OLD.withdrawn_at IS NOT NULL AND NEW.withdrawn_at IS DISTINCT FROM OLD.withdrawn_at))
    EXECUTE FUNCTION ledger.refuse();
ALTER TABLE ledger.public_logs ENABLE ALWAYS TRIGGER stays;
ALTER TABLE ledger.connections ENABLE ALWAYS TRIGGER stays;
ALTER TABLE ledger.api_keys ENABLE ALWAYS TRIGGER stays;
ALTER TABLE ledger.conflict_policies ENABLE ALWAYS TRIGGER stays;

REVOKE ALL ON FUNCTION ledger.person_keys, ledger.erasures_so_far, ledger.keep, ledger.wall, ledger.open_generation FROM PUBLIC;
-- Both are written by functions only, now that there is one for keys.
REVOKE INSERT ON ledger.personal_keys, ledger.personal_index FROM loyalty_service;
