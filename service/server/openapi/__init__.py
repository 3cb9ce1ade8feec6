"""The OpenAPI 3.1 document of the API, generated from the table of operations; and its reference page."""
