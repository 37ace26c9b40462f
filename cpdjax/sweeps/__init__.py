"""Every feature set probed for every target, and the table that comes of it."""
