"""Is a score more than chance? Permutation p-values, every permuted target a further column.

What may be permuted depends on what is doubted. The doubt that CPD answers is "given composition,
the features say nothing of the target". If that is so, the residual of the target after composition
may be exchanged between molecules. The target itself may not: permuted, it would no longer depend
on composition, and so would have more variance for the probe to overfit than the observed target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from cpdjax.errors import UnknownNameError
from cpdjax.kernel.options import Options
from cpdjax.kernel.probe import cross_validate
from cpdjax.kernel.residual import Rows
from cpdjax.probes.arguments import Arguments
from cpdjax.probes.folds import cross_validation
from cpdjax.probes.signature import takes_choices
from cpdjax.probes.splitters import Folds, read_ids
from cpdjax.probes.within import whole_folds
from cpdjax.uncertainty.resampling import orders, p_values, refuse_traced, scores_of_copies
from cpdjax.validation import check_count

SCHEMES = ("residual", "marginal")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PermutationTest:
    """Hold the mean R²_geom over folds of the targets as they are, and of permuted targets.

    The same permutations serve every α and target, so the maximum over any of these has a null
    distribution too: see `multiplicity.max_t`.
    """

    observed: Float[Array | np.ndarray, "alpha target"]
    null: Float[Array | np.ndarray, "permutation alpha target"]
    p_value: Float[Array | np.ndarray, "alpha target"]

    @property
    def selectivity(self) -> Float[np.ndarray, "alpha target"]:
        """Return the observed score less the mean score of the permuted targets.

        Permuted targets are control tasks (Hewitt and Liang, EMNLP 2019, 2733): random targets on
        which a probe can score only by being too free. Under the scheme "marginal" they have the
        marginal distribution of the target, under "residual" also its composition part.
        """
        return np.asarray(self.observed) - np.asarray(self.null).mean(0)


@takes_choices()
def permutation_test(
    X: Float[ArrayLike, "molecule feature"],
    C: Float[ArrayLike, "molecule element"],
    Y: Float[ArrayLike, " molecule"] | Float[ArrayLike, "molecule target"],
    *,
    permutations: int = 1000,
    scheme: Literal["residual", "marginal"] = "residual",
    groups: Sequence[object] | np.ndarray | None = None,
    folds: Folds = 5,
    alphas: float | Sequence[float] | Literal["loo"] = "loo",
    seed: int = 0,
    concepts: Float[ArrayLike, "molecule concept"] | None = None,
    dtype: Any = None,
    **choices: Any,
) -> PermutationTest:
    """Test R²_geom by permutation: how often does a permuted target score as well?

        p = (1 + #{null ≥ observed}) / (1 + permutations)

    The observed order counts as one of the permutations, so that p ≤ a has a probability of at most
    a, whatever their number (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9, 39, 2010). Every
    permuted target goes through the whole cross-validation, on the same folds.

    - "residual", the default, permutes what least squares from composition leaves of the target:
      y* = Cβ + P(y − Cβ) (Freedman and Lane, J. Bus. Econ. Stat. 1, 292, 1983). The null hypothesis
      is y = Cβ + noise, with the same noise for all molecules. The test is exact but for the error
      of β.
    - "marginal" permutes the target itself: y* = Py. The null hypothesis is that y has to do with
      neither features nor composition. Where composition matters, this is no test of R²_geom: it is
      too seldom significant with few features, and nearly always with many, which overfit the
      additional variance.
    - `groups`, with either scheme, lets only molecules of one group change places. With formulas
      for groups the test is exact for the hypothesis "features say nothing of y given the formula",
      linear or not, and the two schemes are one. That is the sharper question, since features can
      hold what is not linear in composition; its power comes from formulas that several molecules
      share. Where rows are atoms, group them by molecule and element: probes overfit what the atoms
      of a molecule share, and targets permuted among all atoms share it no more.

    Args:
        permutations: how many are drawn at random from `seed`; the smallest possible p is
            1 / (1 + permutations).
        scheme: "residual" or "marginal".
        groups: a label for every molecule, such as `cpdjax.formulas(...)`.
        X, C, Y, folds, alphas, standardize, projection, components, seed, dtype: as in `cpd`.
            `alphas="loo"` chooses for every permuted target anew, at some twenty times the cost of
            one α. Whatever the projection, "residual" permutes what least squares on C's columns
            leaves. The projection "within" takes its groups from `groups`: deviations change places
            within their group.
        concepts: as in `cpd`; "residual" then permutes what C and these together leave, since the
            null hypothesis is that features say nothing of the target given both.

    Returns:
        NumPy arrays. A target that is constant in a held-out fold has NaN for score and p.

    Raises:
        InputError: as `cpd`; traced arrays, no permutations, or groups that are not one label for
            each molecule.
        UnknownNameError: there is no such scheme.

    >>> rng = np.random.default_rng(0)
    >>> X, C = rng.normal(size=(100, 4)), rng.integers(0, 5, (100, 2))
    >>> Y = np.stack([X[:, 0] + C[:, 0], rng.normal(size=100) + C[:, 0]], axis=1)
    >>> test = permutation_test(X, C, Y, permutations=99)
    >>> test.null.shape, test.p_value.round(2).tolist()[0][0]
    ((99, 1, 2), 0.01)
    """
    if scheme not in SCHEMES:
        raise UnknownNameError("scheme", scheme, SCHEMES)
    check_count("permutations", permutations)
    refuse_traced(X, C, Y, alphas, concepts)
    arguments = Arguments.of(X, C, Y, alphas, dtype, concepts, groups=groups, **choices)
    _, c, y, _ = (np.asarray(a, np.float64) for a in arguments.arrays)
    own = c[:, : arguments.options.elements] if concepts is None else c
    fitted = _composition(own, y) * (scheme == "residual")
    order = orders(len(y), permutations, groups, seed)
    whole = groups if choices.get("projection") == "within" else None
    scores = mean_scores(arguments, fitted, y - fitted, order, folds, seed, whole)
    observed, null = scores[0], scores[1:]
    return PermutationTest(observed, null, p_values(observed, null))


def mean_scores(
    arguments: Arguments,
    fixed: Float[np.ndarray, "molecule target"],
    moved: Float[np.ndarray, "molecule target"],
    order: Int[np.ndarray, "copy molecule"],
    folds: Folds,
    seed: int,
    whole: Any = None,
) -> Float[np.ndarray, "copy alpha target"]:
    """Return the mean R²_geom over folds of the targets `fixed` + `moved[order]`, copy by copy."""
    ids = read_ids(folds, arguments.arrays[0], arguments.targets, what="a permutation test")
    if whole is not None:
        ids = whole_folds(ids, whole, len(fixed), seed)
    layout = cross_validation(len(fixed), ids, seed=seed)
    x, c, _, alphas = arguments.arrays
    given = (x, c, alphas, fixed, moved)
    return scores_of_copies(_of_copies, given, order, layout, arguments)


def _of_copies(
    order: Array, x: Array, c: Array, alphas: Array, fixed: Array, moved: Array,
    index: Array, rank: Array, *, options: Options,
) -> Float[Array, "copy alpha target"]:  # fmt: skip
    shape = (len(index), fixed.shape[1] * len(order), index.shape[1])
    # Targets are gathered in the order in which the kernel reads them: to transpose them afterwards
    # would cost as much as a fit.
    place = order[:, index].swapaxes(0, 1)
    y = fixed.T[:, index].swapaxes(0, 1)[:, :, None] + moved.T[:, place].swapaxes(0, 1)
    in_c, in_x = (a[index].swapaxes(1, 2) for a in (c, x))
    rows = Rows(in_c, in_x, y.reshape(shape), (rank < len(x)).astype(x.dtype))
    mean = cross_validate(rows, alphas, replace(options, full=False)).r2_geom.mean(0)
    return mean.reshape(-1, fixed.shape[1], len(order)).transpose(2, 0, 1)


def _composition(c: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "molecule target"]:
    """Return what least squares from composition, with intercept, predicts of the targets."""
    centred = c - c.mean(0)
    # Columns of unit length, so that none is taken for rounding because its unit is large.
    length = np.linalg.norm(centred, axis=0)
    centred = centred / np.where(length > 0, length, 1)
    return y.mean(0) + centred @ np.linalg.lstsq(centred, y - y.mean(0), rcond=None)[0]
