"""Keep parsed structures in a cache folder, as plain arrays without pickle."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from cpdjax import checksums
from cpdjax.data.structures import Structures
from cpdjax.files import atomic

_ARRAYS = ("numbers", "positions", "offsets", "ids", "smiles")
_GROUPS = ("targets", "atom_targets")


def save(path: Path, structures: Structures) -> None:
    """Write structures to a cache file, whole or not at all.

    Writers that race each replace the file by an equal one. A folder that cannot be written costs
    only time, so it causes a warning and no error.
    """
    arrays = {key: getattr(structures, key) for key in _ARRAYS}
    for group in _GROUPS:
        arrays |= {f"{group}/{k}": v for k, v in getattr(structures, group).items()}
    arrays["units"] = np.array(json.dumps(structures.units))
    try:
        with atomic(path) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays)
            checksums.seal(temporary)  # for `verify`; the checks of zip are enough to read it
    except OSError as error:
        warnings.warn(
            f"{structures.name} is parsed anew each time, because {path} cannot be written "
            f"({error}); set CPDJAX_CACHE to another folder",
            stacklevel=3,
        )


def load(path: Path, name: str) -> Structures | None:
    """Return the structures in a cache file, or None where it does not exist or is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            fields: dict[str, Any] = {key: file[key] for key in _ARRAYS}
            for group in _GROUPS:
                keys = [key for key in file.files if key.startswith(f"{group}/")]
                fields[group] = {key.partition("/")[2]: file[key] for key in keys}
            return Structures(name, units=json.loads(str(file["units"])), **fields)
    except Exception:  # a damaged file can raise nearly anything, and is then parsed anew
        return None
