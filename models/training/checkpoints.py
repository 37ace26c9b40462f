"""Keep the state of a training run in files, so that it can be interrupted.

The last two states are kept, each in a file that tells damage: where the last one is damaged, the
run goes on from the one before it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from cpdjax import checksums
from cpdjax.errors import FileError
from cpdjax.files import atomic, clean, remove

_KEPT = 2

State = TypeVar("State")


def save(folder: Path, step: int, state: Any) -> None:
    """Write a state whole or not at all, and remove those before the last two."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    arrays: dict[str, Any] = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    with atomic(folder / f"{step}.npz") as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
        checksums.seal(temporary)
    for old in _files(folder)[_KEPT:]:
        remove(old)


def restore(folder: Path, first: State) -> State:
    """Return the last whole state in a folder, or `first` where there is none.

    Warns:
        UserWarning: a file is damaged, and is passed over.
    """
    clean(folder)
    if not _files(folder) and any(folder.glob("*/")):
        warnings.warn(
            f"{folder} holds checkpoints of version 0.1.0, which are not read: the run starts anew",
            stacklevel=3,
        )
    for path in _files(folder):
        try:
            return _read(path, first)
        except Exception:  # a damaged file can raise nearly anything
            warnings.warn(
                f"{path} is damaged: the run goes on from the checkpoint before it", stacklevel=3
            )
    return first


def _files(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the last one first."""
    found = [path for path in folder.glob("*.npz") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: -int(path.stem))


def _read(path: Path, first: State) -> State:
    if not checksums.check(path):
        raise FileError(f"{path} is cut")
    leaves, structure = jax.tree_util.tree_flatten_with_path(first)
    with np.load(path, allow_pickle=False) as arrays:
        found = [arrays[jax.tree_util.keystr(name)] for name, _ in leaves]
    return jax.tree_util.tree_unflatten(structure, [jnp.asarray(array) for array in found])
