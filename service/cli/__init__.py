"""Commands of `loyalty`: options, output and exit codes. Other folders of service/ do the work."""
