"""Rebuilds on the workers of a Dask cluster (extra `dask`)."""
