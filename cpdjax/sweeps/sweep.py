"""A sweep probes feature sets × layers × irreps × targets × sizes × repeats × α; it can be resumed.

The unit of work is one stack of equally wide channels in one repeat. Units are independent of each
other and of the order in which they run, so an interrupted sweep ends with the same results, bit
for bit, as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ase
import jax
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Array

from cpdjax.configuration import checked
from cpdjax.data.structures import Structures
from cpdjax.errors import ConstantTargetWarning
from cpdjax.features.sources import collect
from cpdjax.kernel.options import Choices, Options
from cpdjax.kernel.ridge import LOO_ALPHAS
from cpdjax.kernel.scores import Scores
from cpdjax.precision import default_batch_size
from cpdjax.probes.arguments import compute
from cpdjax.probes.folds import Layout, group_folds, nested, of_atoms
from cpdjax.sweeps import inputs, significance
from cpdjax.sweeps.channels import Channel, stacks
from cpdjax.sweeps.checkpoint import Checkpoint
from cpdjax.sweeps.pairing import paired
from cpdjax.sweeps.parallel import each, fit_in_memory
from cpdjax.sweeps.probe_kinds import KINDS
from cpdjax.sweeps.results import assemble, provenance
from cpdjax.sweeps.settings import DEFAULT_FEATURES, DEFAULT_SIZES, Settings
from cpdjax.sweeps.targets import Targets
from cpdjax.sweeps.work import Work
from cpdjax.validation import check_names


def sweep(
    features: Any = DEFAULT_FEATURES,
    *,
    dataset: str | Path | Structures | Sequence[ase.Atoms] | None = None,
    targets: Sequence[str] | str | Path | pd.DataFrame | Mapping[str, Any] | None = None,
    n: int | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> xr.Dataset:
    """Probe every channel of every feature set for every target, size, repeat and α.

    Args:
        features: what `features.sources.collect` takes: models by name, arrays, tables, files.
        dataset: "qm9", "qm9-probe" (molecules that no model of the zoo was trained on), a file
            that ASE reads, structures or `ase.Atoms`. By default QM9, unless `targets` is a table
            that holds composition itself.
        targets: names of the dataset's targets (by default all scalar ones); or a table, a CSV or a
            Parquet file: with a column `formula` or `smiles`; or beside a file of structures, row
            by row or joined on `id`.
        n: how many molecules are drawn from QM9 (by default 2,000), with the settings' random seed.
        out: folder that keeps finished units while the sweep runs, so that it can be interrupted
            and resumed. By default nothing is kept.
        progress: show a progress bar on standard error.
        **settings: fields of `cpdjax.sweeps.settings.Settings`: probe, layers, irreps, pool,
            invariants, sizes, repeats, folds, group_by, alphas, standardize, projection,
            permutations, scheme, permute_within, bootstrap, adjust, seed, dtype.

    Returns:
        `r2_geom`, `r2_full` (model, layer, irrep, repeat, size, fold, alpha, target), `r2_comp`
        (repeat, size, fold, target), `composition_share`, with units and full provenance.
        Combinations of model, layer and irrep that do not exist are NaN, and have 0 `n_features`.
        Sizes count molecules, also where rows are atoms. In equivariant probes a target is NaN for
        channels of other irreps, `r2_full` equals `r2_geom` and `r2_comp` is zero.
        With `permutations`, for the mean over folds at the largest size in the first repeat:
        `p_value`, `p_adjusted` over all channels and targets, `selectivity` (model, layer, irrep,
        alpha, target), `null_r2_geom` (…, permutation, alpha, target). With `bootstrap`:
        `r2_geom_low`, `r2_geom_high` and `replicate_r2_geom` (…, replicate, alpha, target).

    Warns:
        ConstantTargetWarning: a target is constant among the held-out molecules of a fold.

    Raises:
        InputError: data or settings cannot be used; a subclass says of which kind they are.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> table = {"formula": ["CH4", "C2H6", "H2O", "CO2"] * 25, "gap": rng.normal(size=100)}
    >>> result = sweep({"mine": rng.normal(size=(100, 8))}, targets=table, sizes=[50, 100])
    >>> result.sizes["size"], result.target.values.tolist()
    (2, ['gap'])
    """
    chosen = checked(Settings, settings)
    kind = KINDS[chosen.probe]
    kind.check(chosen)
    significance.check(chosen)
    structures, predicted = inputs.load(dataset, targets, n, chosen)
    check_names("target", predicted.by_name)
    layout = _layout(chosen, predicted)  # before models run, which may take hours
    collected = collect(
        features,
        structures,
        pool=kind.rows.pool(chosen),
        layers=chosen.layers,
        invariants=kind.invariants(chosen),
        progress=progress,
    )
    collected = [paired(f, predicted) for f in collected]
    found = kind.channels(collected, predicted, chosen)
    check_names("channel", (channel.label for channel in found))
    facts = provenance(chosen, predicted, found)
    checkpoint = Checkpoint(None if out is None else Path(out), facts)
    work = Work(found, predicted, layout, chosen, checkpoint)
    scores = _run(work, progress)
    table = assemble(work, scores, facts)
    resample = partial(significance.resample, work)
    drawn = dict(each(resample, significance.units(work), progress, "drawing"))
    table = significance.attach(table, found, chosen, drawn)
    _warn_undefined(table)
    return table


def _layout(settings: Settings, targets: Targets) -> Layout:
    n = len(targets.formulas)
    sizes = settings.sizes
    if sizes is None:
        sizes = tuple(s for s in DEFAULT_SIZES if s <= n) or (n,)
    folds: int | np.ndarray = settings.folds
    if settings.group_by is not None:
        folds = group_folds(targets.formulas, settings.folds, seed=settings.seed)
    layout = nested(n, sizes, settings.repeats, folds, seed=settings.seed)
    return layout if targets.offsets is None else of_atoms(layout, targets.offsets)


class _Unit(NamedTuple):
    """Name channels of one shape that are probed together, in one repeat."""

    members: list[int]
    repeat: int

    def name(self, channels: Sequence[Channel]) -> str:
        """Return a name made of what is probed, not of its place: the order may be another."""
        content = ".".join(channels[i].hash for i in self.members)
        return f"{hashlib.sha256(content.encode()).hexdigest()[:16]}-{self.repeat}"


def _run(work: Work, progress: bool) -> dict[tuple[int, int], Scores]:
    """Return the scores of every (channel, repeat), each without its repeat axis."""
    on_cpu = jax.default_backend() == "cpu"
    most = 1 if on_cpu else fit_in_memory(work.channels, work.layout)
    groups = stacks(work.channels, most=most)
    # Repeats are the outer loop: the first units are all of different shapes, and so compile side
    # by side.
    units = [_Unit(group, repeat) for repeat in range(work.settings.repeats) for group in groups]
    scores: dict[tuple[int, int], Scores] = {}
    for unit, stack in each(partial(_probe_unit, work), units, progress, "probing"):
        for i, member in enumerate(unit.members):
            scores[member, unit.repeat] = jax.tree.map(lambda a, i=i: a[i, 0], stack)
    return scores


def _probe_unit(work: Work, unit: _Unit) -> Scores:
    """Return the scores of one unit, computed or kept from an earlier run."""
    name = unit.name(work.channels)
    kept = work.checkpoint.load(name)
    if kept is not None:
        return Scores(**kept)
    settings, kind = work.settings, KINDS[work.settings.probe]
    loo = settings.alphas == "loo"
    alphas = np.asarray(LOO_ALPHAS if loo else settings.alphas)
    own = slice(unit.repeat, unit.repeat + 1)
    x = np.stack([work.channels[i].padded() for i in unit.members])
    options = Options(
        **{choice.name: getattr(settings, choice.name) for choice in fields(Choices)},
        loo=loo,
        batch_size=default_batch_size(),
        elements=work.targets.counts.shape[1],
    )
    scores: Scores = compute(
        partial(_probe_stack, kernel=kind.kernel),
        kind.arrays(x, work.targets, alphas, options, settings.dtype),
        replace(work.layout, index=work.layout.index[own], rank=work.layout.rank[own]),
        options,
        settings.dtype,
    )
    scores = kind.among_all_targets(scores, work.targets, x)
    work.checkpoint.save(name, vars(scores))
    return scores


@partial(jax.jit, static_argnames=("kernel", "sizes", "bounds", "options"))
def _probe_stack(x: Array, *shared: Array, kernel: Any, **static: Any) -> Scores:
    """Run a kernel on every channel of a stack."""
    if len(x) == 1:  # without vmap, which would batch LAPACK calls: `kernel.ridge` says why not
        return jax.tree.map(lambda a: a[None], kernel(x[0], *shared, **static))
    return jax.vmap(lambda x: kernel(x, *shared, **static))(x)


def _warn_undefined(table: xr.Dataset) -> None:
    undefined = table.r2_comp.isnull().any(("repeat", "size", "fold"))
    if undefined.any():
        warnings.warn(
            "R² is undefined (NaN) where a target is constant among held-out molecules: "
            f"{', '.join(table.target.values[undefined.to_numpy()])}",
            ConstantTargetWarning,
            stacklevel=3,
        )
