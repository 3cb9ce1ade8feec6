"""Reconciliation: what is open between the vendors' word and ours, list by list, each item with a suggested cause."""
