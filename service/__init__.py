"""DOOR AND WINDOW: HTTP, the command line and the settings. Nothing here knows what an event means."""
