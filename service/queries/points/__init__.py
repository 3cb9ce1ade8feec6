"""Queries about points beside accounts: redemptions, bills, groups."""
