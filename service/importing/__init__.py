"""Imports of files of deliveries and of exported ledgers."""
