from . import models as models
from .data import datasets
from .data.bonds import bond_counts, group_counts
from .data.composition import composition, elements, formulas
from .data.structures import Structures
from .errors import ConstantTargetWarning, FileError, InputError, UnknownNameError
from .features.equivariance import assert_equivariant
from .features.extraction import extract
from .features.features import Features
from .features.store import extract_to, read_features
from .irreps import invariants
from .kernel.scores import Scores
from .probes.atoms import atom_cpd
from .probes.cpd import cpd, learning_curve
from .probes.equivariant import equivariant_cpd
from .probes.folds import group_folds, kfold
from .probes.ladder import Ladder, ladder
from .probes.predictions import ResidualPredictions, residual_predictions
from .probes.within import deviations
from .representations.spaces import spaces
from .sweeps.differences import differences
from .sweeps.sweep import sweep
from .uncertainty.bootstrap import Bootstrap, bootstrap
from .uncertainty.comparison import Estimate, compare
from .uncertainty.equivariant_resampling import (
    equivariant_bootstrap,
    equivariant_permutation_test,
)
from .uncertainty.multiplicity import adjust, max_t
from .uncertainty.permutation import PermutationTest, permutation_test
from .uncertainty.runs import hierarchical, hierarchical_difference
from .uncertainty.verdict import verdict

__version__: str

__all__ = [
    "Bootstrap",
    "ConstantTargetWarning",
    "Estimate",
    "Features",
    "FileError",
    "InputError",
    "Ladder",
    "PermutationTest",
    "ResidualPredictions",
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
    "deviations",
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
    "hierarchical",
    "hierarchical_difference",
    "invariants",
    "kfold",
    "ladder",
    "learning_curve",
    "max_t",
    "models",
    "permutation_test",
    "read_features",
    "residual_predictions",
    "spaces",
    "sweep",
    "verdict",
]
