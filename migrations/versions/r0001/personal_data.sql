-- Personal values: removed from payloads before they are stored, and encrypted under a key of the person.

-- The personal values of one person in one delivery, encrypted. The entry of the event commits to them.
CREATE TABLE ledger.personal (
    ledger_id  int NOT NULL,
    position   bigint NOT NULL,  -- of the event that holds the delivered body
    subject    text NOT NULL,    -- the person
    key_id     bytea NOT NULL,
    ciphertext bytea NOT NULL,
    commitment bytea NOT NULL,   -- HMAC-SHA-256 of the values, under a key derived from the person's key
    PRIMARY KEY (ledger_id, position, subject)
);
ALTER TABLE ledger.personal ALTER ciphertext SET STORAGE EXTERNAL;
SELECT ledger.make_append_only('ledger.personal');
SELECT ledger.enable_tenant_isolation('ledger.personal');

-- The key of each person, wrapped by the master key. To erase a person is to delete one row of this table.
CREATE TABLE ledger.personal_keys (
    ledger_id  int NOT NULL,
    subject    text NOT NULL,
    key_id     bytea NOT NULL,
    wrapped    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ledger_id, subject)
);

-- Keyed hashes of e-mail addresses and other identifiers, to find a person by. Deleted together with the person's key.
CREATE TABLE ledger.personal_index (
    ledger_id int NOT NULL,
    blind     bytea NOT NULL,
    subject   text NOT NULL,
    PRIMARY KEY (ledger_id, blind, subject)
);
CREATE INDEX personal_index_of ON ledger.personal_index (ledger_id, subject);

-- Rows of these two tables never change. Only ledger.erase_person deletes them: it sets app.erasing.
DO $$
DECLARE
    erasable regclass;
BEGIN
    FOREACH erasable IN ARRAY ARRAY['ledger.personal_keys', 'ledger.personal_index']::regclass[] LOOP
        EXECUTE format('CREATE TRIGGER no_update BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION ledger.reject_change()', erasable);
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change()', erasable);
        EXECUTE format($trigger$
            CREATE TRIGGER erase_only BEFORE DELETE ON %s FOR EACH ROW
            WHEN (current_setting('app.erasing', true) IS DISTINCT FROM OLD.ledger_id || ' ' || OLD.subject)
            EXECUTE FUNCTION ledger.reject_change()$trigger$, erasable);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER no_update, ENABLE ALWAYS TRIGGER no_truncate, ENABLE ALWAYS TRIGGER erase_only', erasable);
        PERFORM ledger.enable_tenant_isolation(erasable);
    END LOOP;
END $$;

-- One row for each erasure. A process that caches persons' keys compares the count, to notice that some are gone.
CREATE TABLE ledger.erasures (
    ledger_id int NOT NULL,
    erasure   int NOT NULL,  -- 1, 2, 3 ... without gaps
    subject   text NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ledger_id, erasure)
);
SELECT ledger.make_append_only('ledger.erasures');
SELECT ledger.enable_tenant_isolation('ledger.erasures');

-- Return the number of erasures of a ledger.
CREATE FUNCTION ledger.erasure_count(p_ledger int) RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(max(erasure), 0) FROM ledger.erasures WHERE ledger_id = p_ledger
$$;

