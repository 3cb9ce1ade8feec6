"""THE TRUTH: what happened, in order, for ever."""
