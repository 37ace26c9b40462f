"""What the golden scripts (in their torch environments) and the tests share: inputs and format.

Imports nothing but NumPy and ASE. A golden is an `.npz` with

    architecture, config        names for `cpdjax.models.from_state_dict` (config as JSON), or
    model                       a name of `cpdjax.models.load`
    shapes                      JSON {reference name: shape} of the weights that `seeded` makes
    state/<reference name>      the arrays of the state dict that are not seeded
    scale                       JSON {pattern: factor} given to `seeded`
    numbers, positions, offsets[, cells, pbc]   the structures, float64, Å
    charge, unpaired            total charge and unpaired electrons, where `info` holds them
    layer/<layer>               the reference's features (atom, irreps.dim), e3nn-jax's order
    output                      the reference's output (molecule,)
    unused                      JSON [pattern of our paths]: weights that the model never uses
    tolerance                   largest relative error, with `reason` where it is above 1e-10
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule

FOLDER = Path(__file__).parent


def seeded(shapes: Mapping[str, tuple[int, ...]], scale: Mapping[str, float]) -> dict:
    """Weights that need no file: uniform in ±√3 · factor, from a seed of the name alone.

    The factor of a name is that of the first matching pattern of `scale`; otherwise
    1/√(last axis) for matrices and 0.5 for the rest.
    """
    made = {}
    for name, shape in shapes.items():
        fan_in = shape[-1] if len(shape) > 1 else 4
        factors = (f for pattern, f in scale.items() if fnmatchcase(name, pattern))
        factor = next(factors, 1 / np.sqrt(fan_in))
        draw = np.random.default_rng(zlib.crc32(name.encode())).random(tuple(shape))
        made[name] = (2 * draw - 1) * np.sqrt(3) * factor
    return made


def molecules() -> list[Atoms]:
    """H C N O F; a lone atom, a pair, linear, planar, chiral-looking, and 29 atoms."""
    frames = [
        Atoms("H", [[0.3, -0.2, 0.1]]),
        molecule("HF"),
        molecule("CO2"),
        molecule("C6H6"),
        molecule("CH3CONH2"),
        molecule("H2CF2"),
        nonane(),
    ]
    rng = np.random.default_rng(7)
    for frame in frames[3:]:
        frame.positions += 0.05 * rng.normal(size=frame.positions.shape)
    return frames


def nonane() -> Atoms:
    """C9H20, 29 atoms: a zigzag of carbons, each with two hydrogens, the ends with three."""
    x, z = 1.27 * np.arange(-1, 10), 0.87 * (np.arange(-1, 10) % 2)
    chain = np.stack([x, 0 * x, z], axis=1)
    side = np.where(np.arange(9) % 2, -1, 1)[:, None] * np.array([0, 0, 0.63])
    left, right = [chain[1:-1] - side + [0, y, 0] for y in (-0.89, 0.89)]
    ends = chain[[1, 9]] + 0.71 * (chain[[0, 10]] - chain[[1, 9]])
    positions = np.concatenate([chain[1:-1], left, right, ends])
    return Atoms("C9H20", positions)


def crystals() -> list[Atoms]:
    """Small periodic cells, all with a side below any model's cutoff; one skewed and rattled."""
    salt = bulk("NaCl", "rocksalt", a=5.64)
    diamond = bulk("C", "diamond", a=3.57, cubic=True)
    skewed = bulk("MgO", "rocksalt", a=4.21)
    skewed.set_cell(skewed.cell.array @ (np.eye(3) + 0.05 * np.arange(9).reshape(3, 3) / 9).T, True)
    rng = np.random.default_rng(8)
    for frame in (diamond, skewed):
        frame.positions += 0.05 * rng.normal(size=frame.positions.shape)
    return [salt, diamond, skewed]


def save(
    name: str,
    frames: list[Atoms],
    layers: Mapping[str, np.ndarray],
    output: np.ndarray,
    *,
    tolerance: float = 1e-10,
    reason: str = "",
    unused: list[str] | None = None,
    model: str = "",
    architecture: str = "",
    config: Mapping | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    scale: Mapping[str, float] | None = None,
    state: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write the golden `<name>.npz`."""
    arrays = {
        "model": model,
        "architecture": architecture,
        "config": json.dumps(config or {}),
        "shapes": json.dumps({k: list(v) for k, v in (shapes or {}).items()}),
        "scale": json.dumps(dict(scale or {})),
        "numbers": np.concatenate([f.numbers for f in frames]),
        "positions": np.concatenate([f.positions for f in frames]),
        "offsets": np.cumsum([0, *map(len, frames)]),
        "output": np.asarray(output, np.float64),
        "tolerance": tolerance,
        "reason": reason,
        "unused": json.dumps(unused or []),
    }
    if any(f.pbc.any() for f in frames):
        arrays["cells"] = np.array([f.cell.array for f in frames])
        arrays["pbc"] = np.array([f.pbc for f in frames])
    for key in ("charge", "unpaired"):
        if any(key in f.info for f in frames):
            arrays[key] = np.array([f.info.get(key, 0) for f in frames])
    arrays |= {f"layer/{k}": np.asarray(v, np.float64) for k, v in layers.items()}
    arrays |= {f"state/{k}": np.asarray(v) for k, v in (state or {}).items()}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)


def state_of(golden: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state dict behind a golden: seeded and stored arrays."""
    shapes = {k: tuple(v) for k, v in json.loads(str(golden["shapes"])).items()}
    stored = {k.removeprefix("state/"): golden[k] for k in golden if k.startswith("state/")}
    return seeded(shapes, json.loads(str(golden["scale"]))) | stored
