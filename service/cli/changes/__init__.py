"""Commands that change something by an internal event."""
