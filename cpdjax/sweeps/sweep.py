"""A sweep probes feature sets × layers × irreps × targets × sizes × repeats × α; it can be resumed.

The unit of work is one channel in one repeat. Units are independent of each other and of the order
in which they run, so an interrupted sweep ends with the same results, bit for bit, as an
uninterrupted one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pandas as pd
import xarray as xr

from cpdjax.data.structures import Structures
from cpdjax.errors import ConstantTargetWarning, InputError
from cpdjax.features.sources import collect
from cpdjax.probes.folds import Layout, group_folds, nested, of_atoms
from cpdjax.processes import ALONE, Team
from cpdjax.sweeps import inputs, significance
from cpdjax.sweeps.checkpoint import Checkpoint
from cpdjax.sweeps.pairing import paired
from cpdjax.sweeps.parallel import each
from cpdjax.sweeps.probe_kinds import KINDS
from cpdjax.sweeps.probing import probe_units
from cpdjax.sweeps.results import assemble, provenance
from cpdjax.sweeps.settings import DEFAULT_FEATURES, DEFAULT_SIZES, Settings
from cpdjax.sweeps.targets import Targets
from cpdjax.sweeps.units import units
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
    processes: Team = ALONE,
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
            by row or joined on `id`; or names of columns of a DataFrame that `features` is, whose
            other columns of numbers are then the features.
        n: how many molecules are drawn from QM9 (by default 2,000), with the settings' random seed.
        out: folder that keeps extracted features and finished units while the sweep runs, so that
            it can be interrupted and resumed. By default nothing is kept.
        progress: show a progress bar on standard error.
        processes: what `cpdjax.processes.meet` returns, where several processes call this with the
            same arguments: each computes a share, all in the folder `out`, and all get the table.
        **settings: fields of `cpdjax.sweeps.settings.Settings`: probe, layers, irreps, pool,
            invariants, sizes, repeats, folds, group_by, alphas, standardize, projection,
            permutations, scheme, permute_within, bootstrap, adjust, seed, dtype. In place of their
            number, `folds` may be one fold id a molecule, or a splitter such as scikit-learn's
            (give it a `random_state`) that holds every molecule out once; `repeats` is then 1 by
            default, and the table holds `fold_id` (molecule).

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
        FileError: `out` holds another sweep, or another process is writing to it.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> table = {"formula": ["CH4", "C2H6", "H2O", "CO2"] * 25, "gap": rng.normal(size=100)}
    >>> result = sweep({"mine": rng.normal(size=(100, 8))}, targets=table, sizes=[50, 100])
    >>> result.sizes["size"], result.target.values.tolist()
    (2, ['gap'])
    """
    chosen, own_folds = inputs.settings_and_folds(settings)
    kind = KINDS[chosen.probe]
    kind.check(chosen)
    significance.check(chosen)
    features, targets = inputs.parted(features, targets, dataset)
    loaded = inputs.load(dataset, targets, n, chosen)
    check_names("target", loaded[1].by_name)
    chosen, ids = inputs.with_ids(chosen, own_folds, loaded[1])
    if out is None:
        if processes is not ALONE:
            raise InputError("several processes need a folder that all of them see: give out")
        return _swept(features, *loaded, chosen, ids, None, progress, ALONE)
    folder = Path(out)
    with processes.writing(folder, folder / ".lock"):
        return _swept(features, *loaded, chosen, ids, folder, progress, processes)


def _swept(
    features: Any,
    structures: Structures | None,
    predicted: Targets,
    chosen: Settings,
    fold_ids: np.ndarray | None,
    folder: Path | None,
    progress: bool,
    processes: Team,
) -> xr.Dataset:
    """Return the results of a sweep that keeps its features and finished units in `folder`."""
    kind = KINDS[chosen.probe]
    layout = _layout(chosen, predicted, fold_ids)  # before models run, which may take hours
    collected = collect(
        features,
        structures,
        pool=kind.rows.pool(chosen),
        layers=chosen.layers,
        invariants=kind.invariants(chosen),
        keep=None if folder is None else folder / "features",
        progress=progress,
        processes=processes,
    )
    collected = [paired(f, predicted) for f in collected]
    found = kind.channels(collected, predicted, chosen)
    check_names("channel", (channel.label for channel in found))
    facts = provenance(chosen, predicted, found) | inputs.hashed(fold_ids)
    with processes.leader_first():
        checkpoint = Checkpoint(folder, facts)
    work = Work(found, predicted, layout, chosen, checkpoint)
    if processes is not ALONE:  # what follows finds all units kept
        probe_units(work, processes.share(units(work)), progress)
        _draws(work, processes.share(significance.units(work)), progress)
        processes.wait_for_all()
    scores = probe_units(work, units(work), progress)
    table = assemble(work, scores, facts)
    drawn = _draws(work, significance.units(work), progress)
    table = significance.attach(table, found, chosen, drawn)
    if fold_ids is not None:
        table[inputs.FOLD_ID] = ("molecule", fold_ids)
    _warn_undefined(table)
    return table


def _draws(
    work: Work, wanted: Sequence[significance.Draws], progress: bool
) -> dict[significance.Draws, dict[str, Any]]:
    """Return the scores of permutations and replicates, computed or kept."""
    return dict(each(partial(significance.resample, work), wanted, progress, "drawing"))


def _layout(settings: Settings, targets: Targets, fold_ids: np.ndarray | None) -> Layout:
    n = len(targets.formulas)
    sizes = settings.sizes
    if sizes is None:
        sizes = tuple(s for s in DEFAULT_SIZES if s <= n) or (n,)
    folds: int | np.ndarray = settings.folds if fold_ids is None else fold_ids
    if settings.group_by is not None:
        folds = group_folds(targets.formulas, settings.folds, seed=settings.seed)
    layout = nested(n, sizes, settings.repeats, folds, seed=settings.seed)
    return layout if targets.offsets is None else of_atoms(layout, targets.offsets)


def _warn_undefined(table: xr.Dataset) -> None:
    undefined = table.r2_comp.isnull().any(("repeat", "size", "fold"))
    if undefined.any():
        warnings.warn(
            "R² is undefined (NaN) where a target is constant among held-out molecules: "
            f"{', '.join(table.target.values[undefined.to_numpy()])}",
            ConstantTargetWarning,
            stacklevel=3,
        )
