"""Advance the projections: interpret, fold, compare, write."""
