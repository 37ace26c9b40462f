"""A sweep probes feature sets × layers × irreps × targets × sizes × repeats × α; it can be resumed.

The unit of work is one channel in one repeat. Units are independent of each other and of the order
in which they run, so an interrupted sweep ends with the same results, bit for bit, as an
uninterrupted one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np
import pandas as pd
import xarray as xr

from cpdjax.data.structures import Structures
from cpdjax.errors import ConstantTargetWarning, InputError
from cpdjax.features.sources import (
    Source,
    able,
    able_controls,
    compute,
    named_sources,
    open_sources,
)
from cpdjax.models.naming import CONTROLS
from cpdjax.omissions import Omissions, note, noted
from cpdjax.probes.apart import drawn_test, nested_beside
from cpdjax.probes.folds import (
    Layout,
    block_folds,
    check_sizes,
    cross_validation,
    group_folds,
    nested,
    of_atoms,
    of_groups,
)
from cpdjax.probes.within import whole_folds
from cpdjax.processes import ALONE, Team
from cpdjax.progress import expect, shown, stage
from cpdjax.sweeps import inputs, significance
from cpdjax.sweeps.checkpoint import Checkpoint, check_before
from cpdjax.sweeps.pairing import paired
from cpdjax.sweeps.parallel import each
from cpdjax.sweeps.probe_kinds import KINDS
from cpdjax.sweeps.probing import probe_units
from cpdjax.sweeps.results import assemble, known_before, provenance
from cpdjax.sweeps.settings import (
    DEFAULT_DATASET,
    DEFAULT_FEATURES,
    Settings,
    default_sizes,
)
from cpdjax.sweeps.targets import Targets
from cpdjax.sweeps.units import Work, units
from cpdjax.validation import check_names


def sweep(
    features: Any = None,
    *,
    controls: bool = False,
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
        features: what `features.sources.open_sources` takes: models by name, arrays, tables, files.
            By default the ten models of the zoo and two descriptors, all scalars of the last
            interaction layer of each (`layers="last"`, `irreps="all"`), on "qm9-probe"; those that
            cannot take other molecules are left out.
        controls: probe the models of `models.naming.CONTROLS` as well: composition alone, the bond
            graph without a coordinate, and the networks of the zoo with random weights. Those that
            cannot take the molecules, such as the bond graph where there are no SMILES, are left
            out.
        dataset: "qm9", "qm9-probe" (molecules that no model of the zoo was trained on),
            "conformers" (`datasets.conformers` of such), a file that ASE reads, a table with a
            column `cif` of CIF text (a CSV or Parquet file or a DataFrame), structures or
            `ase.Atoms`. By default QM9, unless `targets` is a table that holds composition itself.
        targets: names of the dataset's targets; or a table, a CSV or a Parquet file: with a column
            `formula` or `smiles`; or beside a file of structures, row by row or joined on `id`; or
            names of columns of a DataFrame that `features` is, whose other columns of numbers are
            then the features. By default all scalars that composition does not explain: those
            whose median R²_comp is below 0.98.
        n: how many molecules are drawn from QM9 (by default 2,000; 300 for conformers), with the
            settings' random seed.
        out: folder that keeps extracted features and finished units while the sweep runs, so that
            it can be interrupted and resumed. By default nothing is kept.
        progress: show on standard error what is being done, and how far it is.
        processes: what `cpdjax.processes.meet` returns, where several processes call this with the
            same arguments: each computes a share, all in the folder `out`, and all get the table.
        **settings: fields of `cpdjax.sweeps.settings.Settings`: probe, layers, irreps, elements,
            skip_unknown, pool, invariants, sizes, repeats, folds, test, shuffle, composition,
            group_by, alphas, standardize, projection, components, permutations, scheme,
            permute_within, bootstrap, adjust, seed, dtype. In place of their number, `folds` may be
            one fold id a molecule, or a splitter such as scikit-learn's (give it a `random_state`)
            that holds every molecule out once; `repeats` is then 1 by default, and the table holds
            `fold_id` (molecule).

    Returns:
        `r2_geom`, `r2_full` (model, layer, irrep, repeat, size, fold, alpha, target), `r2_comp`
        (repeat, size, fold, target), `composition_share`, with units and full provenance. Where the
        projection takes more than composition, `r2_concepts` is R² of least squares from all of it.
        Combinations of model, layer and irrep that do not exist are NaN, and have 0 `n_features`.
        Sizes count molecules, also where rows are atoms, or geometries that `group_by="molecule"`
        or `projection="within"` keeps together. With `test` they count training molecules, the axis
        of folds has length one, and `in_test` (molecule) says which are the test set. In
        equivariant probes a target is NaN for channels of other irreps, `r2_full` equals `r2_geom`
        and `r2_comp` is zero.
        With `permutations`, for the mean over folds at the largest size in the first repeat:
        `p_value`, `p_adjusted` over all channels and targets, `selectivity` (model, layer, irrep,
        alpha, target), `null_r2_geom` (…, permutation, alpha, target). With `bootstrap`:
        `r2_geom_low`, `r2_geom_high` and `replicate_r2_geom` (…, replicate, alpha, target).
        The attribute `left_out` names all that was left out, with reasons, as JSON.

    Warns:
        LeftOutWarning: targets, models, rows or parts of files are left out.
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
    features, targets = inputs.parted(features, targets, dataset)
    if features is None:
        chosen = chosen.headline
    kind = KINDS[chosen.probe]
    kind.check(chosen)
    significance.check(chosen)
    if out is None and processes is not ALONE:
        raise InputError("several processes need a folder that all of them see: give out")
    folder = None if out is None else Path(out)
    alone = nullcontext() if folder is None else processes.writing(folder, folder / ".lock")
    with shown(progress), noted() as left_out:
        rounds = 1 if processes is ALONE else 2  # own units, then those of all
        drawing = bool(chosen.permutations or chosen.bootstrap)
        named = DEFAULT_FEATURES if features is None else features
        beside = len(CONTROLS) * controls
        expect(2 + controls + len(named_sources(named)) + beside + rounds * (1 + drawing))
        prepared = _prepared(features, controls, dataset, targets, n, chosen, own_folds, folder)
        with alone:
            return _swept(prepared, left_out, folder, processes)


class _Prepared(NamedTuple):
    """Hold all that is known of a sweep before any model runs."""

    sources: list[Source]
    structures: Structures | None
    targets: Targets
    layout: Layout
    settings: Settings
    facts: dict[str, Any]
    fold_ids: np.ndarray | None


def _prepared(
    features: Any,
    controls: bool,
    dataset: Any,
    targets: Any,
    n: int | None,
    chosen: Settings,
    own_folds: Any,
    folder: Path | None,
) -> _Prepared:
    """Read data, open models, and refuse what cannot be done before models run for hours."""
    kind = KINDS[chosen.probe]
    named = DEFAULT_FEATURES if features is None else features
    if features is None and dataset is None and not inputs.is_table(targets, dataset):
        dataset = DEFAULT_DATASET
    inputs.check_drawn(dataset, n)
    sources = open_sources(
        named,
        pool=kind.rows.pool(chosen),
        layers=chosen.layers,
        invariants=kind.invariants(chosen),
    )
    known = {s.name: s.model.elements for s in sources if s.model} if chosen.skip_unknown else None
    with stage("data"):
        structures, predicted = inputs.load(dataset, targets, n, chosen, known)
    check_names("target", predicted.by_name)
    if chosen.composition == "fractions":
        predicted = predicted.of_fractions()
    if features is None:
        sources = able(sources, structures, of_atoms=kind.rows.of_atoms)
    if controls:
        of_atoms = kind.rows.of_atoms
        sources += able_controls(sources, structures, chosen.layers, of_atoms=of_atoms)
    chosen, fold_ids = inputs.with_ids(chosen, own_folds, predicted)
    layout = _layout(chosen, predicted, fold_ids)
    predicted = predicted.within() if chosen.within else predicted
    if targets is None and kind.projects:
        predicted = predicted.unexplained(layout)
    significance.check_attainable(chosen, predicted)
    facts = known_before(chosen, predicted, sources) | inputs.hashed(fold_ids)
    if folder is not None:
        check_before(folder, facts)
    return _Prepared(sources, structures, predicted, layout, chosen, facts, fold_ids)


def _swept(
    prepared: _Prepared,
    left_out: Omissions,
    folder: Path | None,
    processes: Team,
) -> xr.Dataset:
    """Return the results of a sweep that keeps its features and finished units in `folder`."""
    sources, structures, predicted, layout, chosen, facts, fold_ids = prepared
    kind = KINDS[chosen.probe]
    collected = compute(
        sources,
        structures,
        pool=kind.rows.pool(chosen),
        invariants=kind.invariants(chosen),
        keep=None if folder is None else folder / "features",
        processes=processes,
    )
    collected = [paired(f, predicted) for f in collected]
    found = kind.channels(collected, predicted, chosen)
    if chosen.within:
        found = [channel.within(predicted.copies) for channel in found]
    significance.check_attainable(chosen, predicted, found)
    check_names("channel", (channel.label for channel in found))
    facts = provenance(facts, found, left_out)
    with processes.leader_first():
        checkpoint = Checkpoint(folder, facts)
    work = Work(found, predicted, layout, chosen, checkpoint)
    if processes is not ALONE:  # what follows finds all units kept
        probe_units(work, processes.share(units(work)))
        _draws(work, processes.share(significance.units(work)))
        processes.wait_for_all()
    scores = probe_units(work, units(work))
    table = assemble(work, scores, facts)
    drawn = _draws(work, significance.units(work))
    table = significance.attach(table, found, chosen, drawn)
    if fold_ids is not None:
        table[inputs.FOLD_ID] = ("molecule", fold_ids)
    if layout.test:
        held_out = np.unique(predicted.owner[layout.test_set])
        table["in_test"] = ("molecule", np.isin(np.arange(len(predicted.formulas)), held_out))
    _warn_undefined(table)
    return table


def _draws(
    work: Work, wanted: Sequence[significance.Draws]
) -> dict[significance.Draws, dict[str, Any]]:
    """Return the scores of permutations and replicates, computed or kept."""
    if not wanted:
        return {}
    kinds = " and ".join(f"{kind}s" for kind in dict.fromkeys(unit.kind for unit in wanted))
    return dict(each(partial(significance.resample, work), wanted, f"drawing {kinds}"))


def _layout(settings: Settings, targets: Targets, fold_ids: np.ndarray | None) -> Layout:
    """Return the layout of rows; its molecules are structures, or all geometries of a molecule."""
    own = targets.molecule if settings.by_molecule else targets.owner
    first = np.unique(own, return_index=True)[1]  # the row that stands for each
    n = len(first)
    trained = n - (settings.test or 0)
    sizes = settings.sizes or (default_sizes(max(trained, 1)) if settings.shuffle else (n,))
    if sizes[-1] < trained:
        left = f"{trained - sizes[-1]:,} of {n:,} molecules"
        note("rows", {left: f"the last size is {sizes[-1]:,}"})
    folds: int | np.ndarray = settings.folds
    if fold_ids is not None:
        ids = whole_folds(fold_ids[targets.owner], own, len(own), settings.seed)
        folds = np.asarray(ids)[first]
    elif settings.group_by == "formula":
        formulas = targets.formulas[targets.owner[first]]
        folds = group_folds(formulas, settings.folds, seed=settings.seed)
    layout = _subsets(settings, n, sizes, folds)
    if settings.by_molecule:
        return of_groups(layout, own)
    return layout if targets.offsets is None else of_atoms(layout, targets.offsets)


def _subsets(settings: Settings, n: int, sizes: Sequence[int], folds: int | np.ndarray) -> Layout:
    """Lay out n molecules: the first ones, random ones beside a test set, or random ones."""
    seed = settings.seed
    if not settings.shuffle:
        [size] = check_sizes(sizes, n)
        return cross_validation(size, block_folds(size, settings.folds))
    if settings.test is not None:
        test = drawn_test(n, settings.test, seed=seed)
        return nested_beside(n, sizes, settings.repeats, test, seed=seed)
    return nested(n, sizes, settings.repeats, folds, seed=seed)


def _warn_undefined(table: xr.Dataset) -> None:
    undefined = table.r2_comp.isnull().any(("repeat", "size", "fold"))
    if undefined.any():
        warnings.warn(
            "R² is undefined (NaN) where a target is constant among held-out molecules: "
            f"{', '.join(table.target.values[undefined.to_numpy()])}",
            ConstantTargetWarning,
            stacklevel=3,
        )
