"""One file an architecture: its options, layers, module, and the table of its weights."""
