"""Structures, what they are made of and their targets, from QM9 or from files."""
