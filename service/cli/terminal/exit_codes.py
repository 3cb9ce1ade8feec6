"""Exit codes of commands, as listed in docs/operations.md."""

DONE = 0
FINDINGS = 1  # the command worked and found a difference, tampering, an open matter or an unreadable line
USAGE_ERROR = 2  # a command, option or value is invalid, or the request is refused
FAILURE = 3  # the command could not work: settings, database, schema, unknown ledger, a fault of this software
INTERRUPTED = 130
