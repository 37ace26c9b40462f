"""The sweep: feature sets × layers × irreps × targets × sizes × repeats × α, resumable.

The unit of work is one stack of equally wide channels in one repeat. Units are independent of
each other and of the order in which they run, so an interrupted sweep goes on to the very bits
of an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
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
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits

from cpdjax import uncertainty
from cpdjax.arguments import centred, default_batch_size, precision
from cpdjax.channels import Channel, channels, stacks, tensor_channels
from cpdjax.checkpoint import Checkpoint
from cpdjax.datasets import SCALAR_TARGETS, qm9, read
from cpdjax.errors import ConstantTargetWarning, InputError
from cpdjax.features import Features
from cpdjax.folds import Layout, group_folds, nested, of_atoms
from cpdjax.models.trained import qm9_probe
from cpdjax.molecules import Molecules, as_table
from cpdjax.probe import Options, Scores, probe
from cpdjax.projection import concepts
from cpdjax.results import assemble, provenance
from cpdjax.ridge import LOO_ALPHAS
from cpdjax.settings import (
    DEFAULT_FEATURES,
    DEFAULT_MOLECULES,
    DEFAULT_SIZES,
    Settings,
    checked,
)
from cpdjax.sources import collect
from cpdjax.structures import Structures
from cpdjax.targets import among_all, fitting, targets_of
from cpdjax.tensor_probe import tensor_probe
from cpdjax.tensor_targets import IRREPS

_QM9 = {"qm9": qm9, "qm9-probe": qm9_probe}


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
        features: what `cpdjax.sources.collect` takes: models by name, arrays, tables, files.
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
        **settings: fields of `cpdjax.settings.Settings`: probe, layers, irreps, pool,
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
    drawn = dict(_each(draw, uncertainty.units(found, chosen), progress, "drawing"))
    table = uncertainty.attach(table, found, chosen, drawn)
    _warn_undefined(table)
    return table


def load(
    dataset: Any, targets: Any, n: int | None, settings: Settings
) -> tuple[Structures | None, Molecules]:
    """What is probed, from the arguments of `sweep`; no structures where a table has formulas.

    Raises:
        InputError: arguments that do not go together, data that cannot be used.
    """
    if isinstance(targets, str) and not Path(targets).suffix:
        targets = [targets]  # one target's name
    is_table = isinstance(targets, str | Path | pd.DataFrame | Mapping)
    is_qm9 = isinstance(dataset, str) and dataset in _QM9
    if n is not None and (is_table or not (dataset is None or is_qm9)):
        raise InputError("n draws molecules from QM9; other data are taken whole: use sizes")
    if is_table and dataset is None:
        if settings.probe != "ridge":
            raise InputError(
                f"probe {settings.probe!r} needs structures: give a dataset, and name its targets"
            )
        return None, Molecules.from_table(targets)
    names = targets
    if isinstance(dataset, str | Path) and not is_qm9:
        table = as_table(targets) if is_table else None
        structures = read(dataset, targets=table)
        names = targets if table is None else [n for n in structures.targets if n in table]
    elif is_table:
        raise InputError(
            "a table of targets goes with a file of structures, or with features alone and no "
            "dataset; other structures hold their own targets (Structures.from_atoms adds some)"
        )
    elif dataset is None or is_qm9:
        draw = _QM9[dataset or "qm9"]
        structures = draw(DEFAULT_MOLECULES if n is None else n, settings.seed)
        scalars = SCALAR_TARGETS if settings.probe == "ridge" else None
        names = scalars if targets is None else targets
    elif isinstance(dataset, Structures):
        structures = dataset
    else:
        structures = Structures.from_atoms(list(dataset))
    return structures, targets_of(structures, names, settings.probe)


def _channels(
    features: Sequence[Features], molecules: Molecules, settings: Settings
) -> list[Channel]:
    rows, what = len(molecules), "atoms" if settings.per_atom else "molecules"
    if not settings.equivariant:
        return channels(features, rows, settings.irreps, settings.invariants, what=what)
    wanted = {IRREPS[values.shape[1]] for values in molecules.targets.values()}
    return tensor_channels(features, rows, wanted, settings.irreps, what=what)


def _layout(settings: Settings, molecules: Molecules) -> Layout:
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
    molecules: Molecules,
    layout: Layout,
    settings: Settings,
    checkpoint: Checkpoint,
    progress: bool,
) -> dict[tuple[int, int], Scores]:
    """Scores of every (channel, repeat), each without its repeat axis."""
    on_cpu = jax.default_backend() == "cpu"
    groups = stacks(found, most=1 if on_cpu else _fit_in_memory(found, layout))
    # Repeats outermost: the first units are all of different shapes and compile side by side.
    units = [_Unit(g, r) for r in range(settings.repeats) for g in groups]
    work = partial(_probe_unit, found, molecules, layout, settings, checkpoint)
    scores: dict[tuple[int, int], Scores] = {}
    for unit, stack in _each(work, units, progress, "probing"):
        for i, member in enumerate(unit.members):
            scores[member, unit.repeat] = jax.tree.map(lambda a, i=i: a[i, 0], stack)
    return scores


def _each(
    work: Callable[[Any], Any], units: Sequence[Any], progress: bool, doing: str
) -> Iterator[tuple[Any, Any]]:
    """Every unit with what `work` makes of it, as they finish, one a core at a time."""
    if not units:
        return
    with _parallel(jax.default_backend() == "cpu") as pool, _bar(progress) as bar:
        task = bar.add_task(doing, total=len(units))
        futures = {pool.submit(work, unit): unit for unit in units}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
                bar.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # units under way finish, and are kept
            raise


def _probe_unit(
    found: Sequence[Channel],
    molecules: Molecules,
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


def _fit_in_memory(found: Sequence[Channel], layout: Layout) -> int:
    """Channels whose probes fit in half of the device's memory."""
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit", 2**32) // 2
    width = max(c.width for c in found)
    _, folds, slots = layout.index.shape
    rows = folds * slots * max(c.components for c in found)
    # All folds at once: their rows gathered, and some eight square matrices.
    one = 8 * folds * width * (rows + 8 * min(width, rows))
    return max(int(limit // one), 1)


@contextmanager
def _parallel(on_cpu: bool) -> Iterator[ThreadPoolExecutor]:
    """One thread a core, each with single-threaded LAPACK; an accelerator needs one thread.

    Many small factorisations run faster side by side than each on all cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with (
        threadpool_limits(1 if on_cpu else None, user_api="blas"),
        ThreadPoolExecutor(cores if on_cpu else 1) as pool,
    ):
        yield pool


def _bar(progress: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not progress,
    )
