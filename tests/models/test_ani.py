"""ANI beside its goldens: both ways through the networks, altered weights."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from cpdjax.errors import FileError, InputError
from cpdjax.models import from_state_dict
from cpdjax.models.architectures import ani
from cpdjax.models.weights.translate import shapes


@pytest.mark.slow
def test_blocks_give_what_all_networks_on_all_atoms_give():
    """Whatever the elements: none of one, more than a block of another, padding between."""
    module = ani.ANI(hidden=((5, 4), (4, 6), (3, 2), (7, 3)), members=2)
    params = shapes(module)["params"]
    weights = [
        [(of[f"kernel{i}"], of[f"bias{i}"]) for i in range(3)]
        for of in (params[f"element_{number}"] for number in module.elements)
    ]
    rng = np.random.default_rng(0)
    weights = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape) / 9, weights)
    both = [jax.jit(f) for f in (ani._dense, ani._blockwise)]
    for choices in ([0, 1, 3, -1], [0] * 9 + [3], [-1], [1]):
        species = np.asarray(rng.choice(choices, 70))
        x = jax.numpy.asarray(rng.normal(size=(70, 384)))
        dense, blocks = (f(weights, x, species) for f in both)
        for expected, got in zip(dense, blocks, strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


def test_altered_networks_are_refused(tmp_path):
    try:
        constants = ani.packaged("torchani", *ani._CONSTANTS)
    except FileError as absent:
        pytest.skip(str(absent))
    folder = Path(shutil.copytree(constants.parent, tmp_path / "ani"))
    ani._check_networks(folder, ["H", "C", "N", "O"])
    file = folder / "train3/networks/ANN-N.nnf-l2.bparam"
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    with pytest.raises(FileError, match="SHA-256"):
        ani._check_networks(folder, ["H", "C", "N", "O"])
    file.write_bytes(content[:-6])
    with pytest.raises(FileError, match="SHA-256"):
        ani._check_networks(folder, ["H", "C", "N", "O"])
    file.unlink()
    with pytest.raises(FileError, match="pip install --no-deps"):
        ani._check_networks(folder, ["H", "C", "N", "O"])


def test_a_state_dict_of_something_else_is_refused():
    config = {"species": ["H"], "Rcr": 5.2, "Rca": 3.5}
    with pytest.raises(InputError, match="species"):
        from_state_dict("ani", config, {"weight": np.zeros(3)})
    with pytest.raises(InputError, match="lacks 'Rca'"):
        from_state_dict("ani", {"species": ["H"], "Rcr": 5.2}, {})


def test_elements_without_networks_or_with_other_depths_are_refused():
    state = {f"aev_computer.{name}": np.ones(1) for name in ("EtaR", "EtaA", "Zeta")}
    state["aev_computer.ShfR"] = np.linspace(0.9, 5.2, 17)[:-1]
    state["aev_computer.ShfA"] = np.linspace(0.9, 3.5, 5)[:-1]
    state["aev_computer.ShfZ"] = (np.arange(8) + 0.5) * np.pi / 8
    for symbol, depth in (("H", 3), ("C", 2)):
        for i in range(depth):
            state[f"neural_networks.{symbol}.{2 * i}.weight"] = np.ones((3, 3))
            state[f"neural_networks.{symbol}.{2 * i}.bias"] = np.ones(3)
    config = {"Rcr": 5.2, "Rca": 3.5}
    with pytest.raises(InputError, match=r"has no 'networks\.F\.0\.bias'"):
        from_state_dict("ani", config | {"species": ["H", "F"]}, state)
    with pytest.raises(InputError, match=r"lacks 'energy|lacks 'networks\.C\.4\.bias'"):
        from_state_dict("ani", config | {"species": ["H", "C"]}, state)
    two = state | {"aev_computer.EtaR": np.ones(2)}
    with pytest.raises(InputError, match="EtaR"):
        from_state_dict("ani", config | {"species": ["H"]}, two)
    with pytest.raises(InputError, match="unknown option of ANI 'Rcrit'"):
        from_state_dict("ani", config | {"species": ["H"], "Rcrit": 5.2}, state)
