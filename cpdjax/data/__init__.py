"""Read structures and their targets from QM9 or from files, and count what they are made of."""
