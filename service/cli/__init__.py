"""The commands of `loyalty`, one file a theme. What they do stands in the modules that they call."""
