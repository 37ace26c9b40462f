"""Compute features of structures with models, read them from files, and store them."""
