"""The embedded PostgreSQL server in the data folder."""
