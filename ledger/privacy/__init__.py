"""Personal data: found, cut out, encrypted, and who looked at it."""
