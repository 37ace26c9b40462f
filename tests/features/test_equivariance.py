"""The check of equivariance itself: it fails where it should, and refuses what it cannot check."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk, molecule
from e3nn_jax import Irreps, IrrepsArray

from cpdjax import InputError, Structures, assert_equivariant


@jax.tree_util.register_static
@dataclass(eq=False)
class Centred:
    """Positions from the middle of the molecule, under a label of your choice."""

    label: str = "1o"
    name: str = "toy"
    level: str = "atom"
    elements: tuple | None = (1, 8)
    periodic: bool = False
    max_atoms: int | None = None
    parity: bool = True
    cutoff: float | None = None

    @property
    def irreps(self):
        return {"position": Irreps(self.label)}

    def features(self, batch):
        mask = jnp.asarray(batch.mask)[:, :, None]
        x = jnp.where(mask, batch.positions, 0)
        middle = x.sum(1) / mask.sum(1, dtype=x.dtype)
        return {"position": IrrepsArray(self.label, x - middle[:, None])}


def structures(*frames):
    return Structures.from_atoms(list(frames), name="mine")


@pytest.mark.parametrize("dtype", ["float32", np.float64, None])
def test_true_labels_pass(dtype):
    assert_equivariant(Centred(), structures(molecule("H2O")), dtype=dtype)


@pytest.mark.parametrize(("label", "motion"), [("1e", "inversion"), ("3x0e", "rotation")])
def test_false_labels_fail(label, motion):
    with pytest.raises(AssertionError, match=f"^toy, layer 'position' .*: {motion} changes it"):
        assert_equivariant(Centred(label), structures(molecule("H2O")))


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        (molecule("CH4"), {}, "molecule 'mine_1' has C; toy knows H, O$"),
        (bulk("O", "sc", 3.0), {}, "molecule 'mine_1' is periodic; toy knows no cells"),
        (molecule("H2O"), {"dtype": "float16"}, "dtype must be float32 or float64, got 'float16'"),
    ],
)
def test_what_cannot_be_checked_is_refused(frame, options, words):
    with pytest.raises(InputError, match=words) as caught:
        assert_equivariant(Centred(), structures(molecule("H2O"), frame), **options)
    assert "\n" not in str(caught.value)
