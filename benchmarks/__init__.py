"""Benchmarks, run by `scripts/bench`. Each figure stands beside its limit, which the same run measures."""
