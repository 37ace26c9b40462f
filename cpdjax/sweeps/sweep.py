"""The sweep: feature sets × layers × irreps × targets × sizes × repeats × α, resumable.

The unit of work is one stack of equally wide channels in one repeat. Units are independent of
each other and of the order in which they run, so an interrupted sweep goes on to the very bits
of an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ase
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Array

from cpdjax.configuration import checked
from cpdjax.data.structures import Structures
from cpdjax.data.tensor_targets import IRREPS
from cpdjax.errors import ConstantTargetWarning, InputError
from cpdjax.features.features import Features
from cpdjax.features.sources import collect
from cpdjax.kernel.equivariant_probe import equivariant_probe as tensor_probe
from cpdjax.kernel.options import Options
from cpdjax.kernel.probe import probe
from cpdjax.kernel.projection import concepts
from cpdjax.kernel.ridge import LOO_ALPHAS
from cpdjax.kernel.scores import Scores
from cpdjax.precision import centred, default_batch_size, precision
from cpdjax.probes.folds import Layout, group_folds, nested, of_atoms
from cpdjax.sweeps import significance as uncertainty
from cpdjax.sweeps.channels import Channel, channels, stacks, tensor_channels
from cpdjax.sweeps.checkpoint import Checkpoint
from cpdjax.sweeps.inputs import load
from cpdjax.sweeps.parallel import each, fit_in_memory
from cpdjax.sweeps.results import assemble, provenance
from cpdjax.sweeps.settings import DEFAULT_FEATURES, DEFAULT_SIZES, Settings
from cpdjax.sweeps.targets import Targets, among_all, fitting


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
            that ASE reads, structures or `ase.Atoms`. By default QM9, unless
            `targets` is a table that knows composition itself.
        targets: names of the dataset's targets (all scalar ones by default); or a table, a CSV
            or a Parquet file: with a column `formula` or `smiles`, or beside a file of
            structures, row by row or joined on `id`.
        n: molecules drawn from QM9 (2,000 by default), with the settings' seed.
        out: folder that keeps finished units while the sweep runs, so that it can be
            interrupted and resumed. None keeps nothing.
        progress: show a progress bar on standard error.
        **settings: fields of `cpdjax.sweeps.settings.Settings`: probe, layers, irreps, pool,
            invariants, sizes, repeats, folds, group_by, alphas, standardize, projection,
            permutations, scheme, permute_within, bootstrap, adjust, seed, dtype.

    Returns:
        `r2_geom`, `r2_full` (model, layer, irrep, repeat, size, fold, alpha, target), `r2_comp`
        (repeat, size, fold, target), `composition_share`, with units and full provenance.
        Combinations of model, layer and irrep that do not exist are NaN, `n_features` 0. Sizes
        count molecules, also where rows are atoms. Of equivariant probes, a target is NaN for
        channels of other irreps, `r2_full` equals `r2_geom` and `r2_comp` is zero.
        With `permutations`, for the mean over folds at the largest size in the first repeat:
        `p_value`, `p_adjusted` over all channels and targets, `selectivity` (model, layer, irrep,
        alpha, target), `null_r2_geom` (…, permutation, alpha, target). With `bootstrap`:
        `r2_geom_low`, `r2_geom_high` and `replicate_r2_geom` (…, replicate, alpha, target).

    Warns:
        ConstantTargetWarning: targets that are constant among a fold's held-out molecules.

    Raises:
        InputError: data or settings that cannot be used; a subclass says which kind.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> table = {"formula": ["CH4", "C2H6", "H2O", "CO2"] * 25, "gap": rng.normal(size=100)}
    >>> result = sweep({"mine": rng.normal(size=(100, 8))}, targets=table, sizes=[50, 100])
    >>> result.sizes["size"], result.target.values.tolist()
    (2, ['gap'])
    """
    chosen = checked(Settings, settings)
    if chosen.equivariant and chosen.projection != "ols":
        raise InputError(
            f"projection {chosen.projection!r} is for scalars: equivariant probes take nothing "
            "from features, for no vector or tensor is made of composition alone"
        )
    uncertainty.check(chosen)
    structures, molecules = load(dataset, targets, n, chosen)
    collected = collect(
        features,
        structures,
        pool="atom" if chosen.per_atom else chosen.pool,
        layers=chosen.layers,
        invariants=None if chosen.equivariant else chosen.invariants,
        progress=progress,
    )
    found = _channels(collected, molecules, chosen)
    layout = _layout(chosen, molecules)
    facts = provenance(chosen, molecules, found)
    checkpoint = Checkpoint(None if out is None else Path(out), facts)
    scores = _run(found, molecules, layout, chosen, checkpoint, progress)
    table = assemble(found, molecules, layout, chosen, scores, facts)
    draw = partial(uncertainty.draw, found, molecules, layout, chosen, checkpoint)
    drawn = dict(each(draw, uncertainty.units(found, chosen), progress, "drawing"))
    table = uncertainty.attach(table, found, chosen, drawn)
    _warn_undefined(table)
    return table


