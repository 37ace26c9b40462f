"""What `reproduce` has measured: a table of scores for every setting, read by the questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from cpdjax.errors import InputError
from cpdjax.models.naming import run_of
from cpdjax.sweeps.table import (
    highest,
    last_interaction,
    layers_of,
    models_of,
    overlap,
    score_by_layer,
)
from cpdjax.uncertainty.comparison import Estimate, estimate
from cpdjax.uncertainty.runs import hierarchical_contrast

GAP, DIPOLE, ENERGY = "gap", "mu", "u0_atom"
MAIN, ELSEWHERE = "main", "draw 1"  # settings: what is judged, and where layers are chosen
Score = Literal["r2_geom", "r2_full", "r2_comp"]


class NotMeasuredError(InputError):
    """Say that a question needs a model or a table that was not measured."""


@dataclass(frozen=True)
class Where:
    """Say which scores of a model are meant: by default R²_geom of the gap, as the paper has it."""

    target: str = GAP
    setting: str = MAIN
    layer: str = "last"
    """A layer's name; "last", the last interaction layer; or "best", which is chosen by its mean on
    other molecules than those it is scored on."""
    irrep: str = ""
    """An irrep; by default all that the layer has, together."""
    score: Score = "r2_geom"
    size: int | None = None
    """A number of molecules; by default the largest."""


@dataclass(frozen=True)
class Measured:
    """Hold the tables of `sweep` by setting, and those of the checks by name."""

    tables: Mapping[str, xr.Dataset]
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    trained_on: Mapping[str, str] = field(default_factory=dict)
    """The target that each model was trained on, as far as it is known."""

    def table(self, setting: str = MAIN) -> xr.Dataset:
        """Return the table of a setting.

        Raises:
            NotMeasuredError: it was not measured.
        """
        if setting not in self.tables:
            raise NotMeasuredError(f"the setting {setting!r} was not measured")
        return self.tables[setting]

    def frame(self, name: str) -> pd.DataFrame:
        """Return the table of a check; NotMeasuredError where it was not run."""
        if name not in self.frames or self.frames[name].empty:
            raise NotMeasuredError(f"the check {name!r} was not run")
        return self.frames[name]

    def models(self, setting: str = MAIN) -> list[str]:
        """Return the models of a setting, each once, whatever the number of its training runs."""
        return list(dict.fromkeys(run_of(name)[0] for name in models_of(self.table(setting))))

    def runs(self, model: str, setting: str = MAIN) -> list[str]:
        """Return the names of a model's training runs; NotMeasuredError where there is none."""
        found = [name for name in models_of(self.table(setting)) if run_of(name)[0] == model]
        if not found:
            raise NotMeasuredError(f"{model} was not measured (setting {setting!r})")
        return found

    def place(self, model: str, where: Where) -> tuple[str, str]:
        """Return the layer and the irrep that are meant of a model."""
        table, first = self.table(where.setting), self.runs(model, where.setting)[0]
        if where.layer == "last":
            layer, irrep = last_interaction(table, first)
        else:
            layer = self.best(model, where.target) if where.layer == "best" else where.layer
            irrep = layers_of(table, first)[layer]
        return layer, where.irrep or irrep

    def best(self, model: str, target: str) -> str:
        """Return the layer with the highest mean R²_geom on other molecules."""
        table, [first, *_] = self.table(ELSEWHERE), self.runs(model, ELSEWHERE)
        means = score_by_layer(table, first, target)
        return list(means)[int(highest(np.array(list(means.values()))))]

    def scores(self, model: str, where: Where) -> Float[np.ndarray, "run repeat fold"]:
        """Return the scores of all training runs of a model.

        Raises:
            NotMeasuredError: they were not measured.
        """
        table, runs = self.table(where.setting), self.runs(model, where.setting)
        if where.target not in table.target.values:
            raise NotMeasuredError(f"the target {where.target} was not measured")
        found = table[where.score].sel(target=where.target)
        found = found.isel(size=-1) if where.size is None else found.sel(size=where.size)
        if where.score == "r2_comp":
            found = found.expand_dims(model=runs[:1])
        else:
            layer, irrep = self.place(model, where)
            found = found.sel(model=runs, layer=layer, irrep=irrep).isel(alpha=0)
        scores = found.transpose("model", "repeat", "fold").to_numpy()
        if np.isnan(scores[0]).all():
            raise NotMeasuredError(
                f"{model} has no score of {where.target} (setting {where.setting!r})"
            )
        return scores[~np.isnan(scores).all((1, 2))]

    def score(self, model: str, where: Where = Where()) -> Estimate:
        """Return the mean over runs, repeats and folds with its interval."""
        return self.contrast({model: 1.0}, where)

    def contrast(
        self,
        weights: Mapping[str, float],
        where: Where = Where(),
    ) -> Estimate:
        """Return a weighted sum of models' scores with the hierarchical interval.

        Runs of different models are independent; molecules and folds are the same for all.
        """
        terms = [(weight, self.scores(model, where)) for model, weight in weights.items()]
        return contrast(terms, overlap(self.table(where.setting), where.size))

    def difference(self, one: str, other: str, where: Where = Where()) -> Estimate:
        """Return the score of one model less that of another, on the same folds."""
        return self.contrast({one: 1.0, other: -1.0}, where)

    def ranked(self, models: Sequence[str], where: Where) -> list[str]:
        """Return models by their mean score, best first."""
        return sorted(models, key=lambda model: -float(np.nanmean(self.scores(model, where))))


def contrast(
    terms: Sequence[tuple[float, Float[np.ndarray, "run repeat fold"]]],
    shared: float | None = None,
) -> Estimate:
    """Return a weighted sum of scores: over runs as well, wherever a term has several.

    Args:
        terms: weights and scores, all on the same repeats and folds.
        shared: with a fixed test set, which part of their molecules two training sets share; the
            interval is then of the training molecules alone, of the means over runs.
    """
    if terms[0][1].shape[2] > 1:
        return hierarchical_contrast(terms)
    together = np.sum([weight * scores.mean(0) for weight, scores in terms], axis=0)
    return estimate(together, overlap=shared)
