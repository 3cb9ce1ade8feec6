"""Operations of the API on the ledger: its events, their facts, and the recorded looks at it."""