def _channels(
    features: Sequence[Features], molecules: Targets, settings: Settings
) -> list[Channel]:
    rows, what = len(molecules), "atoms" if settings.per_atom else "molecules"
    if not settings.equivariant:
        return channels(features, rows, settings.irreps, settings.invariants, what=what)
    wanted = {IRREPS[values.shape[1]] for values in molecules.targets.values()}
    return tensor_channels(features, rows, wanted, settings.irreps, what=what)


def _layout(settings: Settings, molecules: Targets) -> Layout:
    n = len(molecules.formulas)
    sizes = settings.sizes
    if sizes is None:
        sizes = tuple(s for s in DEFAULT_SIZES if s <= n) or (n,)
    folds: int | np.ndarray = settings.folds
    if settings.group_by is not None:
        folds = group_folds(molecules.formulas, settings.folds, seed=settings.seed)
    layout = nested(n, sizes, settings.repeats, folds, seed=settings.seed)
    return layout if molecules.offsets is None else of_atoms(layout, molecules.offsets)


class _Unit(NamedTuple):
    members: list[int]
    repeat: int

    def name(self, found: Sequence[Channel]) -> str:
        """From what is probed, not from its place: channels may come in another order."""
        content = ".".join(found[i].hash for i in self.members)
        return f"{hashlib.sha256(content.encode()).hexdigest()[:16]}-{self.repeat}"


def _run(
    found: Sequence[Channel],
    molecules: Targets,
    layout: Layout,
    settings: Settings,
    checkpoint: Checkpoint,
    progress: bool,
) -> dict[tuple[int, int], Scores]:
    """Scores of every (channel, repeat), each without its repeat axis."""
    on_cpu = jax.default_backend() == "cpu"
    groups = stacks(found, most=1 if on_cpu else fit_in_memory(found, layout))
    # Repeats outermost: the first units are all of different shapes and compile side by side.
    units = [_Unit(g, r) for r in range(settings.repeats) for g in groups]
    work = partial(_probe_unit, found, molecules, layout, settings, checkpoint)
    scores: dict[tuple[int, int], Scores] = {}
    for unit, stack in each(work, units, progress, "probing"):
        for i, member in enumerate(unit.members):
            scores[member, unit.repeat] = jax.tree.map(lambda a, i=i: a[i, 0], stack)
    return scores


def _probe_unit(
    found: Sequence[Channel],
    molecules: Targets,
    layout: Layout,
    settings: Settings,
    checkpoint: Checkpoint,
    unit: _Unit,
) -> Scores:
    name = unit.name(found)
    kept = checkpoint.load(name)
    if kept is not None:
        return Scores(**kept)
    loo = settings.alphas == "loo"
    alphas = np.asarray(LOO_ALPHAS if loo else settings.alphas)
    x = np.stack([found[i].padded() for i in unit.members])
    data: tuple[Any, ...] = (concepts(molecules.counts, settings.projection), molecules.y)
    if settings.equivariant:
        data = (fitting(molecules, x.shape[-1]),)
    elif settings.dtype == "float32":
        x, data = centred(x), (data[0], centred(molecules.y))
    options = Options(
        settings.standardize,
        loo=loo,
        batch_size=default_batch_size(),
        projection=settings.projection,
        elements=molecules.counts.shape[1],
    )
    own = slice(unit.repeat, unit.repeat + 1)
    with precision(settings.dtype):
        arrays = (jnp.asarray(a, settings.dtype) for a in (x, *data, alphas))
        stack = _probe_stack(
            *arrays,
            jnp.asarray(layout.index[own]),
            jnp.asarray(layout.rank[own]),
            kernel=tensor_probe if settings.equivariant else probe,
            sizes=layout.sizes,
            bounds=layout.bounds,
            options=options,
        )
        scores = jax.tree.map(np.asarray, stack)
    if settings.equivariant:
        scores = among_all(scores, molecules, x.shape[-1])
    checkpoint.save(name, vars(scores))
    return scores


@partial(jax.jit, static_argnames=("kernel", "sizes", "bounds", "options"))
def _probe_stack(x: Array, *shared: Array, kernel: Any, **static: Any) -> Scores:
    if len(x) == 1:  # without vmap, which would batch LAPACK calls: see `ridge`
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
