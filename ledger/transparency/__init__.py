"""The Merkle tree over a ledger, its signed tree heads, its proofs, and witnesses."""
