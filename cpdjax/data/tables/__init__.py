"""Read tables: their files, their columns, and what they name."""