-- Erase a person: delete the key of all personal values of the person, and the identifiers to find the person by.
-- Return false if there was nothing to delete.
CREATE FUNCTION ledger.erase_person(p_ledger int, p_subject text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deleted boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(1819239276, p_ledger);
    PERFORM set_config('app.erasing', p_ledger || ' ' || p_subject, true);
    DELETE FROM ledger.personal_keys k WHERE k.ledger_id = p_ledger AND k.subject = p_subject;
    deleted := FOUND;
    DELETE FROM ledger.personal_index i WHERE i.ledger_id = p_ledger AND i.subject = p_subject;
    deleted := deleted OR FOUND;
    PERFORM set_config('app.erasing', '', true);
    IF deleted THEN
        INSERT INTO ledger.erasures (ledger_id, erasure, subject)
        SELECT p_ledger, coalesce(max(e.erasure), 0) + 1, p_subject FROM ledger.erasures e WHERE e.ledger_id = p_ledger;
    END IF;
    RETURN deleted;
END $$;

-- Return true if some personal values of the delivery at a position can no longer be decrypted, because the person was
-- erased.
CREATE FUNCTION ledger.is_erased(p_ledger int, p_position bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM ledger.personal p
                    WHERE p.ledger_id = p_ledger AND p.position = p_position
                      AND NOT EXISTS (SELECT FROM ledger.personal_keys k
                                       WHERE k.ledger_id = p.ledger_id AND k.subject = p.subject
                                         AND k.key_id = p.key_id))
$$;

-- Return the position of an event with this key and content whose delivery names an erased person: the first event of
-- the key, or one in conflict with it. NULL if there is none.
CREATE FUNCTION ledger.find_erased_event(p_ledger int, p_event_key bytea, p_content bytea) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.position FROM ledger.events e
     WHERE e.ledger_id = p_ledger AND e.event_key >= p_event_key
       AND e.event_key <= p_event_key || '\xffffffffffffffffffffffffffffffff'::bytea
       AND e.content = p_content AND ledger.is_erased(p_ledger, e.delivery_position)
     ORDER BY e.event_key LIMIT 1
$$;

-- Return the keys of persons, and create a key for a person without one. So the role that appends needs no right to the
-- table of keys. If two callers create a key at once, both get the one that was stored.
--
-- No key is created for a person whose every delivery in this call holds only redelivered events of erased persons.
-- Such a person is missing from the result. Otherwise each redelivery would create a key that must be erased again.
--
-- Arguments: p_subjects, p_key_ids and p_wrapped are the persons, each with a key to store if there is none.
-- p_part_subjects and p_part_deliveries are the persons that each delivery names. p_event_deliveries, p_event_keys and
-- p_contents are the events that each delivery holds. A person that no delivery names gets a key.
CREATE FUNCTION ledger.ensure_person_keys(
    p_ledger           int,
    p_subjects         text[],
    p_key_ids          bytea[],
    p_wrapped          bytea[],
    p_part_subjects    text[],
    p_part_deliveries  int[],
    p_event_deliveries int[],
    p_event_keys       bytea[],
    p_contents         bytea[]
) RETURNS TABLE (subject text, key_id bytea, wrapped bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    without_key text[];
BEGIN
    SELECT array_agg(w.subject) INTO without_key FROM unnest(p_subjects) AS w (subject)
     WHERE NOT EXISTS (SELECT FROM ledger.personal_keys k WHERE k.ledger_id = p_ledger AND k.subject = w.subject);
    IF without_key IS NOT NULL AND EXISTS (SELECT FROM ledger.erasures e WHERE e.ledger_id = p_ledger) THEN
        WITH redelivered AS MATERIALIZED (
            SELECT e.delivery
              FROM unnest(p_event_deliveries, p_event_keys, p_contents) AS e (delivery, event_key, content)
             GROUP BY e.delivery
            HAVING bool_and(ledger.find_erased_event(p_ledger, e.event_key, e.content) IS NOT NULL)
        ),
        erased AS MATERIALIZED (
            SELECT p.subject FROM unnest(p_part_subjects, p_part_deliveries) AS p (subject, delivery)
              LEFT JOIN redelivered r ON r.delivery = p.delivery
             GROUP BY p.subject HAVING bool_and(r.delivery IS NOT NULL)
        )
        SELECT array_agg(w.subject) INTO without_key
          FROM unnest(without_key) AS w (subject) LEFT JOIN erased e ON e.subject = w.subject WHERE e.subject IS NULL;
    END IF;
    IF without_key IS NOT NULL THEN
        INSERT INTO ledger.personal_keys (ledger_id, subject, key_id, wrapped)
        SELECT p_ledger, w.subject, w.key_id, w.wrapped
          FROM unnest(p_subjects, p_key_ids, p_wrapped) AS w (subject, key_id, wrapped)
         WHERE w.subject = ANY (without_key)
         ORDER BY w.subject
            ON CONFLICT DO NOTHING;
    END IF;
    RETURN QUERY SELECT k.subject, k.key_id, k.wrapped FROM ledger.personal_keys k
                  WHERE k.ledger_id = p_ledger AND k.subject = ANY (p_subjects);
END $$;

REVOKE ALL ON FUNCTION ledger.erasure_count, ledger.erase_person, ledger.is_erased, ledger.find_erased_event,
    ledger.ensure_person_keys FROM PUBLIC;
