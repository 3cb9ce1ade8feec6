-- The schema of the ledger, and the functions that protect tables.
--
-- Every key of every table begins with ledger_id. Nothing crosses ledgers: no sequence, no foreign key, no transaction.
--
-- Advisory locks. The program takes them too: ledger/locks.py and migrations/runner.py hold the same ids.
--
--   id          second key   held while
--   1819239276  ledger       events are appended, until commit; a person is erased       ("loyl" in ASCII)
--   1819239277  none         the schema is migrated
--   1819239278  none         the list of generations changes
--   1819239279  ledger       a row of ledger.access gets its number
--   1819239280  ledger       the Merkle tree grows and its head is signed
--   1819239281  none         outgoing webhooks are sent
--   1819239282  key          a change with an Idempotency-Key is made
--   1819239290  generation   a session reads the generation (shared)
--   1819239291  generation   a process fills the generation

CREATE SCHEMA ledger;

-- Refuse the statement. Triggers call this.
CREATE FUNCTION ledger.reject_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % on %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- Make a table refuse UPDATE, DELETE and TRUNCATE. ALWAYS: also from its owner and from replication.
CREATE FUNCTION ledger.make_append_only(p_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION ledger.reject_change()', p_table);
    EXECUTE format('CREATE OR REPLACE TRIGGER no_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change()', p_table);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate', p_table);
END $$;

-- Let the role loyalty_reader see the rows of one ledger only: the one that the session setting app.ledger names, and
-- none if it is not set. Roles that work for all ledgers see all rows.
--
-- The policies do not bind the owner and superusers; signed checkpoints protect against them. FORCE ROW LEVEL SECURITY
-- would not help: the owner's policy would have to be "true", and COPY refuses tables with it.
-- loyalty_backup needs a policy because pg_dump refuses a table with row-level security, unless it bypasses it (only a
-- superuser may grant that) or runs with --enable-row-security and sees all rows.
CREATE FUNCTION ledger.enable_tenant_isolation(p_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
    EXECUTE format('CREATE POLICY all_ledgers ON %s TO loyalty_service, loyalty_projector USING (true)', p_table);
    EXECUTE format('CREATE POLICY all_ledgers_for_audit ON %s FOR SELECT TO loyalty_auditor USING (true)', p_table);
    EXECUTE format('CREATE POLICY all_ledgers_for_backup ON %s FOR SELECT TO loyalty_backup USING (true)', p_table);
    EXECUTE format($policy$
        CREATE POLICY one_ledger ON %s TO loyalty_reader
        USING (ledger_id = nullif(current_setting('app.ledger', true), '')::int)$policy$, p_table);
END $$;

REVOKE ALL ON FUNCTION ledger.make_append_only, ledger.enable_tenant_isolation FROM PUBLIC;
