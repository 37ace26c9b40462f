"""Find out what the rows of features are: from structures, an array of composition, or formulas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cpdjax.data.composition import from_formulas
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.features.features import Features
from cpdjax.features.sources import Source
from cpdjax.probes.folds import group_folds, kfold
from cpdjax.real_arrays import real_array
from cpdjax.representations.settings import SpaceSettings
from cpdjax.sweeps.probe_kinds import KINDS, ProbeKind
from cpdjax.sweeps.rows import Rows
from cpdjax.validation import check_finite


def kind_of(settings: SpaceSettings) -> ProbeKind:
    """Return the kind of probe whose rows and channels are compared."""
    return KINDS["ridge" if settings.probe == "molecule" else settings.probe]


def rows_of(
    composition: Any,
    sources: Sequence[Source],
    structures: Structures | None,
    settings: SpaceSettings,
) -> Rows:
    """Return the rows of structures, or without these those of an array or of known formulas.

    Raises:
        InputError: nothing says what the rows are, or two sources say different things.
    """
    of_atoms = kind_of(settings).rows.of_atoms
    if structures is not None:
        found = Rows.of(structures, of_atoms=of_atoms)
    elif of_atoms:
        raise InputError(
            f"probe {settings.probe!r} needs structures, which say which atoms are a molecule's: "
            "give a dataset"
        )
    else:
        found = _rows_of_features(composition, [s.of for s in sources], settings)
    return found.of_fractions() if settings.composition == "fractions" else found


def _rows_of_features(composition: Any, known: Sequence[Any], settings: SpaceSettings) -> Rows:
    """Return rows without structures: their composition is given, or known by formulas."""
    features = [f for f in known if isinstance(f, Features)]
    named = _first(features, "ids")
    formulas = _first(features, "formulas")
    hashed = next((f for f in features if f.structures_hash), None)
    leading = hashed or named or formulas
    _check_order(features, named)
    labels = None if formulas is None else formulas.formulas
    counts, elements = _counts(composition, labels, features, settings)
    return Rows(
        name="the array of composition" if leading is None else f"features {leading.model}",
        counts=counts,
        elements=elements,
        formulas=_labels(counts) if labels is None else _checked(labels, counts),
        ids=None if named is None else named.ids,
        structures_hashes=() if hashed is None else (hashed.structures_hash,),
    )


def _first(features: Sequence[Features], name: str) -> Features | None:
    """Return the first features that know something of their molecules."""
    return next((f for f in features if getattr(f, name) is not None), None)


def _check_order(features: Sequence[Features], named: Features | None) -> None:
    """Refuse features whose molecules have other names, or the same in another order."""
    for f in features:
        if named is None or named.ids is None or f.ids is None or np.array_equal(f.ids, named.ids):
            continue
        what = "are of other molecules than"
        if sorted(f.ids) == sorted(named.ids):
            row = int((f.ids != named.ids).argmax())
            where = f"row {row} is {str(f.ids[row])!r} instead of {str(named.ids[row])!r}"
            what = f"have their molecules in another order ({where}) than"
        raise InputError(
            f"features {f.model!r} {what} features {named.model!r}: give the dataset that both "
            "were extracted from, or bring their rows into one order"
        )


def _counts(
    composition: Any,
    formulas: np.ndarray | None,
    features: Sequence[Features],
    settings: SpaceSettings,
) -> tuple[Float[np.ndarray, "row element"], tuple[str, ...]]:
    """Return composition as it is given, or that of formulas, or none where none is needed."""
    if composition is not None:
        counts = np.asarray(real_array("C", composition), np.float64)
        if counts.ndim != 2 or not counts.size:
            raise InputError(f"C must have axes (row, element), got shape {counts.shape}")
        check_finite("C", counts)
        return counts, tuple(f"C[{i}]" for i in range(counts.shape[1]))
    if formulas is not None:
        return from_formulas(formulas.tolist())
    if settings.projections == ["none"] and not settings.permutations:
        rows = next(iter(features[0].values())).shape[0]
        return np.zeros((rows, 0)), ()
    raise InputError(
        "what composition explains is subtracted, and within formulas molecules are permuted: give "
        "C (row, element), or a dataset of structures, or tables with a column 'formula'; raw "
        "features need none of these (projection 'none')"
    )


def _labels(counts: Float[np.ndarray, "row element"]) -> np.ndarray:
    """Return a label of every row that rows of one composition share."""
    if not counts.shape[1]:
        return np.zeros(len(counts), "U1")
    return np.unique(counts, axis=0, return_inverse=True)[1].ravel().astype(str)


def _checked(formulas: np.ndarray, counts: Float[np.ndarray, "row element"]) -> np.ndarray:
    """Return formulas, or refuse a composition that is not that of their molecules."""
    if len(formulas) == len(counts):
        first = np.unique(formulas, return_index=True, return_inverse=True)
        stands = first[1][first[2].ravel()]
        differ = (counts != counts[stands]).any(1)
        if differ.any():
            row = int(differ.argmax())
            raise InputError(
                f"C is not the composition of the features' molecules: rows {stands[row]} and "
                f"{row} are both {formulas[row]}, and C differs: bring both into one order"
            )
        return formulas
    raise InputError(
        f"C has {len(counts)} rows, and the features {len(formulas)} molecules: give one row each"
    )


def folds_of(rows: Rows, settings: SpaceSettings) -> Int[np.ndarray, " row"]:
    """Return the fold in which every row is held out, with its whole molecule."""
    if settings.group_by == "formula":
        of_formulas = group_folds(rows.formulas, settings.folds, seed=settings.seed)
        return of_formulas[rows.owner]
    own = rows.molecule if settings.by_molecule else rows.owner
    return kfold(int(own.max()) + 1, settings.folds, seed=settings.seed)[own]


def drawn(rows: Rows, settings: SpaceSettings) -> Int[np.ndarray, " row"]:
    """Return what the bootstrap draws every row with, as a number from 0."""
    labels = kind_of(settings).rows.drawn_together(rows, settings)
    return np.arange(len(rows)) if labels is None else np.unique(labels, return_inverse=True)[1]


def exchangeable(rows: Rows, settings: SpaceSettings) -> int:
    """Return how many rows can change places with another one."""
    labels = kind_of(settings).rows.exchangeable(rows, settings)
    counts = np.unique(np.asarray(labels), return_counts=True)[1]
    return int(counts[counts > 1].sum())
