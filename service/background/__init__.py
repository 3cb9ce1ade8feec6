"""Tasks that run as long as the service: appending, sealing, publishing, schedules."""
