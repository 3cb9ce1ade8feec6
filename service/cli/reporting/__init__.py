"""Commands about report views."""
