"""Probe every feature set for every target, and make the table of results."""
