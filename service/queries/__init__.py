"""What the API, the command line and audits ask of the projections; knows no HTTP."""
