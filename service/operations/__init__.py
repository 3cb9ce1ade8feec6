"""Changes by an operator. Each records an internal event."""
