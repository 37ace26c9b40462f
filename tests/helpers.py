"""What several test files share: the command line called in this process, small data, goldens."""

import contextlib
import io
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from e3nn_jax import Irreps, IrrepsArray

from cpdjax import Structures
from cpdjax.cli import app
from cpdjax.progress.lines import Lines

ROOT = Path(__file__).parents[1]
GOLDENS = ROOT / "tests" / "goldens"


def call(*arguments):
    """Exit status, standard output, standard error without the lines of progress."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["cpdjax", *map(str, arguments)])
        patch.setattr(Lines, "write", lambda *_: None)
        try:
            app.main()
        except SystemExit as stopped:
            return stopped.code, out.getvalue(), err.getvalue()
    pytest.fail("main returns without a status")


def without_progress(errors):
    """What a process of its own said on standard error, without the lines of progress."""
    doing = ("cpdjax: stage ", "cpdjax: starting", "cpdjax: loading libraries")
    return "".join(line for line in errors.splitlines(True) if not line.startswith(doing))


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


#: What disks and copies do to a file: one bit, the second half, the whole.
DAMAGES = (_flip, _cut, Path.unlink)


def png_size(path):
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    return struct.unpack(">II", content[16:24])


@jax.tree_util.register_static
@dataclass(eq=False)
class Toy:
    """Atomic number and position as features; it counts how often JAX traces it."""

    name: str = "toy"
    level: str = "atom"
    elements: tuple | None = None
    periodic: bool = False
    max_atoms: int | None = None
    parity: bool = True
    cutoff: float | None = None
    irreps: dict = field(default_factory=lambda: {"number": Irreps("0e"), "position": Irreps("1o")})
    traces: int = 0
    numbers: int = 1000

    def memory(self, atoms, neighbours):
        return self.numbers * atoms

    def features(self, batch):
        self.traces += 1
        arrays = {"number": batch.numbers[:, :, None], "position": batch.positions}
        return {
            layer: IrrepsArray(self.irreps[layer], jnp.asarray(x, batch.positions.dtype))
            for layer, x in arrays.items()
        }


def random_structures(sizes, seed=0):
    rng = np.random.default_rng(seed)
    total = int(np.sum(sizes))
    return Structures(
        "random",
        rng.choice([1, 6, 7, 8, 9], total),
        10 * rng.normal(size=(total, 3)),
        np.concatenate([[0], np.cumsum(sizes)]),
    )


def results_table(scores, sizes=(50, 2000), targets=("gap", "mu")):
    """Results with given R²_geom of (model, layer, irrep, target), growing with size."""
    models, layers, irreps = (list(dict.fromkeys(k[i] for k in scores)) for i in range(3))
    dims = ("model", "layer", "irrep", "repeat", "size", "fold", "alpha", "target")
    shape = (len(models), len(layers), len(irreps), 3, len(sizes), 5, 1, len(targets))
    r2, counts = np.full(shape, np.nan), np.zeros(shape[:3], int)
    noise = np.random.default_rng(0).normal(0, 0.01, shape)
    for (m, layer, ir, t), value in scores.items():
        where = models.index(m), layers.index(layer), irreps.index(ir)
        counts[where] = 8
        for j in range(len(sizes)):
            part = (*where, slice(None), j, slice(None), 0, targets.index(t))
            r2[part] = value * (j + 1) / len(sizes) + noise[part]
    data = {
        "r2_geom": (dims, r2),
        "n_features": (dims[:3], counts),
        "composition_share": (dims[:6], np.full(shape[:6], 0.5)),
    }
    coordinates = dict(zip(dims[:3], (models, layers, irreps), strict=True))
    return xr.Dataset(data, coordinates | {"size": list(sizes), "target": list(targets)})


def one_line(caught, *words):
    """Check that an error is one line, and that it holds the words."""
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
