"""Runs a torch reference in a process of its own, with the interpreter that has it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cpdjax import Structures


def run(
    python: str,
    model: str,
    molecules: Structures,
    arguments: Sequence[str],
    threads: int,
    more: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """What `reference_models.py` writes down of `model` on these molecules."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "molecules.npz"), Path(folder, "out.npz")
        arrays = {k: getattr(molecules, k) for k in ("numbers", "positions", "offsets")}
        np.savez(given, **arrays, **(more or {}))
        command = [python, str(Path(__file__).with_name("reference_models.py")), model]
        command += [str(given), str(out), "--threads", str(threads), *arguments]
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        subprocess.run(command, check=True, env=os.environ | limits, stdout=subprocess.DEVNULL)
        with np.load(out) as stored:
            return dict(stored)


def state_of(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights it began with; empty where they come with a wheel."""
    return {k.removeprefix("state/"): v for k, v in stored.items() if k.startswith("state/")}
