"""Sweeps over all installed models, and the paper's findings that they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from cpdjax import models
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.features.features import Features, as_means
from cpdjax.features.store import extract_to, read_features
from cpdjax.irreps import INVARIANTS
from cpdjax.progress import expect, shown, stage
from cpdjax.studies import findings
from cpdjax.studies.check_findings import isomer_findings, trees_finding
from cpdjax.studies.findings import Finding
from cpdjax.studies.recommendation import PRETRAINED, installed, save, with_measured_costs
from cpdjax.studies.routing import TENSORS, Route, routes, routing_finding, routing_layer
from cpdjax.sweeps import inputs
from cpdjax.sweeps.sweep import sweep

TARGETS = (findings.GAP, findings.DIPOLE, "u0_atom")
SHOWN = 3
"""The number of channels that the report recommends for a target, each with its cost."""


@dataclass(frozen=True)
class Reproduction:
    """Hold the paper's findings beside ours, and the tables that they are read off."""

    findings: list[Finding]
    tables: list[xr.Dataset]
    """Results of `sweep` for all models: means over atoms, then sums at the largest size."""
    routes: list[Route]
    """A route for every irrep of every model that has several."""

    @property
    def table(self) -> xr.Dataset:
        """Return the table of means, which the findings are read off."""
        return self.tables[0]


def reproduce(
    out: str | Path,
    names: Sequence[str] | None = None,
    *,
    n: int = 2000,
    sizes: Sequence[int] | None = None,
    repeats: int = 5,
    seed: int = 0,
    progress: bool = False,
) -> Reproduction:
    """Answer every finding of the paper that the installed models can answer.

    The molecules come from QM9's probe set, which no model of the zoo has seen, and hold only
    elements that all models know. Findings are of means over atoms (our choice). The folder keeps
    features and finished parts, so that an interrupted call continues where it stopped.
    `reports.findings.save` makes a report of what is returned.

    Args:
        out: the folder.
        names: the names of models; by default `installed()`.
        n, sizes, repeats, seed: as in `cpdjax.sweep`.
        progress: whether standard error shows what is being done, and how far it is.

    Raises:
        UnknownNameError, InputError, FileError: as in `cpdjax.sweep`.
    """
    with shown(progress):
        return _reproduced(Path(out), tuple(names or installed()), n, sizes, repeats, seed)


def _reproduced(
    out: Path,
    names: Sequence[str],
    n: int,
    sizes: Sequence[int] | None,
    repeats: int,
    seed: int,
) -> Reproduction:
    expect(5 + 2 * len(names))
    with stage("data"):
        structures = _known_molecules(names, n, seed)
    sums = _extract_sums(names, structures, out / "features")
    means = {name: as_means(own, structures) for name, own in sums.items()}
    common: dict[str, Any] = {"dataset": structures, "repeats": repeats, "seed": seed}
    common["alphas"] = 1.0  # the paper's
    with stage("means of all models"):
        table = sweep(means, targets=TARGETS, sizes=sizes, out=out / "sweep", **common)
    of_models = []
    for name in names:
        with stage(f"irreps of {name}"):
            found = _routes(name, means[name], table, out / "routing", {**common, "sizes": [n]})
        of_models.append(found)
    with stage("isomers and trees"):
        answered = [
            *findings.gradient(table),
            *findings.alignment(table),
            *findings.diversity(table, PRETRAINED),
            *(routing_finding(of_model) for of_model in of_models if of_model),
            *findings.efficiency(table),
            *isomer_findings(table, means, structures, seed),
            trees_finding(table, means, structures, seed),
        ]
    with stage("sums of all models"):
        tables = [table, *_sweep_sums(sums, table, out / "sum", common)]
    tables = with_measured_costs(tables, names, structures, SHOWN)
    save(tables, out)
    return Reproduction(answered, tables, [route for of_model in of_models for route in of_model])


def _known_molecules(names: Sequence[str], n: int, seed: int) -> Structures:
    """Return the first `n` molecules, drawn from the probe set, whose elements all models know."""
    known = {}
    for name in names:
        with stage(f"opening {name}"):
            known[name] = models.load(name).elements
    found = inputs.molecules("qm9-probe", n, seed, known=known)
    if len(found) < n:
        raise InputError(
            f"n must be at most {len(found)}, the number of molecules in QM9's probe set whose "
            f"elements all models know, got {n}"
        )
    return found


def _extract_sums(
    names: Sequence[str], structures: Structures, folder: Path
) -> dict[str, Features]:
    """Return sums over atoms by model, computed once and kept in a folder."""
    return {
        name: read_features(extract_to(folder / f"{name}.zarr", name, structures, pool="sum"))
        for name in names
    }


def _sweep_sums(
    sums: Mapping[str, Features], table: xr.Dataset, out: Path, common: Mapping[str, Any]
) -> list[xr.Dataset]:
    """Sweep sums over atoms at the largest size; features that are not pooled are left out."""
    pooled = {name: features for name, features in sums.items() if features.pool == "sum"}
    if not pooled:
        return []
    largest = [int(table["size"][-1])]
    return [sweep(pooled, targets=TARGETS, sizes=largest, pool="sum", out=out, **common)]


def _routes(
    name: str, features: Features, table: xr.Dataset, out: Path, common: Mapping[str, Any]
) -> list[Route]:
    """Probe a model's routing layer by every way of making scalars, and by equivariant probes."""
    place = routing_layer(table, name)
    if place is None:
        return []
    expect(len(INVARIANTS))
    layers = [place[0]]
    ways = {INVARIANTS[0]: table}
    for how in INVARIANTS[1:]:
        # Norms before pooling are of atoms, which stored features no longer have.
        source = name if how == "norm-then-pool" else features
        with stage(how):
            ways[how] = sweep(
                {name: source}, layers=layers, targets=TARGETS[:2], invariants=how,
                out=out / f"{name}-{how}", **common,
            )  # fmt: skip
    with stage("equivariant"):
        tensors = sweep(
            {name: features}, layers=layers, targets=TENSORS, probe="equivariant",
            out=out / f"{name}-equivariant", **{**common, "alphas": "loo"},
        )  # fmt: skip
    return routes(name, ways, tensors)
