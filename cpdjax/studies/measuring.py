"""Measure models one by one: features in stores, scores in a part for each setting.

A model's features are in memory while it is probed, and no other's. A part that is there is not
measured again, so that an interrupted study goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from e3nn_jax import IrrepsArray

from cpdjax import models
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.features.features import Features, as_means
from cpdjax.features.layer_names import LAST, called
from cpdjax.features.store import extract_to, read_features
from cpdjax.files import write_csv
from cpdjax.models.interface import Model
from cpdjax.progress import expect, stage
from cpdjax.studies import model_checks
from cpdjax.studies.findings.routing import routing_layer
from cpdjax.studies.molecules import Molecules
from cpdjax.studies.settings import Setting, of_irreps
from cpdjax.sweeps import results
from cpdjax.sweeps.sweep import sweep
from cpdjax.sweeps.table import joined

CHECKS: Mapping[str, Callable[..., pd.DataFrame]] = {
    "isomers": model_checks.isomers,
    "trees": model_checks.trees,
    "steps": model_checks.library,
}


@dataclass(frozen=True)
class Study:
    """Hold what is measured of every model, and where it is kept."""

    out: Path
    molecules: Molecules
    library: Structures
    settings: list[Setting]
    repeats: int
    seed: int

    def part(self, kind: str, model: str, suffix: str = ".nc") -> Path:
        """Return the file of one model's scores in one setting, or of one check."""
        return self.out / "parts" / kind / f"{model}{suffix}"


@dataclass(frozen=True)
class Subject:
    """Hold one model that is measured, or one of its further training runs."""

    name: str
    source: str | Path
    is_run: bool
    """Whether it is a further training run, of which less is asked."""

    @cached_property
    def model(self) -> Model:
        """Return the model itself."""
        return models.load(self.source)


def measure(study: Study, subject: Subject) -> None:
    """Write all parts of one model that are not there yet."""
    wanted = [s for s in study.settings if s.of_runs or not subject.is_run]
    expect(len(wanted) + (0 if subject.is_run else len(CHECKS) + 3))
    features = _Features(study, subject)
    for setting in wanted:
        with stage(setting.name):
            _probe(study, subject, setting, features)
    if subject.is_run:
        return
    table = results.load(study.part("main", subject.name))
    if place := routing_layer(table, subject.name):
        for setting in of_irreps(study.molecules.n, study.repeats, place[0]):
            with stage(setting.name):
                _probe(study, subject, setting, features)
    for name, check in CHECKS.items():
        with stage(f"{name} (check)"):
            _check(study, subject.name, name, check, features)


class _Features:
    """Read a model's features when they are asked for, and keep them."""

    def __init__(self, study: Study, subject: Subject):
        self.study, self.subject = study, subject

    @cached_property
    def sums(self) -> Features:
        """Return sums over atoms: of all draws, of a further training run of the first."""
        return self._stored("features", self.structures("pool"), pool="sum")

    @cached_property
    def means(self) -> Features:
        """Return means over atoms."""
        return as_means(self.sums, self.structures("pool"))

    @cached_property
    def library(self) -> Features:
        """Return means over atoms of the first molecules of QM9, at the last interaction layer."""
        layers = [called(LAST, list(self.subject.model.irreps))]
        return self._stored("features-library", self.study.library, layers=layers)

    def structures(self, rows: Any) -> Structures:
        """Return the molecules of a draw, of all draws, or the first of QM9."""
        molecules = self.study.molecules
        if rows == "library":
            return self.study.library
        if rows == "pool" and not self.subject.is_run:
            return molecules.pool
        return molecules.pool.select(molecules.rows(0 if rows == "pool" else rows))

    def of(self, rows: Any, pool: str = "mean") -> Features:
        """Return the features of a setting's molecules."""
        if rows == "library":
            return self.library
        features = self.sums if pool == "sum" else self.means
        if rows == "pool" or self.subject.is_run:
            return features
        return selected(features, self.study.molecules.rows(rows), self.structures(rows))

    def _stored(self, folder: str, structures: Structures, **options: Any) -> Features:
        path = self.study.out / folder / f"{self.subject.name}.zarr"
        return read_features(extract_to(path, self.subject.model, structures, **options))


def selected(features: Features, rows: slice, structures: Structures) -> Features:
    """Return the features of some of their molecules, which are those structures."""

    def of(labels: np.ndarray | None) -> np.ndarray | None:
        return None if labels is None else labels[rows]

    layers = {name: IrrepsArray(x.irreps, x.array[rows]) for name, x in features.items()}
    return replace(
        features, layers=layers, ids=of(features.ids), formulas=of(features.formulas),
        structures_hash=structures.geometry_hash,
    )  # fmt: skip


def _probe(study: Study, subject: Subject, setting: Setting, features: _Features) -> None:
    """Write the scores of one setting, unless they are there or the model has none."""
    path = study.part(setting.name, subject.name)
    if path.exists():
        return
    options = {"alphas": 1.0, "seed": study.seed, **setting.options}  # the paper's α
    own = features.of(setting.rows, setting.pool)
    if setting.pool == "sum" and own.pool != "sum":
        return  # features of whole molecules are not pooled
    source: Any = own
    if setting.name == "norm-then-pool":
        source = subject.model  # norms before pooling are of atoms, which are not stored
    table = sweep({subject.name: source}, dataset=features.structures(setting.rows), **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    results.save(table, path)


def _check(
    study: Study, model: str, name: str, check: Callable[..., pd.DataFrame], features: _Features
) -> None:
    """Write what a check finds of a model's last interaction layer, unless it is there."""
    path = study.part(name, model, ".csv")
    if path.exists():
        return
    drawn, first = (
        (own.scalars(called(LAST, list(own))), features.structures(rows))
        for rows in (0, "library")
        for own in [features.of(rows)]
    )
    try:
        if check is model_checks.library:
            frame = check(model, drawn, first, study.seed)
        else:
            frame = check(model, *drawn, study.seed)
    except InputError as error:  # scikit-learn is optional, and small samples have no isomers
        frame = pd.DataFrame({"model": [model], "not_run": [str(error)]})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(frame, path)


def gathered(
    study: Study, names: Sequence[str]
) -> tuple[dict[str, xr.Dataset], dict[str, pd.DataFrame]]:
    """Return the tables of all settings, and those of the checks, from the parts of the models."""
    tables, frames = {}, {}
    for folder in sorted((study.out / "parts").iterdir()):
        parts = [study.part(folder.name, name) for name in names]
        if found := [results.load(part) for part in parts if part.exists()]:
            tables[folder.name] = joined(found)
        rows = [study.part(folder.name, name, ".csv") for name in names]
        if checked := [pd.read_csv(part) for part in rows if part.exists()]:
            frame = pd.concat(checked, ignore_index=True)
            frames[folder.name] = frame[frame.get("not_run", pd.Series(index=frame.index)).isna()]
    return tables, frames
