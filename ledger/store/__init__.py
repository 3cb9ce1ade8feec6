"""Reading and writing the tables of the ledger. Only this folder has INSERT and SELECT on ledger.events."""
