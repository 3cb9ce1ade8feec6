"""The projection engine: interpret events, fold facts, write the rows that changed."""
