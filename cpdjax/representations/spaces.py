"""Compare the spaces of many models: how alike are they, raw and with composition taken out?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import ase
import xarray as xr

from cpdjax.configuration import checked
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.features.layer_names import LAST
from cpdjax.features.sources import (
    Source,
    able,
    able_controls,
    compute,
    named_sources,
    open_sources,
)
from cpdjax.likeness.draws import weights
from cpdjax.locks import sole_writer
from cpdjax.models.naming import CONTROLS
from cpdjax.omissions import Omissions, noted
from cpdjax.progress import expect, shown, stage
from cpdjax.representations import nulls
from cpdjax.representations.groups import channels_of, groups_of
from cpdjax.representations.needs import check_rows, check_settings, warn_of_wide
from cpdjax.representations.observed import Work, measured, subtracted
from cpdjax.representations.results import SPACES, assemble
from cpdjax.representations.rows import drawn, exchangeable, kind_of, rows_of
from cpdjax.representations.settings import OF_NEIGHBOURS, SpaceSettings
from cpdjax.sweeps import inputs
from cpdjax.sweeps.checkpoint import Checkpoint, check_before
from cpdjax.sweeps.pairing import paired
from cpdjax.sweeps.results import known_before, provenance
from cpdjax.sweeps.rows import Rows
from cpdjax.sweeps.settings import DEFAULT_DATASET, DEFAULT_FEATURES
from cpdjax.validation import check_names


def spaces(
    features: Any = None,
    C: Any = None,
    *,
    controls: bool = False,
    dataset: str | Path | Structures | Sequence[ase.Atoms] | None = None,
    n: int | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> xr.Dataset:
    """Measure how alike the spaces of all channels are, raw and with composition taken out.

    A channel is one layer of one model (`irreps=["all"]`, by default), or one irrep of it. Its
    columns are what a projection leaves of the features: fitted on the training rows of each fold,
    subtracted from those that the fold holds out. Beside that everything is measured of the raw
    features, less their mean over all rows (R²: over the training rows of each fold). Columns keep
    their relative sizes, and each channel has one unit.

    Args:
        features: what `features.sources.open_sources` takes: models by name, arrays, tables, files.
            By default the ten models of the zoo and two descriptors, the last interaction layer of
            each, on "qm9-probe"; those that cannot take other molecules are left out.
        C: composition, an array (row, element), where features are arrays. With structures, or
            features that know their formulas, give none.
        controls: compare the models of `models.naming.CONTROLS` as well: composition alone, the
            bond graph, and the networks of the zoo with random weights.
        dataset: as in `cpdjax.sweep`; by default QM9 where a model has to run, or else none.
        n: how many molecules are drawn from QM9, by default 2,000.
        out: folder that keeps extracted features and finished units, so that an interrupted
            comparison can be resumed. By default nothing is kept.
        progress: show on standard error what is being done, and how far it is.
        **settings: fields of `cpdjax.representations.settings.SpaceSettings`: probe, layers,
            irreps, elements, skip_unknown, pool, invariants, composition, projection, folds,
            group_by, alpha, variance, neighbours, measures, permutations, bootstrap, seed.

    Returns:
        The measures of `cpdjax.likeness.measures`. Of pairs (projection, channel_a, channel_b):
        `r2` (with an axis fold; the global feature reconstruction error is √(1 − r2)), `cka`,
        `cka_debiased`, `cca`, `procrustes`, `imbalance`, `shared_neighbours`. Of channels
        (projection, channel): `participation_ratio`, `effective_rank`, `intrinsic_dimension`.
        Coordinates tell `model`, `layer` and `irrep` of every channel, with `_a` and `_b` of pairs.
        Only channels of one irrep are compared (where labels of a model hold for rotations only,
        those of one degree): other pairs are NaN, and so are channels of which a projection leaves
        nothing, such as composition itself.
        With `bootstrap`, `<measure>_low` and `<measure>_high`. With `permutations`,
        `<measure>_null`, the mean by chance, `<measure>_p` and `<measure>_p_adjusted` (max-T over
        all pairs of a projection). Attributes hold the provenance, and `left_out` as JSON.

    Warns:
        LeftOutWarning: models, channels or rows are left out.
        UserWarning: channels have so many columns that CCA finds them alike by chance.

    Raises:
        InputError: data or settings cannot be used: other molecules, another order, too few rows or
            channels; a subclass says of which kind they are.
        FileError: `out` holds something else, or another process is writing to it.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> C, a, b = rng.poisson(3, (60, 2)), rng.normal(size=(60, 4)), rng.normal(size=(60, 3))
    >>> turned = a @ np.linalg.qr(rng.normal(size=(4, 4)))[0]
    >>> table = spaces({"a": a, "turned": turned, "b": b}, C, measures=["cka"])
    >>> table.cka.sel(projection="ols").values.round(1)
    array([[1. , 1. , 0.1],
           [1. , 1. , 0.1],
           [0.1, 0.1, 1. ]])
    """
    chosen = checked(SpaceSettings, settings)
    check_settings(chosen)
    folder = None if out is None else Path(out)
    alone = nullcontext() if folder is None else sole_writer(folder, folder / ".lock")
    with shown(progress), noted() as left_out, alone:
        _expect(features, controls, chosen)
        prepared = _prepared(features, C, controls, dataset, n, chosen, folder)
        return _compared(prepared, left_out, folder)


def _expect(features: Any, controls: bool, settings: SpaceSettings) -> None:
    """Say how many stages follow: opening and data, features, projections, and comparing."""
    named = DEFAULT_FEATURES if features is None else features
    models = len(named_sources(named)) + len(CONTROLS) * controls
    near = bool({*OF_NEIGHBOURS} & {*settings.wanted})
    expect(2 + controls + models + 1 + near + 1 + 2 * bool(settings.permutations))


def _permuted(rows: Rows, settings: SpaceSettings) -> dict[str, int]:
    """Return how many rows permutations can move, where there are some."""
    return {"exchangeable": exchangeable(rows, settings)} if settings.permutations else {}


class _Prepared(NamedTuple):
    """Hold all that is known of a comparison before any model runs."""

    sources: list[Source]
    structures: Structures | None
    rows: Rows
    settings: SpaceSettings
    facts: dict[str, Any]


def _prepared(
    features: Any,
    composition: Any,
    controls: bool,
    dataset: Any,
    n: int | None,
    chosen: SpaceSettings,
    folder: Path | None,
) -> _Prepared:
    """Read data, open models, and refuse what cannot be done before models run for hours."""
    kind = kind_of(chosen)
    layers = chosen.layers or ((LAST,) if features is None else None)
    named = DEFAULT_FEATURES if features is None else features
    if features is None and dataset is None:
        dataset = DEFAULT_DATASET
    inputs.check_drawn(dataset, n)
    sources = open_sources(
        named, pool=kind.rows.pool(chosen), layers=layers, invariants=kind.invariants(chosen)
    )
    with stage("data"):
        structures = _structures(sources, composition, dataset, n, chosen)
        rows = rows_of(composition, sources, structures, chosen)
        check_rows(rows, chosen)
    if features is None:
        sources = able(sources, structures, of_atoms=kind.rows.of_atoms)
    if controls:
        sources += able_controls(sources, structures, layers, of_atoms=kind.rows.of_atoms)
    facts = known_before(chosen, rows, sources)
    if folder is not None:
        check_before(folder, facts, SPACES)
    return _Prepared(sources, structures, rows, chosen, facts)


def _structures(
    sources: Sequence[Source], composition: Any, dataset: Any, n: int | None, chosen: SpaceSettings
) -> Structures | None:
    """Return the structures that models run on, or that say what rows are; None without any.

    Raises:
        InputError: composition is given beside structures, which have their own.
    """
    models = [source for source in sources if source.model]
    limited = n is not None or chosen.elements is not None or chosen.skip_unknown
    if not (models or limited or dataset is not None):
        return None
    if composition is not None:
        why = f"model {models[0].name!r} runs on structures" if models else "a dataset"
        raise InputError(f"C goes with arrays alone, and {why}, which tell composition: give one")
    known = {s.name: s.model.elements for s in models if s.model} if chosen.skip_unknown else None
    return inputs.molecules(dataset, n, chosen.seed, elements=chosen.elements, known=known)


def _compared(prepared: _Prepared, left_out: Omissions, folder: Path | None) -> xr.Dataset:
    """Return the results of a comparison that keeps its features and units in `folder`."""
    sources, structures, rows, chosen, facts = prepared
    kind = kind_of(chosen)
    collected = compute(
        sources,
        structures,
        pool=kind.rows.pool(chosen),
        invariants=kind.invariants(chosen),
        keep=None if folder is None else folder / "features",
    )
    found = channels_of([paired(f, rows) for f in collected], rows, chosen)
    check_names("channel", (channel.label for channel in found))
    warn_of_wide(found, chosen)
    # The order decides which channel's row holds what is symmetric.
    facts = provenance(facts, found, left_out) | {"channels": [c.label for c in found]}
    units = int(drawn(rows, chosen).max()) + 1
    draws = weights(units, chosen.bootstrap, chosen.seed) if chosen.bootstrap else None
    work = Work(groups_of(found, rows, chosen), chosen, draws, Checkpoint(folder, facts, SPACES))
    work, residuals = subtracted(work)
    pairs = measured(work, residuals)
    chance = nulls.drawn(work, pairs, rows)
    facts |= {"left_out": left_out} | _permuted(rows, chosen)
    return assemble(found, chosen, pairs, chance, facts)
