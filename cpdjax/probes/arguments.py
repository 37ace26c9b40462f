"""Check the input of a probe and bring it to one precision.

Concrete arrays are checked and computed on in float64. Traced arrays (inside a caller's jit, vmap
or grad) are taken as they are, since their values cannot be looked at.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from cpdjax.errors import ConstantTargetWarning, InputError
from cpdjax.kernel.options import OF_GIVEN_CONCEPTS, Options
from cpdjax.kernel.probe import probe
from cpdjax.kernel.ridge import LOO_ALPHAS, may_need_refinement
from cpdjax.kernel.scores import Scores
from cpdjax.machine.precision import default_batch_size, default_dtype, precision
from cpdjax.machine.programs import compiled
from cpdjax.machine.threads import one_blas_thread
from cpdjax.machine.tracing import any_traced
from cpdjax.probes.folds import Layout
from cpdjax.probes.powers import multiplied
from cpdjax.probes.units import of_scalars, of_tensors
from cpdjax.probes.within import deviations, no_composition
from cpdjax.real_arrays import real_arrays
from cpdjax.validation import check_count, check_finite


@dataclass(frozen=True)
class Arguments:
    """Hold the checked input of one call, in units in which the kernel can square it."""

    #: What the kernel takes: features, concepts (composition first; none for tensors), targets, α.
    arrays: tuple[Array | np.ndarray, ...]
    #: The power of two that every target was divided by.
    unit: Int[Array | np.ndarray, "..."]
    options: Options
    dtype: np.dtype

    @classmethod
    def of(
        cls,
        X: Any,
        C: Any,
        Y: Any,
        alphas: Any,
        dtype: Any,
        concepts: Any = None,
        *,
        groups: Any = None,
        **options: Any,
    ) -> Arguments:
        """Check features, composition and targets; see `cpd` for what is raised.

        Args:
            concepts: columns that are projected out beside composition, or None.
            groups: the group of every row, whose means the projection "within" subtracts here;
                nothing is then left to project.
            options: fields of `kernel.options.Options`, but for those that follow from the input.
        """
        x, c, y = real_arrays(X=X, C=C, Y=Y)
        y = y[:, None] if y.ndim == 1 else y
        grid, chosen, known = _checked((x, c, y), alphas, dtype, options)
        c = _beside(c, concepts, chosen.projection)
        if chosen.projection == "within":
            c = no_composition(c, groups)
            x, y = deviations(x, groups), deviations(y, groups)
            chosen = replace(chosen, projection="none")
        return cls(*of_scalars(x, c, y, grid, chosen, known), chosen, known)

    @classmethod
    def of_tensors(cls, x: Any, y: Any, alphas: Any, dtype: Any, **options: Any) -> Arguments:
        """Check channels (row, channel, m) and targets (row, target, m) of one irrep, likewise."""
        flat = (x.reshape(len(x), -1), np.zeros((len(x), 1)), y.reshape(len(y), -1))
        grid, chosen, known = _checked(flat, alphas, dtype, options)
        return cls(*of_tensors(x, y, grid, chosen, known), chosen, known)

    @property
    def rows(self) -> int:
        """Return the number of molecules or atoms."""
        return len(self.arrays[0])

    @property
    def targets(self) -> Any:
        """Return the targets, which come before α."""
        return self.arrays[-2]

    def run(self, layout: Layout) -> Scores:
        """Run the scalar kernel, and warn of targets that have no R²."""
        scores = self.scores(probe, layout)
        if not any_traced(*self.arrays):
            _warn_constant(scores)
        return scores

    def scores(self, kernel: Callable[..., Scores], layout: Layout) -> Scores:
        """Run a kernel; predictions are in the targets' own units."""
        scores: Scores = compute(kernel, self.arrays, layout, self.options, self.dtype)
        if layout.of_splits:  # of each split its test set
            return jax.tree.map(lambda a: a[:, 0, 0][None, None], scores)
        if scores.prediction is None:
            return scores
        return replace(scores, prediction=multiplied(scores.prediction, self.unit))


def _checked(
    arrays: tuple[Any, Any, Any], alphas: Any, dtype: Any, options: dict[str, Any]
) -> tuple[Any, Options, np.dtype]:
    """Return the grid of α, options and the floating type; see `cpd` for what is raised."""
    named = list(zip(("X", "C", "Y"), arrays, strict=True))
    x, c, _ = arrays
    for name, a in named:
        _check_shape(name, a, len(x) if x.ndim else 0)
    if options.get("components") is not None:
        check_count("components", options["components"])
    chosen = Options(
        **options,
        loo=isinstance(alphas, str),
        elements=c.shape[1],
        batch_size=default_batch_size(),
    )
    grid = _grid(alphas)
    traced = any_traced(*arrays, grid)
    if dtype is None:
        dtype = jnp.result_type(x, 1.0) if traced else default_dtype()
    chosen = refining(chosen, x.size, grid, _floating(dtype))
    if not traced:
        negative = [a for a in np.asarray(grid) if not 0 <= a < np.inf]
        if negative:
            raise InputError(f"alphas must be finite and not negative, got {negative[0]}")
    return grid, chosen, _floating(dtype)


