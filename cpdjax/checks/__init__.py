"""Checks of the method: four by default, and a fifth with nonlinear probes on request."""

from cpdjax.checks.compositional import check_compositional
from cpdjax.checks.isomers import check_isomers
from cpdjax.checks.leakage import check_leakage
from cpdjax.checks.nonlinear import check_nonlinear
from cpdjax.checks.planted import check_planted
from cpdjax.checks.suite import ChannelChecks, Checks, run

__all__ = [
    "ChannelChecks",
    "Checks",
    "check_compositional",
    "check_isomers",
    "check_leakage",
    "check_nonlinear",
    "check_planted",
    "run",
]
