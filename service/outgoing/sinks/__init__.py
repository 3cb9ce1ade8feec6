"""Sinks: the kinds of receivers that an endpoint may have."""
