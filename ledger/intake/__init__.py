"""From a delivered body to events, and from an event to facts."""
