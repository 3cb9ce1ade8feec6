"""Output, help pages, exit codes and error messages of the command line."""
