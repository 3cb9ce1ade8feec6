"""The tables of the ledger: the only INSERT and SELECT on ledger.events."""
