-- What each role may do. Applied as often as one likes, after roles.sql: it only adds.

GRANT USAGE ON SCHEMA ledger TO loyalty_ingest, loyalty_projector, loyalty_reader, loyalty_auditor, loyalty_eraser;
GRANT USAGE ON SCHEMA projections TO loyalty_projector, loyalty_reader, loyalty_auditor;

-- ingest: three functions, no table. append answers duplicates with their positions, and that is all it tells.
GRANT EXECUTE ON FUNCTION ledger.append, ledger.person_keys, ledger.erasures_so_far TO loyalty_ingest;

-- projector: reads the truth, and owns the views.
GRANT SELECT ON ledger.ledgers, ledger.events TO loyalty_projector;
GRANT EXECUTE ON FUNCTION ledger.wall, ledger.open_generation TO loyalty_projector;
GRANT SELECT, INSERT, UPDATE, DELETE ON projections.generations TO loyalty_projector;

-- reader: answers callers, one ledger at a time by row-level security; writes down who looked.
GRANT SELECT ON ledger.ledgers, ledger.events, ledger.personal_index, ledger.access TO loyalty_reader;
GRANT SELECT ON ledger.logs, ledger.log_keys, ledger.tiles, ledger.checkpoints, ledger.cosignatures, ledger.seal_problems
    TO loyalty_reader, loyalty_auditor;
GRANT SELECT (ledger_id, connection_id, source, created_at, disabled_at) ON ledger.connections TO loyalty_reader;
GRANT SELECT ON projections.generations TO loyalty_reader, loyalty_auditor;

-- auditor: sees everything that is no key, and changes nothing.
GRANT SELECT ON ledger.ledgers, ledger.events, ledger.personal, ledger.erasures, ledger.access
    TO loyalty_auditor;
GRANT SELECT ON public.alembic_version TO loyalty_auditor, loyalty_projector, loyalty_reader;

-- Whoever shows something sealed writes it down first, by the one function that numbers the looks.
DO $$ BEGIN
    IF to_regprocedure('ledger.note_access(int, text, text, text)') IS NOT NULL THEN  -- it comes with revision 0009
        GRANT EXECUTE ON FUNCTION ledger.note_access TO loyalty_reader, loyalty_service;
    END IF;
END $$;

-- A look is shown with the label of the key that was used.
DO $$ BEGIN
    IF to_regprocedure('ledger.key_labels()') IS NOT NULL THEN  -- it comes with revision 0012
        GRANT EXECUTE ON FUNCTION ledger.key_labels TO loyalty_reader, loyalty_service;
    END IF;
END $$;

-- eraser: destroys keys of persons, by the one function that does.
GRANT EXECUTE ON FUNCTION ledger.forget TO loyalty_eraser;

-- backup: reads everything, for pg_dump, and changes nothing.
GRANT USAGE ON SCHEMA ledger, projections TO loyalty_backup;
GRANT SELECT ON ALL TABLES IN SCHEMA ledger, projections TO loyalty_backup;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA ledger, projections TO loyalty_backup;
GRANT SELECT ON public.alembic_version TO loyalty_backup;
