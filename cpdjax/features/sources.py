"""Collect features from any source: a model by name, a file, an array or a table.

Everything becomes `Features`: named layers of irrep-tagged arrays, with one row a molecule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from cpdjax import models
from cpdjax.configuration import names_in
from cpdjax.data.splits import Split
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.extraction import Extraction
from cpdjax.features.features import Features
from cpdjax.features.labels import is_column, label_names
from cpdjax.features.layer_names import LAST, chosen
from cpdjax.features.readers import read_layers
from cpdjax.features.store import is_store, kept_features, read_features
from cpdjax.models import naming, zoo
from cpdjax.models.conformance import check_model, is_model
from cpdjax.models.interface import Model
from cpdjax.models.limits import check_elements, check_structures
from cpdjax.models.objects import is_place
from cpdjax.omissions import say_left_out
from cpdjax.processes import ALONE, Team
from cpdjax.progress import stage


class Source(NamedTuple):
    """Hold what features come from, opened: a model that has not run yet, or features."""

    name: str
    of: Model | Features
    layers: list[str]
    """The layers that are wanted of it, on its path."""
    split: Split | None
    """The molecules that a trained model has seen."""

    @property
    def model(self) -> Model | None:
        """Return the model that is to run, or None where features are there already."""
        return None if isinstance(self.of, Features) else self.of

    def check(self, structures: Structures | None) -> None:
        """Refuse structures that a model cannot take, before any model runs.

        Raises:
            InputError: a model has no structures, or `check_structures` refuses them, or they are
                among those that it was trained on.
        """
        if self.split is not None and structures is not None:
            self.split.check_unseen(self.name, structures)
        if self.model is not None:
            given = _given(self.model, structures)
            check_elements(self.model, given)
            check_structures(self.model, given)


def open_sources(
    sources: Any,
    *,
    pool: str | None = None,
    layers: Sequence[str] | None = None,
    invariants: str | None = None,
) -> list[Source]:
    """Open one source, a sequence of sources, or named sources; no model runs yet.

    A source is a model (by name or itself), `Features`, an array (molecule, feature), a mapping
    of layer to array, a pandas or xarray object, or a path: `.npy`, `.npz` (layer by layer),
    `.zarr`, `.csv`, `.parquet`, or a structure file whose per-atom arrays are pooled. What stands
    beside features under the name `id`, `ids` or `formula` says who their molecules are.

    Args:
        layers: names of layers, in a list or separated by commas, or "last" for the last
            interaction layer of each; by default all. Sources without any of them are left out.

    Raises:
        UnknownNameError: if a name is neither a model nor a file, or no source has a layer.
        FileError: if a file cannot be read.
        InputError: if there is no source, or an array has another shape.

    Warns:
        LeftOutWarning: sources are left out, or parts of files.
    """
    named = named_sources(_imported(sources))
    layers = None if layers is None else names_in(layers)
    if not named:
        raise InputError("no features to probe: name a model, a file or an array")
    opened = []
    with stage("opening models and files", len(named), compiled=False) as opening:
        for each in named:
            opened.append(_source(*each, pool or "mean", layers, invariants))
            opening.advance()
    known = {layer for source in opened for layer in _layer_names(source.of)}
    for layer in layers or ():
        if layer not in known and layer != LAST:
            raise UnknownNameError("layer", layer, known)
    without = {source.name for source in opened if not source.layers}
    reason = f"has no layer {' or '.join(layers or ())}"
    say_left_out("models", "sources of features", dict.fromkeys(sorted(without), reason))
    return [source for source in opened if source.layers]


def able(
    opened: Sequence[Source],
    structures: Structures | None,
    *,
    of_atoms: bool = False,
    what: str = "default models",
    some: bool = True,
) -> list[Source]:
    """Return the sources that can take these structures: what a user did not name must not fail.

    Args:
        of_atoms: whether a row for every atom is needed.
        what: what the sources are called together.
        some: whether one at least must be left.

    Raises:
        InputError: none can, and some must.

    Warns:
        LeftOutWarning: the others are left out, with the reason.
    """
    unable: dict[str, str] = {}
    for source in opened:
        try:
            source.check(structures)
            if of_atoms and source.model and source.model.level != "atom":
                unable[source.name] = "has no rows of atoms"
        except InputError as error:
            unable[source.name] = str(error)
    if some and len(unable) == len(opened):
        raise InputError(f"no model can take these molecules; {next(iter(unable.values()))}")
    say_left_out("models", what, unable, stacklevel=5)
    return [source for source in opened if source.name not in unable]


def open_controls(names: Collection[str], layers: Sequence[str] | None = None) -> list[Source]:
    """Open the controls of `naming.CONTROLS` that are not among the names of other sources.

    Args:
        layers: names of layers, as in `open_sources`. A control without any of them, such as the
            bond graph, which has but one layer, keeps its last interaction layer.
    """
    found, wanted = [], [name for name in naming.CONTROLS if name not in names]
    with stage("opening controls", len(wanted), compiled=False) as opening:
        for name in wanted:
            model = models.load(f"{naming.SHIPPED}{name}")
            known = list(model.irreps)
            found.append(Source(name, model, chosen(known, layers) or chosen(known, [LAST]), None))
            opening.advance()
    return found


def able_controls(
    opened: Sequence[Source],
    structures: Structures | None,
    layers: Sequence[str] | None,
    *,
    of_atoms: bool,
) -> list[Source]:
    """Open the controls that can take the molecules, beside sources that are open already."""
    controls = open_controls([source.name for source in opened], layers)
    return able(controls, structures, of_atoms=of_atoms, what="controls", some=False)


def collect(
    sources: Any,
    structures: Structures | None,
    *,
    pool: str | None = None,
    layers: Sequence[str] | None = None,
    invariants: str | None = None,
) -> list[Features]:
    """Return the features of all that `open_sources` takes, computed where they are not there.

    Models pool by `pool`, means by default; features that are pooled already must have been pooled
    in that way, if one is named. Where `invariants` is "norm-then-pool", models make scalars of the
    features of atoms; all other features keep their irreps.

    Raises:
        InputError: if `open_sources` raises it, a model cannot take the structures, or features
            were pooled in another way.

    >>> import numpy as np
    >>> [f] = collect({"mine": np.ones((4, 3))}, None)
    >>> f
    Features('mine', molecules=4, pool='none', layers={'features': '3x0e'})
    """
    opened = open_sources(sources, pool=pool, layers=layers, invariants=invariants)
    return compute(opened, structures, pool=pool, invariants=invariants)


def compute(
    opened: Sequence[Source],
    structures: Structures | None,
    *,
    pool: str | None = None,
    invariants: str | None = None,
    keep: Path | None = None,
    processes: Team = ALONE,
) -> list[Features]:
    """Return the features of opened sources; see `collect`.

    What models compute is kept in stores in the folder `keep`, if it is given, and read from them
    the next time; of `processes` each then computes a share.

    Raises:
        InputError: a model cannot take the structures, or features were pooled in another way.
    """
    for source in opened:  # so that mistakes show before any model runs
        source.check(structures)
    found = []
    for source in opened:
        with stage(f"features of {source.name}"):
            features = _computed(source, structures, pool, invariants, keep, processes)
        own = {layer: features[layer] for layer in source.layers}
        origins = {k: v for k, v in features.origins.items() if k in own}
        found.append(replace(features, layers=own, model=source.name, origins=origins))
    return found


def _source(
    name: str, source: Any, pool: str, layers: Sequence[str] | None, invariants: str | None
) -> Source:
    opened = _opened(name, source, pool, _before(invariants))
    split = zoo.split(source) if isinstance(source, str | Path) else None
    return Source(name, opened, chosen(_layer_names(opened), layers), split)


def _given(model: Model, structures: Structures | None) -> Structures:
    """Return the structures, or refuse a model that has none to run on."""
    if structures is None:
        raise InputError(
            f"model {model.name!r} needs structures to run on, but the targets came with formulas "
            'only: give dataset="qm9" or a structure file'
        )
    return structures


def _before(invariants: str | None) -> str | None:
    """Return how scalars are made of the features of atoms, or None where they are not."""
    return "norm-then-pool" if invariants == "norm-then-pool" else None


def named_sources(sources: Any) -> list[tuple[str, Any]]:
    """Return every source that `open_sources` takes, with the name that results have for it.

    Raises:
        InputError: a column of ids or formulas stands where sources are named.
    """
    if isinstance(sources, Mapping) and not isinstance(sources, Features | xr.Dataset):
        for name in label_names(sources):
            if is_column(sources.get(name)):
                raise InputError(
                    f"{name!r} is no source of features, but names the molecules of one: give it "
                    f"beside its arrays, as {{'mine': {{'features': x, {name!r}: ...}}}}"
                )
        return [(str(name), source) for name, source in sources.items()]
    if isinstance(sources, list | tuple):
        return [(_name(source, i), source) for i, source in enumerate(sources)]
    return [(_name(sources), sources)]


def _imported(sources: Any) -> Any:
    """Return sources with the models in place of "package.module:object"."""
    if isinstance(sources, list | tuple):
        return [_imported(source) for source in sources]
    if type(sources) is dict:
        return {name: _imported(source) for name, source in sources.items()}
    return models.load(sources) if is_place(sources) else sources


def _name(source: Any, position: int | None = None) -> str:
    """Return what a source without a given name is called."""
    if is_place(source):
        return str(source)
    if isinstance(source, str | Path):
        model = naming.find(source)
        return model.name if model else Path(source).stem
    for name in (getattr(source, "name", None), getattr(source, "model", None)):
        if isinstance(name, str) and name:
            return name
    return "features" if position is None else f"features_{position}"


def _opened(name: str, source: Any, pool: str, before: str | None) -> Model | Features:
    """Return the model or the features that a source stands for; no model runs yet."""
    if isinstance(source, Features):
        return source
    if isinstance(source, str | Path) and naming.find(source):
        return models.load(source)
    if isinstance(source, str | Path) and Path(source).suffix == ".zarr" and is_store(Path(source)):
        return read_features(source)
    if is_model(source):
        return check_model(source)
    return read_layers(name, source, pool, before)


def _layer_names(source: Model | Features) -> list[str]:
    """Return the layers that a source has."""
    return list(source if isinstance(source, Features) else source.irreps)


def _computed(
    source: Source,
    structures: Structures | None,
    pool: str | None,
    invariants: str | None,
    keep: Path | None,
    processes: Team,
) -> Features:
    """Return the features themselves, or those that a model computes of the structures."""
    if isinstance(source.of, Features):
        _check_pooling(source.of, pool)
        return source.of
    given, pool = _given(source.of, structures), pool or "mean"
    run = Extraction.of(source.of, given, source.layers, pool, _before(invariants))
    return run.all_features() if keep is None else kept_features(keep, run, processes)


def _check_pooling(features: Features, pool: str | None) -> None:
    """Refuse features that were pooled in another way than the one that is asked for."""
    if pool not in (None, features.pool) and features.pool != "none":
        words = {"atom": "one row an atom", "mean": "means over atoms", "sum": "sums over atoms"}
        raise InputError(
            f"features {features.model!r} are {words[features.pool]}, and {words[pool]} are asked "
            "for: leave the pooling out, or extract them anew"
        )
