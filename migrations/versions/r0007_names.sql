-- Readers see the name of their own ledger, and no other's.
SELECT ledger.wall('ledger.ledgers');
