"""The HTTP server: the application, its protocol limits, start and stop."""
