"""Statements of others: a vendor's or finance's list of balances or entries, matched against ours, each record once."""
