"""The PostgreSQL server in the data folder."""
