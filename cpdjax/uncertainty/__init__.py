"""Say how sure a score is: permutations, the bootstrap, comparisons, many p-values at once."""
