"""Commands that rebuild, compare, check and choose the rows of projections."""
