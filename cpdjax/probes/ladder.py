"""Climb the ladder: R² of composition, then of bonds and groups too, then of geometry on top.

A rung is a larger matrix of concepts in composition's place. The last rung, geometry, is what the
representation knows beyond all concepts. What a rung adds is held-out R², which may be negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import ArrayLike, Float

from cpdjax.errors import InputError
from cpdjax.kernel.nested import of_one_size
from cpdjax.kernel.scores import Scores
from cpdjax.probes.arguments import Arguments
from cpdjax.probes.folds import Layout, cross_validation
from cpdjax.probes.signature import takes_choices
from cpdjax.probes.splitters import Folds, read_folds
from cpdjax.real_arrays import real_array

COMPOSITION, GEOMETRY = "composition", "geometry"


@dataclass(frozen=True)
class Ladder:
    """Hold R² rung by rung, "composition" first and "geometry" last, on the same folds."""

    rungs: tuple[str, ...]
    #: How many columns each rung adds: columns of concepts, and at last of the representation.
    columns: tuple[int, ...]
    #: R² of everything up to and including a rung.
    r2: Float[np.ndarray, "rung fold target"]
    #: `Scores.r2_geom` with everything up to a rung taken from the features. The last rung,
    #: geometry, has none: it takes nothing from the features.
    r2_geom: Float[np.ndarray, "concept_rung fold target"]

    @property
    def added(self) -> Float[np.ndarray, "rung fold target"]:
        """Return the R² that each rung adds to the rung below, and the first rung to nothing."""
        return np.diff(self.r2, axis=0, prepend=0)


@takes_choices(without=["projection"])
def ladder(
    X: Float[ArrayLike, "molecule feature"],
    C: Float[ArrayLike, "molecule element"],
    Y: Float[ArrayLike, " molecule"] | Float[ArrayLike, "molecule target"],
    rungs: Mapping[str, Float[ArrayLike, "molecule column"]],
    *,
    folds: Folds = 5,
    alpha: float | Literal["loo"] = "loo",
    seed: int = 0,
    dtype: Any = None,
    **choices: Any,
) -> Ladder:
    """Measure the R² that composition adds, then every further rung of concepts, then geometry.

    On the training rows of each fold, with K all columns up to a rung:

        rungs of concepts:  ŷ = K B,          B = argmin ‖Y − KB‖²
        geometry:           ŷ = K B + Z W,    Z and W those of `cpdjax.cpd` with K for composition

    and R² of ŷ on the held-out rows. Z is orthogonal to K on the training rows, so there W explains
    only what KB does not.

    Args:
        rungs: further concepts by name, in order, such as `cpdjax.bond_counts` makes. Columns that
            earlier rungs already explain change nothing.
        alpha: Ridge penalty, or "loo": chosen per fold and target by leave-one-out.
        X, C, Y, folds, standardize, components, seed, dtype: as in `cpdjax.cpd`.

    Raises:
        InputError: as `cpdjax.cpd`; rungs that are not row by row, or take a name of ours.

    >>> rng = np.random.default_rng(0)
    >>> C, bonds, X = (rng.integers(0, 9, (400, n)).astype(float) for n in (2, 2, 5))
    >>> found = ladder(X, C, C[:, 0] + bonds[:, 0] + X[:, 0], {"bonds": bonds})
    >>> found.rungs
    ('composition', 'bonds', 'geometry')
    >>> found.added.mean((1, 2)).round(1).tolist()
    [0.3, 0.3, 0.3]
    """
    if np.size(alpha) != 1:
        raise InputError(f'alpha must be one number or "loo", got {alpha!r}')
    blocks = {COMPOSITION: np.asarray(real_array("C", C))}
    blocks |= {name: np.asarray(real_array(f"rung {name!r}", v)) for name, v in rungs.items()}
    _check(blocks, len(rungs))
    # Concepts of every rung fill the same number of columns, so that the kernel compiles once.
    # Those of rungs to come are zeros, which explain nothing.
    steps = np.cumsum([block.shape[1] for block in blocks.values()])
    stacked = np.concatenate([np.asarray(b, np.float64) for b in blocks.values()], axis=1)
    found: list[Scores] = []
    layout: Layout | None = None
    for width in steps:
        concepts = np.where(np.arange(steps[-1]) < width, stacked, 0)
        arguments = Arguments.of(X, concepts, Y, alpha, dtype, both=True, **choices)
        if layout is None:  # once: a splitter may shuffle anew each time
            split = read_folds(folds, arguments.arrays[0], arguments.targets)
            layout = cross_validation(arguments.rows, split, seed=seed)
        found.append(of_one_size(arguments.run(layout)))
    r2 = [scores.r2_comp for scores in found]
    return Ladder(
        rungs=(*blocks, GEOMETRY),
        columns=(*(b.shape[1] for b in blocks.values()), arguments.arrays[0].shape[1]),
        r2=np.stack([*r2, np.asarray(found[-1].r2_both)[:, 0]]),
        r2_geom=np.stack([scores.r2_geom[:, 0] for scores in found]),
    )


def _check(blocks: Mapping[str, np.ndarray], rungs: int) -> None:
    if len(blocks) != rungs + 1 or GEOMETRY in blocks:
        raise InputError(f"call no rung {COMPOSITION!r} or {GEOMETRY!r}: both are there already")
    rows = len(blocks[COMPOSITION]) if blocks[COMPOSITION].ndim else 0
    for name, block in blocks.items():
        if block.ndim != 2 or len(block) != rows or not block.shape[1]:
            raise InputError(
                f"rung {name!r} must have axes (molecule, column) with {rows} molecules, "
                f"got shape {block.shape}"
            )
