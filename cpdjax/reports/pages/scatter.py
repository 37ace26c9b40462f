"""The interactive scatter: what the residual probe predicts of every molecule, and the molecule."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from jaxtyping import Float, Int

from cpdjax.characters import printable
from cpdjax.data.structures import Structures
from cpdjax.probes.predictions import ResidualPredictions
from cpdjax.reports.pages import chemiscope, imprint, page
from cpdjax.reports.sheet import Column, Kind, Sheet
from cpdjax.reports.symbols import target_text
from cpdjax.reports.text import score_text
from cpdjax.studies.carriers import Carriers

MOST_MOLECULES, MOST_ATOMS = 5_000, 200_000
"""Bound what a page holds: molecules as points, and the atoms of those that it can draw."""
_LEADING = 50
"""The molecules at either end of each ranking, which a page always holds."""
_SEED = 0  # of which other molecules are shown


def save(found: Carriers, folder: str | Path, command: str = "") -> list[Path]:
    """Write `scatter.html`, and `scatter.json.gz` for chemiscope; return the paths.

    The second holds structures, so that there is none where a table brought formulas alone.
    """
    folder = Path(folder)
    rows = _shown(found)
    written = [page.write(folder / "scatter.html", to_html(found, rows, command))]
    if found.structures is not None:
        drawn = rows[_drawn(found.structures, rows)]
        written.append(chemiscope.save(found, drawn, folder / "scatter.json.gz"))
    return written


def text_table(found: Carriers) -> Sheet:
    """Return a table with a row for every channel and target: its score, and who carries it."""
    heads = ("model", "layer", "target", "R²_geom", "carried most by")
    kinds: tuple[Kind, ...] = ("name", "name", "name", "number", "words")
    rows, records = [], []
    for (model, layer), own in found.channels.items():
        for t, target in enumerate(found.targets.by_name):
            score, shares = own.r2_geom[:, t].mean(), np.nan_to_num(own.contribution[:, t])
            most = _name(found, int(shares.argmax()))
            rows.append((model, layer, target, score_text(score), most))
            values = (model, layer, target, score, most)
            names = ("model", "layer", "target", "r2_geom", "carried_most_by")
            records.append(dict(zip(names, values, strict=True)))
    columns = [Column(head, kind) for head, kind in zip(heads, kinds, strict=True)]
    return Sheet("scatter", "", columns, rows, records)


def _name(found: Carriers, row: int) -> str:
    """Return a molecule's formula, and its name where it has one."""
    formula, ids = str(found.targets.formulas[row]), found.targets.ids
    return formula if ids is None else f"{formula} ({ids[row]})"


def to_html(found: Carriers, rows: Int[np.ndarray, " row"], command: str = "") -> str:
    """Return the page of the molecules `rows`."""
    targets = found.targets
    facts = {
        "channels": ", ".join(f"{model} / {layer}" for model, layer in found.channels),
        "targets": ", ".join(targets.by_name),
        "settings": f"folds {int(_any(found).fold.max()) + 1}, alpha {found.alpha}",
        "dataset hash": targets.hash,
        "elements": " ".join(targets.elements),
    }
    molecules = len(targets.formulas)
    note = (
        f"{len(rows):,} of {molecules:,} molecules are shown, those that lead the rankings and a "
        "random draw of the others; scores are those of all."
    )
    return page.render(
        "scatter.html",
        title="Which molecules carry the score",
        text="Every point is a molecule, predicted by a probe that was trained on other molecules, "
        "from what composition leaves of a model's features. Choose a point to see the molecule.",
        imprint=imprint.of_run(
            targets.name, molecules, command, facts, [note] if len(rows) < molecules else []
        ),
        data=_data(found, rows),
    )


def _any(found: Carriers) -> ResidualPredictions:
    return next(iter(found.channels.values()))


def _shown(found: Carriers) -> Int[np.ndarray, " row"]:
    """Return the molecules that a page shows: all, or those that lead and a draw of the others."""
    n = len(found.targets.formulas)
    if n <= MOST_MOLECULES:
        return np.arange(n)
    ranks = [np.argsort(p.contribution, axis=0) for p in found.channels.values()]
    leading = [end.ravel() for rank in ranks for end in (rank[:_LEADING], rank[-_LEADING:])]
    drawn = np.random.default_rng(_SEED).permutation(n)
    first = list(dict.fromkeys([*np.concatenate(leading).tolist(), *drawn.tolist()]))
    return np.sort(first[:MOST_MOLECULES])


