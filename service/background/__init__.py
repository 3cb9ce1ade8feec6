"""What runs for as long as the service: appending, sealing, publishing, schedules."""
