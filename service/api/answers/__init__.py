"""Types of the JSON answers and bodies of the API. The OpenAPI document publishes them; tests check every answer."""
