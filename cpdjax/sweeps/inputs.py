"""Read what a sweep or a check is run on, from the arguments for it: structures, targets, folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from cpdjax.configuration import checked
from cpdjax.data.datasets import CONFORMER_MOLECULES, check_number, conformers, qm9, read
from cpdjax.data.elements import number_of, symbols_of
from cpdjax.data.qm9 import HELD_OUT, MOLECULES
from cpdjax.data.structures import Structures
from cpdjax.data.tables.beside import check_apart, is_frame, without
from cpdjax.data.tables.table import TABLES, Table, read_table
from cpdjax.errors import InputError
from cpdjax.hashing import hash_arrays
from cpdjax.models.zoo import qm9_probe
from cpdjax.omissions import note, say_left_out
from cpdjax.probes.apart import DEFAULT_FOLDS
from cpdjax.probes.folds import cross_validation
from cpdjax.probes.splitters import read_ids
from cpdjax.sweeps.probe_kinds import KINDS
from cpdjax.sweeps.settings import DEFAULT_MOLECULES, Settings
from cpdjax.sweeps.target_names import check_no_name, names_or_table
from cpdjax.sweeps.targets import OF_TENSORS, Targets

#: The fold of every molecule: what a table holds it under, and what records its hash.
FOLD_ID = "fold_id"

_QM9 = {"qm9": qm9, "qm9-probe": qm9_probe}
_CONFORMERS = "conformers"
_AVAILABLE = {"qm9": MOLECULES, "qm9-probe": HELD_OUT, _CONFORMERS: HELD_OUT}  # to draw from

#: The elements that each model knows, by its name; None for any.
Known = Mapping[str, Sequence[int] | None]


def parted(features: Any, targets: Any, dataset: Any) -> tuple[Any, Any]:
    """Return features and targets that share no column, from the arguments of `sweep`.

    A DataFrame, alone or under a name, or one file of columns may hold all: a column `formula` or
    `smiles`, features, and the targets that are named. Then the columns that are named are the
    targets, and all others of numbers are features.

    Raises:
        UnknownNameError: some targets are columns of the DataFrame, and others are not.
        InputError: tables of features and of targets do not go together.
    """
    if dataset is not None or targets is None:
        return features, targets
    names = _named(targets, dataset)
    features = _framed(features, names)
    sources = features if isinstance(features, dict) else {"": features}
    if isinstance(names, TABLES):
        for source in features if isinstance(features, list | tuple) else sources.values():
            if is_frame(source):
                check_apart(source, names)
        return features, targets
    [frame] = sources.values() if len(sources) == 1 else [None]
    if not isinstance(frame, pd.DataFrame) or not set(names) & set(map(str, frame.columns)):
        return features, targets
    own, beside = without(frame, list(names))
    return (dict.fromkeys(sources, own) if isinstance(features, dict) else own), beside


def _framed(features: Any, names: Any) -> Any:
    """Return one file of columns that holds named targets as a DataFrame, under its name."""
    [source] = features if isinstance(features, list | tuple) and len(features) == 1 else [features]
    if isinstance(names, TABLES) or not isinstance(source, str | Path) or not is_frame(source):
        return features
    table = read_table(source)
    if not set(names) & set(table.numbers):
        return features
    name = Path(source).stem
    say_left_out("channels", f"features {name!r}", table.left_out)
    columns = {k: v if v.ndim == 1 else list(v) for k, v in (table.texts | table.numbers).items()}
    return {name: pd.DataFrame(columns)}


def load(
    dataset: Any, targets: Any, n: int | None, settings: Settings, known: Known | None = None
) -> tuple[Structures | None, Targets]:
    """Return what is probed, from the arguments of `sweep`.

    Args:
        known: the elements of models; molecules with any other are left out.

    Returns:
        The structures, None where a table brings its own formulas; and the targets.

    Raises:
        InputError: the arguments do not go together, or the data cannot be used.
    """
    kind = KINDS[settings.probe]
    text = targets if isinstance(targets, str) else None
    targets = _named(targets, dataset)
    beside = isinstance(targets, TABLES)
    if beside and dataset is None:
        if n is not None:
            raise InputError(_TAKEN_WHOLE)
        if kind is not KINDS["ridge"]:
            raise InputError(
                f"probe {settings.probe!r} needs structures: give a dataset, and name its targets"
            )
        if settings.elements is not None or settings.skip_unknown:
            raise InputError(
                "elements are chosen among structures, and a table of formulas has none: give a "
                "dataset, or leave rows out of the table"
            )
        return None, Targets.from_table(targets)
    is_file = isinstance(dataset, str | Path) and dataset not in (*_QM9, _CONFORMERS)
    if beside and not is_file:
        raise InputError(
            _TAKEN_WHOLE
            if n is not None
            else "a table of targets goes with a file of structures, or with features alone and no "
            "dataset; other structures hold their own targets (Structures.from_atoms adds some)"
        )
    table = read_table(targets) if beside else None
    structures = molecules(
        dataset, n, settings.seed, elements=settings.elements, known=known, targets=table,
        shuffle=settings.shuffle,
    )  # fmt: skip
    if text is not None and table is not None:
        check_no_name(text, structures.targets)
    names = targets if table is None else list(table.numbers)
    if names is None and of_qm9(dataset):
        names = kind.default_targets
        if names is not None:
            others = {k: v.ndim for k, v in structures.targets.items() if k not in names}
            reasons = {1: "another tells the same", 2: OF_TENSORS}
            note("targets", {name: reasons[axes] for name, axes in others.items()})
    return structures, kind.targets(structures, names)


def is_table(targets: Any, dataset: Any) -> bool:
    """Return whether targets are a table, and not names of the dataset's own."""
    return isinstance(_named(targets, dataset), TABLES)