def _beside(c: Any, concepts: Any, projection: str) -> Any:
    """Return composition with the further columns that a projection regresses on, if any."""
    if concepts is None:
        if projection in OF_GIVEN_CONCEPTS:
            raise InputError(
                f"projection {projection!r} needs concepts: an array (molecule, column) of counts, "
                "such as cpdjax.bond_counts(structures)[0]"
            )
        return c
    if projection not in ("ols", *OF_GIVEN_CONCEPTS):
        raise InputError(
            f"concepts are taken out by least squares, not by projection {projection!r}: leave "
            "one of the two out"
        )
    (given,) = real_arrays(concepts=concepts)
    if given.ndim != 2 or len(given) != len(c):
        raise InputError(
            f"concepts must have axes (molecule, column) with {len(c)} molecules, row by row as in "
            f"X, got shape {given.shape}"
        )
    traced = any_traced(c, given)
    if not any_traced(given):
        check_finite("concepts", np.asarray(given, np.float64))
    xp: Any = jnp if traced else np
    return xp.concatenate([c, given], axis=1)


def refining(options: Options, numbers: int, alphas: Any, dtype: np.dtype) -> Options:
    """Return options that refine small α only if features of so many numbers may need it.

    Standardised columns have unit variance, which bounds the trace of their Gram matrix.
    """
    unknown = any_traced(alphas) or not options.standardize
    refine = unknown or may_need_refinement(np.asarray(alphas), numbers, dtype)
    return replace(options, refine=refine)


def compute(
    kernel: Callable[..., Any],
    arrays: Iterable[Any],
    layout: Layout,
    options: Options,
    dtype: Any,
) -> Any:
    """Run a kernel in the precision `dtype`, whatever the caller's global setting.

    Concrete calls all run here, and wait here for their results: on a CPU with one BLAS thread.

    Returns:
        What the kernel returns, as NumPy arrays: these keep float64 in the caller's hands, where
        JAX would round it by default. Where some input is traced, traced arrays.
    """
    given, places = tuple(arrays), (layout.index, layout.rank)
    options = replace(options, test=layout.test)
    static = {"sizes": layout.sizes, "bounds": layout.bounds, "options": options}
    if any_traced(*given):
        return kernel(*(jnp.asarray(a, dtype) for a in given), *map(jnp.asarray, places), **static)
    run = compiled(kernel, tuple(static))
    with precision(dtype), one_blas_thread():
        # All at once, and without a copy where the device reads NumPy's memory.
        held = jax.device_put([*(a.astype(dtype, copy=False) for a in given), *places])
        return jax.device_get(run(*held, **static))


def _check_shape(name: str, a: Any, molecules: int) -> None:
    if a.ndim != 2:
        raise InputError(f"{name} must have axes (molecule, column), got shape {a.shape}")
    if len(a) != molecules:
        raise InputError(
            f"{name} has {len(a)} molecules but X has {molecules}: they must be row by row"
        )
    if a.shape[1] == 0:
        raise InputError(f"{name} has no columns, got shape {a.shape}")


def _floating(dtype: Any) -> np.dtype:
    try:
        known = jnp.dtype(dtype)
    except TypeError:
        known = None
    if known is None or not jnp.issubdtype(known, jnp.floating):
        raise InputError(f"dtype must be a floating type such as float64, got {dtype!r}")
    return known


def _grid(alphas: Any) -> Any:
    if isinstance(alphas, str):
        if alphas != "loo":
            raise InputError(
                f'alphas must be a number, a sequence or "loo", such as [0.1, 1], got {alphas!r}'
            )
        return np.asarray(LOO_ALPHAS)
    grid = jnp.atleast_1d(alphas) if isinstance(alphas, jax.Array) else np.atleast_1d(alphas)
    real = np.issubdtype(grid.dtype, np.integer) or jnp.issubdtype(grid.dtype, jnp.floating)
    if grid.ndim != 1 or not grid.size or not real:
        raise InputError(f"alphas must be a number or a sequence of numbers, got {alphas!r}")
    return grid


def _warn_constant(scores: Scores) -> None:
    comp = np.asarray(scores.r2_comp)
    undefined = np.isnan(comp).reshape(-1, comp.shape[-1]).any(0)
    if undefined.any():
        warnings.warn(
            f"R² is undefined (NaN) where a target is constant among held-out molecules: "
            f"target columns {np.flatnonzero(undefined).tolist()}",
            ConstantTargetWarning,
            stacklevel=5,
        )
