"""Changes that an operator makes: each records an internal event."""
