"""Show how alike representation spaces are: matrices, trees, depths and maps."""
