-- The rights of each role. Each migration runs this file at its end, and so does `loyalty roles apply`, at any time: it
-- only adds.

GRANT USAGE ON SCHEMA ledger
    TO loyalty_service, loyalty_ingest, loyalty_projector, loyalty_reader, loyalty_auditor, loyalty_eraser;
GRANT USAGE ON SCHEMA projections TO loyalty_service, loyalty_projector, loyalty_reader, loyalty_auditor;
GRANT SELECT ON public.alembic_version TO loyalty_service, loyalty_projector, loyalty_reader, loyalty_auditor;

-- ingest: appends by three functions, and sees no table. append reveals only whether an event is stored, and where.
GRANT EXECUTE ON FUNCTION ledger.append, ledger.ensure_person_keys, ledger.erasure_count TO loyalty_ingest;

-- projector: reads the events, and owns the projections.
GRANT SELECT ON ledger.ledgers, ledger.events TO loyalty_projector;
GRANT EXECUTE ON FUNCTION ledger.enable_tenant_isolation, ledger.grant_generation_access, ledger.is_distributed,
    ledger.distribute_table, ledger.distribute_generation TO loyalty_projector;
GRANT EXECUTE ON FUNCTION ledger.is_distributed TO loyalty_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON projections.generations TO loyalty_projector;
GRANT USAGE, CREATE ON SCHEMA report TO loyalty_projector;
GRANT EXECUTE ON FUNCTION ledger.grant_report_access TO loyalty_projector;

-- reader: answers callers, one ledger at a time by row-level security; writes the access log.
GRANT SELECT ON ledger.ledgers, ledger.events, ledger.personal_index, ledger.access TO loyalty_reader;
GRANT SELECT ON ledger.logs, ledger.log_keys, ledger.tiles, ledger.checkpoints, ledger.cosignatures, ledger.seal_problems
    TO loyalty_reader;
GRANT SELECT (ledger_id, connection_id, source, created_at, disabled_at) ON ledger.connections TO loyalty_reader;
GRANT SELECT ON projections.generations TO loyalty_reader;
GRANT EXECUTE ON FUNCTION ledger.log_access, ledger.key_labels, ledger.wait_for_appends TO loyalty_reader;
GRANT USAGE ON SCHEMA outgoing TO loyalty_reader;
GRANT SELECT ON outgoing.notices TO loyalty_reader;

-- eraser: erases persons, by one function.
GRANT EXECUTE ON FUNCTION ledger.erase_person TO loyalty_eraser;

-- service: a member of the four above. Beyond them it configures ledgers and signs checkpoints. It cannot change or
-- remove an event.
GRANT EXECUTE ON FUNCTION ledger.append, ledger.erase_person, ledger.log_access, ledger.key_labels, ledger.lock,
    ledger.wait_for_appends, ledger.undistributed, ledger.functions_of_one_ledger, ledger.roles_between_servers
    TO loyalty_service;
GRANT SELECT ON ledger.events, ledger.personal, ledger.personal_keys, ledger.personal_index, ledger.erasures,
    ledger.access TO loyalty_service;
GRANT SELECT, INSERT ON ledger.ledgers, ledger.logs, ledger.log_keys, ledger.tiles, ledger.checkpoints,
    ledger.cosignatures, ledger.seal_problems, ledger.idempotent_answers TO loyalty_service;
GRANT SELECT, INSERT, UPDATE ON ledger.connections, ledger.api_keys, ledger.public_logs TO loyalty_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON projections.generations TO loyalty_service;
GRANT USAGE ON SCHEMA outgoing TO loyalty_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON outgoing.endpoints, outgoing.cursors, outgoing.attempts, outgoing.notices
    TO loyalty_service;

-- auditor: reads everything except keys and secrets.
GRANT SELECT ON ledger.ledgers, ledger.events, ledger.personal, ledger.erasures, ledger.access TO loyalty_auditor;
GRANT SELECT ON ledger.logs, ledger.log_keys, ledger.tiles, ledger.checkpoints, ledger.cosignatures, ledger.seal_problems
    TO loyalty_auditor;
GRANT SELECT ON projections.generations TO loyalty_auditor;
GRANT EXECUTE ON FUNCTION ledger.wait_for_appends TO loyalty_auditor;

-- report: reads the views, one ledger for each role. The views grant SELECT when they are created.
GRANT USAGE ON SCHEMA report TO loyalty_report, loyalty_reader, loyalty_service, loyalty_auditor;
GRANT SELECT ON ledger.report_roles TO loyalty_report, loyalty_service, loyalty_auditor;

-- backup: reads everything, for pg_dump.
GRANT USAGE ON SCHEMA ledger, projections, outgoing, report TO loyalty_backup;
GRANT SELECT ON ALL TABLES IN SCHEMA ledger, projections, outgoing TO loyalty_backup;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA ledger, projections, outgoing TO loyalty_backup;
GRANT SELECT ON public.alembic_version TO loyalty_backup;
