"""THE VIEWS: everything here can be thrown away and folded again from the ledger."""
