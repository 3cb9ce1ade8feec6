"""Queries of the API, the command line and audits. Nothing here knows HTTP."""
