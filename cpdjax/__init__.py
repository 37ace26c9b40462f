"""cpdjax: what does an atomistic model know beyond composition, where, and in which channel?

Compositional Probe Decomposition (CPD) in closed form, batched, in JAX. `cpd` and
`learning_curve` are the kernel, pure functions of arrays; `sweep` runs it over everything.
"""

# Functions that share their module's name are imported here, last, so that the function is what
# `cpdjax.<name>` means.
from cpdjax import datasets, models
from cpdjax.atoms import atom_cpd
from cpdjax.bonds import bond_counts, group_counts
from cpdjax.bootstrap import Bootstrap, bootstrap
from cpdjax.comparison import Estimate, compare
from cpdjax.composition import composition, elements, formulas
from cpdjax.cpd import cpd, learning_curve
from cpdjax.differences import differences
from cpdjax.equivariance import assert_equivariant
from cpdjax.equivariant import equivariant_cpd
from cpdjax.equivariant_draws import equivariant_bootstrap, equivariant_permutation_test
from cpdjax.errors import ConstantTargetWarning, FileError, InputError, UnknownNameError
from cpdjax.extraction import extract
from cpdjax.features import Features
from cpdjax.folds import group_folds, kfold
from cpdjax.irreps import invariants
from cpdjax.ladder import Ladder, ladder
from cpdjax.multiplicity import adjust, max_t
from cpdjax.permutation import PermutationTest, permutation_test
from cpdjax.scores import Scores
from cpdjax.store import extract_to, read_features
from cpdjax.structures import Structures
from cpdjax.sweep import sweep

__all__ = [
    "Bootstrap",
    "ConstantTargetWarning",
    "Estimate",
    "Features",
    "FileError",
    "InputError",
    "Ladder",
    "PermutationTest",
    "Scores",
    "Structures",
    "UnknownNameError",
    "adjust",
    "assert_equivariant",
    "atom_cpd",
    "bond_counts",
    "bootstrap",
    "compare",
    "composition",
    "cpd",
    "datasets",
    "differences",
    "elements",
    "equivariant_bootstrap",
    "equivariant_cpd",
    "equivariant_permutation_test",
    "extract",
    "extract_to",
    "formulas",
    "group_counts",
    "group_folds",
    "invariants",
    "kfold",
    "ladder",
    "learning_curve",
    "max_t",
    "models",
    "permutation_test",
    "read_features",
    "sweep",
]
