"""Depth: where in a model the gap can be read.

The best layer is chosen on other molecules (draw 1) than those it is scored on. Training on the gap
should raise R²_geom towards the output, training on the energy lower it: the last interaction layer
less the first, mean over the architectures, above zero and below zero. How much of the choice
between models is a choice of layers shows in the best layer less the last.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr

from cpdjax.studies.finding import OF_SIGN, Answer, Finding, Question
from cpdjax.studies.groups import ARCHITECTURES, named
from cpdjax.studies.measured import Measured, NotMeasuredError, Where, contrast
from cpdjax.sweeps.table import along_path, layers_of
from cpdjax.uncertainty.comparison import Estimate
from cpdjax.uncertainty.verdict import verdict


def findings(measured: Measured) -> list[Finding]:
    """Ask what depth does to either objective, and what the choice of a layer is worth."""
    asked = [
        ("depth-gap", "trained on gap: last minus first interaction layer, mean of five", "gap", 1),
        ("depth-energy", "trained on energy: first minus last interaction layer, mean of five",
         "energy", -1),
    ]  # fmt: skip
    questions = [
        Question(key, name, "", OF_SIGN, partial(_slope, objective=objective, sign=sign))
        for key, name, objective, sign in asked
    ]
    questions += [
        Question(
            f"depth-choice-{objective}", f"trained on {objective}: best layer minus the last "
            "interaction layer, mean of five", "", OF_SIGN, partial(_choice, objective=objective),
        )
        for objective in ("gap", "energy")
    ]  # fmt: skip
    return [question(measured) for question in questions]


def interactions(measured: Measured, model: str) -> list[str]:
    """Return the interaction layers of a model, first to last."""
    layers = layers_of(measured.table(), measured.runs(model)[0])
    return [layer for layer in layers if layer.startswith("interaction")]


def depth(measured: Measured) -> xr.Dataset:
    """Return R²_geom of the gap and composition's share at every layer, axes (model, layer)."""
    table, models = measured.table(), measured.models()
    paths = {model: layers_of(table, measured.runs(model)[0]) for model in models}
    layers = along_path([list(path) for path in paths.values()])
    r2_geom, share = (np.full((len(models), len(layers)), np.nan) for _ in range(2))
    for i, (model, path) in enumerate(paths.items()):
        for layer, irrep in path.items():
            where = i, layers.index(layer)
            shares = table.composition_share.sel(
                model=measured.runs(model)[0], layer=layer, irrep=irrep
            )
            r2_geom[where] = measured.scores(model, Where(layer=layer)).mean()
            share[where] = shares.isel(size=-1).mean().item()
    axes = ("model", "layer")
    data = {"r2_geom": (axes, r2_geom), "composition_share": (axes, share)}
    return xr.Dataset(data, {"model": models, "layer": layers})


def _slope(measured: Measured, objective: str, sign: int) -> Answer:
    terms = []
    for model in (named(a, objective) for a in ARCHITECTURES):
        layers = interactions(measured, model)
        if len(layers) < 2:
            raise NotMeasuredError(f"{model} has fewer than two interaction layers")
        last, first = (measured.scores(model, Where(layer=at)) for at in (layers[-1], layers[0]))
        terms.append((sign / len(ARCHITECTURES), last - first))
    found = contrast(terms)
    return Answer(verdict(found), found)


def _choice(measured: Measured, objective: str) -> Answer:
    terms = []
    for model in (named(a, objective) for a in ARCHITECTURES):
        best, last = (measured.scores(model, Where(layer=layer)) for layer in ("best", "last"))
        terms.append((1 / len(ARCHITECTURES), best - last))
    found: Estimate = contrast(terms)
    return Answer(verdict(found), found)
