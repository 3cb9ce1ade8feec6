"""The Merkle tree over a ledger, its signed tree heads, witnesses and proofs."""
