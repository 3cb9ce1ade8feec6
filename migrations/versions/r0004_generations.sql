-- Generations have a life of their own: each keeps its schema from its making to its dropping, one of them is active, and
-- what used to be the name "live" is now a state. So whoever reads a generation goes on reading the same one, whatever is
-- promoted meanwhile, until they look again for the active one.
ALTER TABLE projections.generations
    ADD COLUMN state      text NOT NULL DEFAULT 'filling'
                          CHECK (state IN ('filling', 'ready', 'active', 'retired', 'dropping')),
    ADD COLUMN basis      text NOT NULL DEFAULT 'ledger' CHECK (basis IN ('ledger', 'facts')),
    ADD COLUMN shapes     jsonb,   -- of each projection when this was made: a hash of its tables and its state
    ADD COLUMN scope      jsonb NOT NULL DEFAULT '{}',  -- what was rebuilt, where that is not everything
    ADD COLUMN comparison jsonb,   -- with the one that was active, when it was compared
    ADD COLUMN ready_at   timestamptz,
    ADD COLUMN retired_at timestamptz;

UPDATE projections.generations SET state = CASE WHEN schema_name = 'live' THEN 'active' ELSE 'dropping' END,
                                   ready_at = promoted_at;
DO $$
DECLARE
    number int;
BEGIN
    SELECT generation INTO number FROM projections.generations WHERE schema_name = 'live';
    IF FOUND THEN
        EXECUTE format('ALTER SCHEMA live RENAME TO generation_%s', number);
        UPDATE projections.generations SET schema_name = format('generation_%s', number) WHERE generation = number;
    END IF;
END $$;

CREATE UNIQUE INDEX one_is_active ON projections.generations ((true)) WHERE state = 'active';
