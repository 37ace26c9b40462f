"""The tables behind the report, as they are written and as its sections show them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cpdjax.studies.findings.efficiency import SETTINGS, correlations
from cpdjax.studies.findings.sampling import draws
from cpdjax.studies.groups import TEN
from cpdjax.studies.measured import Measured, NotMeasuredError, Where, contrast
from cpdjax.studies.reproduction import Reproduction
from cpdjax.sweeps.table import models_of, present
from cpdjax.uncertainty.comparison import Estimate
from cpdjax.uncertainty.draws import of_draws

#: The columns of scores of the gap in the table of models, and where each is read.
COLUMNS = {
    "r2_geom": Where(),
    "best_layer": Where(layer="best"),
    "loo": Where(setting="loo"),
    "width_24": Where(setting="width"),
    "beyond_bonds": Where(setting="bonds"),
    "beyond_groups": Where(setting="groups"),
    "r2_full": Where(score="r2_full"),
}


def all_tables(found: Reproduction) -> dict[str, pd.DataFrame]:
    """Return all tables of a reproduction by the names of their files."""
    measured = found.measured
    made = {
        "findings": _findings(found),
        "models": models(measured),
        "scores": scores(measured),
        "curves": curves(measured),
        "rankings": rankings(measured),
        **measured.frames,
    }
    return {name: table for name, table in made.items() if not table.empty}


def _findings(found: Reproduction) -> pd.DataFrame:
    rows = []
    for line in found.findings:
        judged = line.estimate or Estimate(np.nan, np.nan, np.nan)
        rows.append({
            "key": line.key, "finding": line.name, "paper": line.paper, "ours": line.ours,
            "value": judged.value, "low": judged.low, "high": judged.high,
            "verdict": line.verdict, "rule": line.rule, "remark": line.remark,
        })  # fmt: skip
    return pd.DataFrame(rows)


def asked(measured: Measured, model: str, where: Where) -> Estimate | None:
    """Return a model's score, or None where it was not measured."""
    try:
        return measured.score(model, where)
    except NotMeasuredError:
        return None


def models(measured: Measured) -> pd.DataFrame:
    """Return a row for each model: R²_geom of the gap, in all ways it was scored, best first."""
    rows = []
    for model in measured.models():
        layer, irrep = measured.place(model, Where())
        runs = measured.runs(model)
        table = measured.table()
        row: dict[str, Any] = {
            "model": model, "trained_on": measured.trained_on.get(model, ""), "runs": len(runs),
            "layer": layer,
            "columns": int(table.n_features.sel(model=runs[0], layer=layer, irrep=irrep)),
        }  # fmt: skip
        for name, where in COLUMNS.items():
            row |= _cells(name, asked(measured, model, where))
        row["median"] = float(np.median(measured.scores(model, Where())))
        row["best"] = _best(measured, model)
        row |= _cells("draws", _over_draws(measured, model))
        rows.append(row)
    return pd.DataFrame(rows).sort_values("r2_geom", ascending=False, ignore_index=True)


def _cells(name: str, score: Estimate | None) -> dict[str, float]:
    one = score or Estimate(np.nan, np.nan, np.nan)
    return {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}


def _best(measured: Measured, model: str) -> str:
    try:
        return measured.best(model, "gap")
    except NotMeasuredError:
        return ""


def _over_draws(measured: Measured, model: str) -> Estimate | None:
    try:
        return of_draws(draws(measured, model))
    except NotMeasuredError:
        return None


def scores(measured: Measured) -> pd.DataFrame:
    """Return a row for every channel and target: means, medians and the hierarchical interval."""
    table, rows = measured.table(), []
    first = set(measured.models())
    for model, layer, irrep in present(table):
        if model not in first:
            continue
        count = int(table.n_features.sel(model=model, layer=layer, irrep=irrep))
        for target in map(str, table.target.values):
            where = Where(target, layer=layer, irrep=irrep)
            found = measured.scores(model, where)
            row = {
                "model": model, "layer": layer, "irrep": irrep, "columns": count, "target": target,
                "runs": len(found), **_cells("r2_geom", contrast([(1.0, found)])),
                "median": float(np.median(found)),
            }  # fmt: skip
            for name in ("r2_full", "r2_comp"):
                if name in table:
                    at = Where(target, layer=layer, irrep=irrep, score=name)
                    row[name] = float(np.mean(measured.scores(model, at)))
            rows.append(row)
    return pd.DataFrame(rows)


def curves(measured: Measured) -> pd.DataFrame:
    """Return a row for each way of a learning curve, model and number of molecules."""
    rows = []
    for setting in SETTINGS:
        if setting not in measured.tables:
            continue
        for size in map(int, measured.table(setting)["size"].values):
            for model in measured.models(setting):
                found = measured.score(model, Where(setting=setting, size=size))
                rows.append(
                    {"setting": setting, "model": model, "N": size, **_cells("r2_geom", found)}
                )
    return pd.DataFrame(rows)


def rankings(measured: Measured) -> pd.DataFrame:
    """Return Spearman's ρ of the ten models' ranking with that at the largest N."""
    rows = []
    for setting in SETTINGS:
        if setting not in measured.tables or not {*TEN} <= {*models_of(measured.table(setting))}:
            continue
        for size, rho in correlations(measured, setting).items():
            rows.append({"setting": setting, "N": size, **_cells("rho", rho)})
    return pd.DataFrame(rows)
