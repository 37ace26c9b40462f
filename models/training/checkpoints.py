"""Keep the state of a training run with Orbax, so that it can be interrupted.

The last two states are kept, each in a folder with the hashes of its files: where the last one is
damaged, the run goes on from the one before it.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from cpdjax import checksums
from cpdjax.errors import FileError
from cpdjax.files import atomic, clean, remove

_KEPT = 2
_BESIDE = 2**20  # bytes of Orbax's own files, at most
_STATE = "state"

State = TypeVar("State")


def save(folder: Path, step: int, state: object) -> None:
    """Write a state whole or not at all, and remove those before the last two.

    Raises:
        OSError: the disk is full.
        FileError: it cannot be written for another reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Orbax leaves threads behind where the disk is full, so it does not begin there.
    needed = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(state)) + _BESIDE
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / str(step)))
    with atomic(folder / str(step)) as temporary:
        temporary.mkdir()
        try:
            with _quiet(), ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
                args = ocp.args.StandardSave(state)
                checkpointer.save(temporary.absolute() / _STATE, args=args)
        except Exception as error:  # what lies below Orbax has errors of its own
            reason = " ".join(str(error).split())[-200:]  # the cause stands last
            raise FileError(f"cannot write the checkpoint {folder / str(step)}: {reason}") from None
        checksums.seal(temporary)
    for old in _steps(folder)[_KEPT:]:
        remove(old)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Orbax from writing to the log what it raises as well."""
    log = logging.getLogger("absl")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def restore(folder: Path, first: State) -> State:
    """Return the last whole state in a folder, or `first` where there is none.

    Warns:
        UserWarning: a checkpoint is damaged, and is passed over.
    """
    clean(folder)
    for path in _steps(folder):
        try:
            return _read(path, first)
        except Exception:  # a damaged file can raise nearly anything
            warnings.warn(
                f"{path} is damaged, or of version 0.1.0: the run goes on from the checkpoint "
                "before it, or anew",
                stacklevel=3,
            )
    return first


def _steps(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the last one first."""
    found = [path for path in folder.glob("*/") if path.name.isdecimal()]
    return sorted(found, key=lambda path: -int(path.name))


def _read(path: Path, first: State) -> State:
    """Return the state in a folder; only what is whole is given to Orbax."""
    if not checksums.check(path):
        raise FileError(f"{path} has no record")
    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, first)
    with ocp.StandardCheckpointer() as checkpointer:
        restored: State = checkpointer.restore(path.absolute() / _STATE, shapes)
        return restored
