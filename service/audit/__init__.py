"""For auditors: the bundle that they take away, the check of a live ledger, and attestations of its views."""
