"""The ledger: stores events in order, for ever, and proves that none was changed."""
