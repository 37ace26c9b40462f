"""Write the scatter for chemiscope, the structure–property explorer at chemiscope.org.

The format is that of its documentation (lab-cosmo/chemiscope, "Chemiscope JSON file format").
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Int

from cpdjax.characters import printable
from cpdjax.errors import InputError
from cpdjax.files import atomic
from cpdjax.studies.carriers import Carriers


def save(found: Carriers, rows: Int[np.ndarray, " row"], path: Path) -> Path:
    """Write the molecules `rows` and their predictions as `.json.gz`; return the path."""
    text = json.dumps(data(found, rows), separators=(",", ":"), allow_nan=False)
    with atomic(path) as temporary:
        # No time and no name, so that the same results give the same file.
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path


def data(found: Carriers, rows: Int[np.ndarray, " row"]) -> dict[str, Any]:
    """Return the content of the file.

    Raises:
        InputError: there are no structures.
    """
    if found.structures is None:
        raise InputError("chemiscope shows structures, and there are none")
    properties = _properties(found, rows)
    numbers = [name for name, one in properties.items() if not isinstance(one["values"][0], str)]
    axes = dict(zip(("x", "y", "color"), ({"property": name} for name in numbers), strict=False))
    return {
        "meta": {
            "name": printable(f"{found.targets.name}: which molecules carry the score"),
            "description": "Held-out predictions of the probe behind R²_geom, by cpdjax.",
            "references": ["J. Steier, arXiv 2603.03155 (2026)"],
        },
        "structures": [_structure(found.structures.atoms(row)) for row in rows],
        "properties": properties,
        "settings": {"target": "structure", "map": axes},
    }


def _properties(found: Carriers, rows: Int[np.ndarray, " row"]) -> dict[str, dict[str, Any]]:
    """Return, target by target, its values, predictions and contributions; then names."""
    columns: dict[str, tuple[np.ndarray, str]] = {}
    for t, name in enumerate(found.targets.by_name):
        unit = found.targets.units[name]
        columns[name] = found.targets.by_name[name], unit
        for (model, layer), own in found.channels.items():
            of = f"{name}: {model} / {layer}"
            columns[f"{of}, prediction from the residual"] = own.prediction[:, t], unit
            columns[f"{of}, contribution to R²_geom"] = own.contribution[:, t], ""
        columns[f"{name}: prediction from composition"] = found.composition[:, t], unit
    # chemiscope knows no missing numbers: a score that is undefined is left out.
    columns = {name: own for name, own in columns.items() if np.isfinite(own[0][rows]).all()}
    if found.structures is not None:
        columns["id"] = found.structures.ids, ""
        columns["formula"] = found.targets.formulas, ""
    return {
        printable(name): {
            "target": "structure",
            "values": [printable(v) if isinstance(v, str) else v for v in values[rows].tolist()],
            **({"units": printable(unit)} if unit else {}),
        }
        for name, (values, unit) in columns.items()
    }


def _structure(atoms: Atoms) -> dict[str, Any]:
    places = dict(zip("xyz", np.round(atoms.positions, 4).T.tolist(), strict=True))
    symbols = atoms.get_chemical_symbols()
    shown = {"size": len(atoms), "names": symbols, **places}
    if atoms.pbc.any():
        shown |= {"cell": atoms.cell.array.ravel().tolist(), "pbc": atoms.pbc.tolist()}
    return shown
