"""Outgoing webhooks: facts and changes, sent to endpoints that a ledger's operator configures."""
