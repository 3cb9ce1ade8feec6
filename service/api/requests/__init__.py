"""Everything between a request and its handler: key, parameters, body, limits, shares of connections."""
