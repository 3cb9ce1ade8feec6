"""The window: everything that is asked. Answers come from the live generation and say which position they reflect."""
