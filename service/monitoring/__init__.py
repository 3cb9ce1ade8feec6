"""Metrics of the service and its database, and the conditions that alert an operator."""
