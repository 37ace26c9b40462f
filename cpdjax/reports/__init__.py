"""Tables and figures of results, and nothing else makes them."""
