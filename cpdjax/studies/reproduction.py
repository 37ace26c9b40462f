"""Measure all models, and answer the paper's findings one by one from what was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from cpdjax.configuration import checked, names_in
from cpdjax.errors import FileError
from cpdjax.files import atomic
from cpdjax.models import naming
from cpdjax.models.naming import run_of
from cpdjax.probes.apart import DEFAULT_FOLDS
from cpdjax.probes.folds import nested
from cpdjax.progress import expect, shown, stage
from cpdjax.studies.finding import Finding
from cpdjax.studies.findings import answers
from cpdjax.studies.measured import Measured
from cpdjax.studies.measuring import Study, Subject, gathered, measure
from cpdjax.studies.molecules import Molecules, bounds_of, first_of_qm9
from cpdjax.studies.recommendation import installed, save, with_measured_costs, with_training
from cpdjax.studies.settings import settings
from cpdjax.sweeps.settings import DESCRIPTORS, Settings, default_sizes

SHOWN = 3
"""The number of channels that the report recommends for a target, each with its cost."""
_RECORD = "study.json"
_SEEDS = 5  # of the weights of untrained twins
# Seconds on two cores, for the plan: for a molecule, for a model, for a further run. Measured with
# five draws of 200 and of 2,000 molecules, networks of the zoo and MEGNets took 33 s and 35 to
# 70 s, further runs 6 s and 5 to 12 s.
_PER_MOLECULE, _PER_MODEL, _PER_RUN = 0.0012, 35.0, 6.0
# How many times as long others take: they are large, or have a thousand columns.
_TIMES = {"sevennet-0": 9, "so3lr": 5, "chgnet-0.3.0": 14, "ani-1x": 10, "ani-2x-aev": 8}


@dataclass(frozen=True)
class Reproduction:
    """Hold the paper's findings beside ours, and the tables that they are read off."""

    findings: list[Finding]
    measured: Measured
    tables: list[xr.Dataset]
    """What can be recommended: means over atoms, then sums."""

    @property
    def table(self) -> xr.Dataset:
        """Return the table that findings are judged on: means, at the largest size."""
        return self.measured.table()


def reproduce(
    out: str | Path,
    names: Sequence[str] | None = None,
    *,
    also: str | Path | None = None,
    n: int = 2000,
    draws: int = 5,
    sizes: Sequence[int] | None = None,
    repeats: int = 5,
    seed: int = 0,
    progress: bool = False,
) -> Reproduction:
    """Answer every finding of the paper that the models can answer, controls beside them.

    The molecules come from QM9's probe set, which no model of the zoo has seen, and hold only
    elements that all models know. Findings are of means over atoms (our choice). The folder keeps
    features and finished parts, so that an interrupted call continues where it stopped.
    `reports.findings.save` makes a report of what is returned.

    Args:
        out: the folder.
        names: the names of models, in a list or separated by commas; by default `subjects()`: all
            that are installed with their training runs, two descriptors, and controls.
        also: a folder with saved models in it, such as `cpdjax models convert` makes: all of them
            take part as well.
        n: the number of molecules that findings are judged on.
        draws: the number of disjoint draws of so many molecules, two at least: layers are chosen on
            the second, and the scatter over all gives a plain standard error.
        sizes: the numbers of molecules of the learning curves; by default 50 to n.
        repeats, seed: as in `cpdjax.sweep`.
        progress: whether standard error shows what is being done, and how far it is.

    Raises:
        UnknownNameError, InputError, FileError: as in `cpdjax.sweep`; InputError as well where
            there are not so many molecules, FileError where the folder holds a study with others.
    """
    sizes = checked(Settings, {"sizes": sizes}).sizes or default_sizes(n)
    bounds_of(n, draws)  # for its checks, as the next line: opening all models takes long
    nested(n, sizes, 1, DEFAULT_FOLDS)
    with shown(progress):
        wanted = subjects(names, also)
        expect(2 * len(wanted) + 4)
        study, known = _begun(Path(out), wanted, n, draws, sizes, repeats, seed)
        for subject in wanted:
            with stage(f"measuring {subject.name}"):
                measure(study, subject)
        return _answered(study, wanted, known)


