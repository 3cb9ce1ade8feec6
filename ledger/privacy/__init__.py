"""Personal data: detection, redaction, encryption, and the log of accesses."""