def _named(targets: Any, dataset: Any) -> Any:
    """Return targets with the names or the path that a text stands for."""
    return names_or_table(targets, dataset) if isinstance(targets, str) else targets


_TAKEN_WHOLE = (
    "n draws molecules from QM9 (--n; datasets qm9, qm9-probe, conformers); other data are taken "
    "whole: use sizes"
)


def molecules(
    dataset: Any,
    n: int | None,
    seed: int = 0,
    *,
    elements: Sequence[str] | None = None,
    known: Known | None = None,
    targets: Table | None = None,
    default: int | None = DEFAULT_MOLECULES,
    shuffle: bool = True,
) -> Structures:
    """Return the structures of a data set, by default of QM9.

    Args:
        dataset: "qm9", "qm9-probe", "conformers" (of molecules of qm9-probe), a file that ASE
            reads, a table with a column `cif` (a file or a DataFrame), structures or `ase.Atoms`.
        n: how many molecules are drawn from QM9; by default `default`, and 300 for conformers.
        elements: the elements that molecules may have; by default any.
        known: the elements of models, which molecules may have; by default any.
        targets: targets beside a file.
        shuffle: draw from QM9 at random; otherwise its first molecules are taken.

    Raises:
        InputError: n goes with QM9 alone, there are not so many, or no molecule is left.

    Warns:
        LeftOutWarning: molecules are left out because of their elements.
    """
    check_drawn(dataset, n)
    if isinstance(dataset, str) and dataset == _CONFORMERS:
        n = CONFORMER_MOLECULES if n is None else n
        drawn = molecules("qm9-probe", n, seed, elements=elements, known=known)
        return conformers(molecules=drawn, seed=seed)
    limits = _limits(elements, known)
    if of_qm9(dataset):
        draw, most = _QM9[dataset or "qm9"], default if n is None else n
        if shuffle and (not limits or most is None):
            return _of_elements(draw(most, seed), limits)
        whole = draw(None)
        order = np.arange(len(whole))
        if shuffle:
            order = np.random.default_rng(seed).permutation(len(whole))  # as `draw` has it
        if not limits:
            return whole.select(order[:most])
        return _of_elements(whole, limits, order, most)
    if n is not None:
        raise InputError(_TAKEN_WHOLE)
    if isinstance(dataset, str | Path | pd.DataFrame):
        structures = read(dataset, targets=targets)
    elif isinstance(dataset, Structures):
        structures = dataset
    else:
        structures = Structures.from_atoms(list(dataset))
    return _of_elements(structures, limits)


def check_drawn(dataset: Any, n: int | None) -> None:
    """Refuse a number of molecules that cannot be drawn, before anything is read or opened.

    Raises:
        InputError: the data set has fewer.
    """
    name = "qm9" if dataset is None else dataset
    if n is not None and isinstance(name, str) and name in _AVAILABLE:
        check_number(n, _AVAILABLE[name], f"molecules of {name}")


def _limits(elements: Sequence[str] | None, known: Known | None) -> dict[str, list[int]]:
    """Return the elements that molecules may have, by the reason why others are left out."""
    limits: dict[str, list[int]] = {}
    if elements is not None:
        numbers = [number_of(element) for element in elements]
        limits[f"elements are {symbols_of(numbers)}"] = numbers
    models = {name: tuple(own) for name, own in (known or {}).items() if own is not None}
    for own in dict.fromkeys(models.values()):
        names = ", ".join(name for name, numbers in models.items() if numbers == own)
        limits[f"unknown to {names}"] = list(own)
    return limits


