"""Liability, trial balance and the closing of months."""
