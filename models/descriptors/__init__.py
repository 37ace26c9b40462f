"""Handcrafted features, which have no weights."""
