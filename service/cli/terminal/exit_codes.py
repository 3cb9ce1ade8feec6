"""How commands end. The table in README.md says it to users."""

DONE = 0
FINDINGS = (
    1  # the command did its work and found something: a difference, tampering, an open matter, an unreadable line
)
USAGE_ERROR = 2  # the command, an option or a value cannot be used, or the act is refused
FAILURE = 3  # the question could not be asked: settings, database, schema, no such ledger, a fault of this software
INTERRUPTED = 130
