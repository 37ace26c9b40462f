"""Tables and figures of results; no other folder makes any."""
