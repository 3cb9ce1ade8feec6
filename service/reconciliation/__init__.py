"""Lists of open matters between vendors' reports and the ledger, each item with a likely cause."""
