"""The console: pages for people who look at a ledger, rendered on the server."""