def _data(found: Carriers, rows: Int[np.ndarray, " row"]) -> dict[str, Any]:
    """Return all that the page's script reads."""
    targets, first = found.targets, _any(found)
    mean = _training_mean(first)
    return {
        "targets": [
            {
                "name": printable(target_text(name, targets.units[name])),
                "value": _packed(first.target[rows, t]),
                "composition": _packed(found.composition[rows, t]),
                "mean": _packed(mean[rows, t]),
                "r2_comp": _mean(first.r2_comp[:, t]),
            }
            for t, name in enumerate(targets.by_name)
        ],
        "channels": [
            {
                "name": printable(f"{model} / {layer}"),
                "scores": [
                    _score(own, t, rows) | {"r2_both": _together(own, found.composition - mean, t)}
                    for t in range(len(targets.by_name))
                ],
            }
            for (model, layer), own in found.channels.items()
        ],
        "molecules": _names(found, rows) | _drawings(found.structures, rows),
    }


def _training_mean(own: ResidualPredictions) -> Float[np.ndarray, "molecule target"]:
    """Return the mean of the training molecules of the fold that holds a molecule out."""
    training = own.fold != np.arange(len(own.r2_geom))[:, None]  # (fold, molecule)
    means: np.ndarray = (training @ own.target) / training.sum(1)[:, None]
    return means[own.fold]


def _together(own: ResidualPredictions, composition: np.ndarray, t: int) -> float | None:
    """Return R² of composition and residual together, where `composition` is about the mean."""
    both = replace(own, prediction=own.prediction + composition)
    return _number(both.contribution[:, t].sum())


def _score(own: ResidualPredictions, t: int, rows: Int[np.ndarray, " row"]) -> dict[str, Any]:
    """Return one channel's predictions of one target, and what few molecules do to its score."""
    contribution = own.contribution[:, t]
    few = max(len(contribution) // 20, 1)
    ranked = np.sort(contribution)
    return {
        "r2_geom": _mean(own.r2_geom[:, t]),
        "prediction": _packed(own.prediction[rows, t]),
        "contribution": _packed(contribution[rows]),
        "few": few,
        "added": _number(ranked[-few:].sum()),
        "taken": _number(ranked[:few].sum()),
    }


def _names(found: Carriers, rows: Int[np.ndarray, " row"]) -> dict[str, Any]:
    """Return what the molecules are called."""
    targets, structures = found.targets, found.structures
    ids = targets.ids if structures is None else structures.ids
    smiles = None if structures is None else structures.smiles
    return {
        "formula": [printable(name) for name in targets.formulas[rows]],
        "id": [str(row) if ids is None else printable(ids[row]) for row in rows],
        "smiles": None if smiles is None else [printable(text) for text in smiles[rows]],
    }


def _drawings(structures: Structures | None, rows: Int[np.ndarray, " row"]) -> dict[str, Any]:
    """Return the atoms of the molecules that are drawn, in units of `scale` ångström."""
    if structures is None:
        return {"offsets": [0] * (len(rows) + 1), "numbers": "", "positions": "", "scale": 1}
    drawn = _drawn(structures, rows)
    atoms = [
        structures.atoms(row) if draws else None for row, draws in zip(rows, drawn, strict=True)
    ]
    places = [_turned(one.positions) for one in atoms if one is not None]
    numbers = np.concatenate([one.numbers for one in atoms if one is not None])
    scale = max(float(np.abs(np.concatenate(places)).max()), 1e-3) / 32767
    return {
        "offsets": np.cumsum([0, *(0 if one is None else len(one) for one in atoms)]).tolist(),
        "numbers": _packed(numbers, "u1"),
        "positions": _packed(np.rint(np.concatenate(places) / scale), "<i2"),
        "scale": scale,
        "elements": {int(z): _element(int(z)) for z in np.unique(numbers)},
    }


def _drawn(structures: Structures, rows: Int[np.ndarray, " row"]) -> np.ndarray:
    """Return which molecules are drawn: the first, until the page holds no further atoms."""
    return np.cumsum(structures.sizes[rows]) <= MOST_ATOMS


def _turned(positions: Float[np.ndarray, "atom 3"]) -> Float[np.ndarray, "atom 3"]:
    """Return a molecule about its middle, its longest axis across and its shortest to the eye."""
    centred = positions - positions.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=True)
    axes[2] *= np.sign(np.linalg.det(axes))  # no mirror image
    turned: np.ndarray = centred @ axes.T
    return turned


def _element(z: int) -> dict[str, Any]:
    """Return an element's symbol, covalent radius (Å) and colour, as in Jmol."""
    colour = "".join(f"{round(255 * part):02x}" for part in jmol_colors[z])
    radius = round(float(covalent_radii[z]), 2)
    return {"symbol": chemical_symbols[z], "radius": radius, "colour": f"#{colour}"}


def _packed(values: np.ndarray, kind: str = "<f8") -> str:
    """Return numbers as the text of their bytes, which the page's script unpacks."""
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode()


def _mean(folds: Float[np.ndarray, " fold"]) -> float | None:
    return _number(folds.mean())


def _number(value: float) -> float | None:
    """Return a number as JSON has it, which knows no NaN."""
    return float(value) if np.isfinite(value) else None
