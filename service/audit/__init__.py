"""Verification of a live ledger, audit bundles, and attestations of the projections."""
