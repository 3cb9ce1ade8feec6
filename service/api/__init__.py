"""The HTTP API: one file for each resource. Every answer states the position that it reflects."""
