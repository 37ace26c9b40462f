"""Checks of the method: four by default, and a fifth with nonlinear probes on request."""

from cpdjax.checks.authors_library import as_the_authors_library, toward_the_authors_library
from cpdjax.checks.compositional import check_compositional
from cpdjax.checks.isomers import check_isomers
from cpdjax.checks.leakage import check_leakage
from cpdjax.checks.nonlinear import check_nonlinear
from cpdjax.checks.planted import check_planted
from cpdjax.checks.suite import ChannelChecks, Checks, run
from cpdjax.checks.trees import check_trees

__all__ = [
    "ChannelChecks",
    "Checks",
    "as_the_authors_library",
    "check_compositional",
    "check_isomers",
    "check_leakage",
    "check_nonlinear",
    "check_planted",
    "check_trees",
    "run",
    "toward_the_authors_library",
]