def subjects(names: Sequence[str] | None = None, also: str | Path | None = None) -> list[Subject]:
    """Return what is measured: models by name, and those that are saved in a folder.

    Without names, these are all installed models with their further training runs, two descriptors,
    and the controls.

    Raises:
        FileError: no folder in `also` is a saved model.
    """
    if names is None:
        names = (*installed(), *DESCRIPTORS, *naming.CONTROLS, *_further_runs())
    found = [Subject(name, name, bool(run_of(name)[1])) for name in dict.fromkeys(names_in(names))]
    if also is None:
        return found
    saved = [folder for folder in sorted(Path(also).glob("*")) if naming.find(folder)]
    if not saved:
        raise FileError(
            f"{also} holds no folders of saved models: `cpdjax models convert` makes some"
        )
    return [*found, *(Subject(f.name, f, bool(run_of(f.name)[1])) for f in saved)]


def plan(wanted: Sequence[Subject], n: int, draws: int) -> str:
    """Say in a sentence what will be measured, and about how long it takes.

    >>> print(plan([Subject("painn-qm9-gap", "painn-qm9-gap", False)], 200, 3))
    1 model and control on 600 molecules each, 0 further training runs on 200 each: about 1 minute \
on two cores, less what is there already.
    """
    runs = sum(subject.is_run for subject in wanted)
    whole = len(wanted) - runs
    pool = bounds_of(n, draws)[-1]
    times = sum(_TIMES.get(subject.name, 1) for subject in wanted if not subject.is_run)
    seconds = times * (_PER_MODEL + _PER_MOLECULE * (pool + n))
    seconds += runs * (_PER_RUN + _PER_MOLECULE * n)
    minutes = max(round(seconds / 60), 1)
    return (
        f"{whole} model{'s' * (whole != 1)} and control{'s' * (whole != 1)} on {pool:,} "
        f"molecules each, {runs} further training runs on {n:,} each: about {minutes} "
        f"minute{'s' * (minutes != 1)} on two cores, less what is there already."
    )


def _further_runs() -> list[str]:
    """Return the names of training runs beside the first: of the zoo, and of untrained twins."""
    zoo = [name for name in naming.trained(runs=True) if run_of(name)[1]]
    twins = [name for name in naming.CONTROLS if name.endswith("-untrained")]
    return [*zoo, *(f"{name}-run{seed}" for name in twins for seed in range(1, _SEEDS))]


def _begun(
    out: Path,
    wanted: Sequence[Subject],
    n: int,
    draws: int,
    sizes: Sequence[int],
    repeats: int,
    seed: int,
) -> tuple[Study, dict[str, Any]]:
    """Open all models, draw the molecules, and check that the folder holds no other study."""
    known = {}
    for subject in wanted:
        with stage(f"opening {subject.name}"):
            known[subject.name] = subject.model.elements
    with stage("data"):
        molecules = Molecules.drawn(n, draws, seed, known)
        library = first_of_qm9(n, known)
    chosen = settings(n, draws, sizes, repeats)
    study = Study(out, molecules, library, chosen, repeats, seed)
    _check_record(out, {
        "molecules": molecules.pool.geometry_hash, "bounds": list(molecules.bounds),
        "sizes": list(sizes), "repeats": repeats, "seed": seed,
    })  # fmt: skip
    return study, known


def _check_record(out: Path, facts: Mapping[str, Any]) -> None:
    """Refuse a folder whose study has other molecules or sizes; write down those of a new one."""
    path = out / _RECORD
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name, value in facts.items() if before.get(name) != value]
        if changed:
            raise FileError(
                f"{out} holds another study (different: {', '.join(changed)}): choose another "
                "folder with --out, or the numbers and models that it was begun with"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(facts), encoding="utf-8")


def _answered(study: Study, wanted: Sequence[Subject], known: Mapping[str, Any]) -> Reproduction:
    """Answer all questions from the parts of all models, and say what to use."""
    with stage("answering"):
        tables, frames = gathered(study, [subject.name for subject in wanted])
        trained_on = {s.name: getattr(s.model, "target", "") for s in wanted}
        measured = Measured(tables, frames, trained_on)
        found = answers(measured)
    offered = [
        subject.name for subject in wanted
        if not subject.is_run and subject.name not in naming.CONTROLS
    ]  # fmt: skip
    kept = [
        _of_models(tables[name], offered)
        for name in ("main", "sum") if name in tables
    ]  # fmt: skip
    models = {s.name: s.model for s in wanted}
    kept = [with_training(table, models) for table in kept if table.sizes["model"]]
    if kept:
        sources = {s.name: s.source for s in wanted if s.name in offered}
        kept = with_measured_costs(kept, sources, study.molecules.pool, SHOWN)
        save(kept, study.out)
    return Reproduction(found, measured, kept)


def _of_models(table: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    return table.sel(model=[name for name in table.model.values if name in names])
