-- Events of one kind over one connection are recorded in order, so this grows at a few right edges and costs little.
CREATE INDEX events_by_connection ON ledger.events (ledger_id, connection_id, kind, recorded_at);

-- Readers see which connections their ledger has, and nothing of the secrets.
SELECT ledger.wall('ledger.connections');
