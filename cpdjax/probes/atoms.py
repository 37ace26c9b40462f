"""Probe atoms: what do the features of an atom tell of it beyond which element it is?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import ArrayLike, Float, Int, Shaped

from cpdjax.errors import InputError
from cpdjax.kernel.scores import Scores
from cpdjax.probes.cpd import cpd
from cpdjax.probes.folds import cross_validation, kfold
from cpdjax.probes.signature import takes_choices
from cpdjax.probes.splitters import Folds, read_ids
from cpdjax.real_arrays import real_arrays


@takes_choices(without=["projection"])
def atom_cpd(
    X: Float[ArrayLike, "atom feature"],
    numbers: Int[np.ndarray, " atom"],
    Y: Float[ArrayLike, " atom"] | Float[ArrayLike, "atom target"],
    molecule: Shaped[np.ndarray, " atom"],
    *,
    folds: Folds = 5,
    alphas: float | Sequence[float] | Literal["loo"] = "loo",
    seed: int = 0,
    predictions: bool = False,
    dtype: Any = None,
    **choices: Any,
) -> Scores:
    """Run `cpd` with a row an atom: element identity for composition, molecules kept whole.

    `r2_comp` is then what the mean of every element's training atoms explains, and `r2_geom` what
    features tell of an atom's surroundings.

    Args:
        X: features of every atom.
        numbers: atomic numbers; they become the columns of `one_hot`.
        Y: targets of atoms, such as `structures.atom_targets["mulliken_charge"]`.
        molecule: which molecule every atom belongs to: any labels, atoms in any order.
        folds: number of shuffled folds of molecules drawn from `seed`, or the fold id of every
            molecule, in the sorted order of its labels. All atoms of a molecule share its fold.
        alphas: as in `cpd`; "loo" leaves out one atom, whose molecule's other atoms stay.
        standardize, components, seed, predictions, dtype: as in `cpd`.

    Returns:
        Scores with axes (fold, alpha, target); `prediction` with axes (alpha, atom, target).

    Raises:
        InputError: as `cpd`, and atoms without one number and one molecule each.

    >>> rng = np.random.default_rng(0)
    >>> X, numbers = rng.normal(size=(300, 4)), rng.choice([1, 6, 8], 300)
    >>> scores = atom_cpd(X, numbers, X[:, 0] + 3 * (numbers == 8), np.arange(300) // 6)
    >>> scores.r2_geom.shape, bool(abs(scores.r2_comp.mean() - 2 / 3) < 0.1)
    ((5, 1, 1), True)
    """
    X, numbers = real_arrays(X=X, numbers=numbers)
    labels = np.asarray(molecule)
    atoms = np.shape(X)[0] if np.ndim(X) else 0
    for name, values in (("numbers", np.asarray(numbers)), ("molecule", labels)):
        if values.shape != (atoms,):
            raise InputError(f"{name} must have one entry for each of {atoms} atoms of X, "
                             f"got shape {values.shape}")  # fmt: skip
    names, owner = np.unique(labels, return_inverse=True)
    ids = read_ids(folds, names, what="atom_cpd")
    if isinstance(ids, int):
        ids = kfold(len(names), ids, seed=seed)
    else:
        cross_validation(len(names), ids)  # for its checks
    return cpd(
        X,
        one_hot(numbers),
        Y,
        folds=np.asarray(ids)[owner],
        alphas=alphas,
        predictions=predictions,
        dtype=dtype,
        **choices,
    )


def one_hot(numbers: Int[np.ndarray, " atom"]) -> Float[np.ndarray, "atom element"]:
    """Return element identity: a column for each element present, sorted by atomic number.

    >>> one_hot(np.array([8, 1, 1]))
    array([[0., 1.],
           [1., 0.],
           [1., 0.]])
    """
    return (np.asarray(numbers)[:, None] == np.unique(numbers)).astype(np.float64)