def _of_elements(
    structures: Structures,
    limits: Mapping[str, Sequence[int]],
    order: Int[np.ndarray, " molecule"] | None = None,
    most: int | None = None,
) -> Structures:
    """Return the first `most` molecules in this order that are within all limits."""
    if not limits:
        return structures
    order = np.arange(len(structures)) if order is None else order
    fits = {reason: structures.made_of(known)[order] for reason, known in limits.items()}
    fitting = np.logical_and.reduce(list(fits.values()))
    seen = len(order) if most is None else int(np.searchsorted(fitting.cumsum(), most)) + 1
    seen = min(seen, len(order))
    left_out = {}
    for reason, known in limits.items():
        others = order[:seen][~fits[reason][:seen]]
        if len(others):
            symbols = symbols_of({*structures.select(others).numbers.tolist()}.difference(known))
            left_out[f"{len(others):,} of {seen:,} molecules with {symbols}"] = reason
    say_left_out("rows", f"{structures.name!r}", left_out, stacklevel=5)
    if not fitting.any():
        raise InputError(
            f"no molecule of {structures.name!r} is left ({'; '.join(limits)}): allow more "
            "elements, or name fewer models"
        )
    return structures.select(order[:seen][fitting[:seen]])


def of_qm9(dataset: Any) -> bool:
    """Return whether molecules are drawn from QM9, as they are where no data are named."""
    return dataset is None or (isinstance(dataset, str) and dataset in _QM9)


def settings_and_folds(given: Mapping[str, Any]) -> tuple[Settings, Any]:
    """Return checked settings, and folds that are not a number; None where they are one.

    With folds of one's own, one repeat is the default.

    Raises:
        InputError: as `configuration.checked`, and for folds beside `group_by`.
    """
    folds = given.get("folds")
    if folds is None or isinstance(folds, Number | str):
        settings = checked(Settings, given)
        _check_split(settings)
        # Unshuffled, every repeat would be the first one again.
        return settings if settings.shuffle else replace(settings, repeats=1), None
    others = {name: value for name, value in given.items() if name != "folds"}
    # Every repeat has the same folds: at the largest size another one would add nothing, and count
    # in an interval as if it did.
    settings = checked(Settings, {"repeats": 1, **others})
    others = {"group_by": settings.group_by, "test": settings.test}
    others |= {} if settings.shuffle else {"shuffle": False}
    _refuse("folds of your own", others)
    return settings, folds


def _check_split(settings: Settings) -> None:
    """Raise InputError for settings of which one takes the place of another."""
    whole = {
        "group_by": settings.group_by,
        "projection": settings.projection if settings.within else None,
    }
    if settings.test is not None:
        own = settings.folds if settings.folds != DEFAULT_FOLDS else None
        draws = {"permutations": settings.permutations, "bootstrap": settings.bootstrap}
        others = {"folds": own, **whole, **draws}
        _refuse("a test set", others | ({} if settings.shuffle else {"shuffle": False}))
    if not settings.shuffle:
        _refuse("shuffle=False", whole)
        if len(settings.sizes or ()) > 1:
            raise InputError(
                "shuffle=False takes one size, since blocks of a larger set are no folds of its "
                "first molecules: give one, or run a sweep for each"
            )


def _refuse(what: str, others: Mapping[str, Any]) -> None:
    """Raise InputError where one of the others is given: zero and None are not."""
    for name, value in others.items():
        if value or value is False:
            raise InputError(f"{what} and {name}={value!r} do not go together: give one")


def with_ids(
    settings: Settings, folds: Any, targets: Targets
) -> tuple[Settings, Int[np.ndarray, " molecule"] | None]:
    """Return settings with the number of these folds, and the fold of every molecule.

    Raises:
        InputError: `read_ids` refuses them, since they do not hold every molecule out once.
    """
    if folds is None:
        return settings, None
    molecules = len(targets.formulas)
    y = targets.y if targets.offsets is None else None
    ids = read_ids(folds, np.zeros((molecules, 1)), y, what="a sweep")
    cross_validation(molecules, ids)  # for its checks
    ids = np.asarray(ids, np.int64)
    return replace(settings, folds=int(ids.max()) + 1), ids


def hashed(ids: Int[np.ndarray, " molecule"] | None) -> dict[str, str]:
    """Return what a sweep records of its folds: nothing where the settings say all."""
    return {} if ids is None else {FOLD_ID: hash_arrays([(FOLD_ID, ids)])}
