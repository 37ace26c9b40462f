"""cpdjax: what does an atomistic model know beyond composition, where, and in which channel?

cpdjax answers with Compositional Probe Decomposition (CPD), in closed form, batched, in JAX. `cpd`
and `learning_curve` are pure functions of arrays; `sweep` runs them over everything.
"""

from cpdjax import models
from cpdjax.data import datasets
from cpdjax.data.bonds import bond_counts, group_counts
from cpdjax.data.composition import composition, elements, formulas
from cpdjax.data.structures import Structures
from cpdjax.errors import ConstantTargetWarning, FileError, InputError, UnknownNameError
from cpdjax.features.equivariance import assert_equivariant
from cpdjax.features.extraction import extract
from cpdjax.features.features import Features
from cpdjax.features.store import extract_to, read_features
from cpdjax.irreps import invariants
from cpdjax.kernel.scores import Scores
from cpdjax.probes.atoms import atom_cpd
from cpdjax.probes.cpd import cpd, learning_curve
from cpdjax.probes.equivariant import equivariant_cpd
from cpdjax.probes.folds import group_folds, kfold
from cpdjax.probes.ladder import Ladder, ladder
from cpdjax.sweeps.differences import differences
from cpdjax.sweeps.sweep import sweep
from cpdjax.uncertainty.bootstrap import Bootstrap, bootstrap
from cpdjax.uncertainty.comparison import Estimate, compare
from cpdjax.uncertainty.equivariant_resampling import (
    equivariant_bootstrap,
    equivariant_permutation_test,
)
from cpdjax.uncertainty.multiplicity import adjust, max_t
from cpdjax.uncertainty.permutation import PermutationTest, permutation_test

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
