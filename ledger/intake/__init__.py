"""From a delivered body to events, and from events to facts."""
