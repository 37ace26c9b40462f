"""Pages: Markdown, and HTML that needs no other file; templates say how they look."""
