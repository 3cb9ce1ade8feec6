"""The service: HTTP, the command line, finance, reconciliation, audits and settings. It interprets no events itself."""
