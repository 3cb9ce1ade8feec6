"""Outgoing webhooks: the operations of their endpoints."""
