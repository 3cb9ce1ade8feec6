"""Comparison of an external statement of balances or entries with the ledger."""
