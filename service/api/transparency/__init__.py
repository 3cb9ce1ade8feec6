"""Proofs of the log, and the log itself in the format C2SP tlog-tiles."""
