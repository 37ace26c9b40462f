"""The command line parses and calls, and computes nothing."""
