"""The screens of the console, one file each. `ROUTES` at the end of a file are its pages and actions."""
