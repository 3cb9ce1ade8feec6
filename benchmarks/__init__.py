"""How fast it is, beside the limit measured in the same run: `scripts/bench`."""
