"""Models by name and from state dicts: weights that are missing, altered or of another shape."""

import hashlib

import jax
import numpy as np
import pytest
from ase.build import molecule

from cpdjax import Structures, models
from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.features.extraction import padded
from cpdjax.models.architectures import schnet
from cpdjax.models.cards import card_of
from cpdjax.models.weights import translate as weights
from cpdjax.models.weights import wheels
from cpdjax.models.weights.wheels import INSTALL, packaged

SIZES = {"hidden_channels": 8, "num_filters": 4, "num_interactions": 1, "num_gaussians": 5}
CONFIG = SIZES | {"readout": "add", "mean": None, "std": None}
STATE = {
    "embedding.weight": np.ones((100, 8)),
    "distance_expansion.offset": np.linspace(0, 10, 5),
    "interactions.0.mlp.0.weight": np.ones((4, 5)),
    "interactions.0.mlp.0.bias": np.ones(4),
    "interactions.0.mlp.2.weight": np.ones((4, 4)),
    "interactions.0.mlp.2.bias": np.ones(4),
    "interactions.0.conv.lin1.weight": np.ones((4, 8)),
    "interactions.0.conv.lin2.weight": np.ones((8, 4)),
    "interactions.0.conv.lin2.bias": np.ones(8),
    "interactions.0.lin.weight": np.ones((8, 8)),
    "interactions.0.lin.bias": np.ones(8),
    "lin1.weight": np.ones((4, 8)),
    "lin1.bias": np.ones(4),
    "lin2.weight": np.ones((1, 4)),
    "lin2.bias": np.ones(1),
}


def refused(state, match, config=CONFIG, architecture="schnet", error=InputError):
    with pytest.raises(error, match=match) as caught:
        models.from_state_dict(architecture, config, state)
    assert "\n" not in str(caught.value)


def test_every_model_has_a_card():
    for name in models.names():
        card = card_of(name)
        assert card.family
        assert card.licence
        assert card.data
    with pytest.raises(UnknownNameError, match="did you mean sevennet-0"):
        card_of("sevenet-0")


def test_a_state_dict_of_the_wrong_shape():
    models.from_state_dict("schnet", CONFIG, STATE)
    wrong = STATE | {"lin1.bias": np.ones(7)}
    refused(wrong, r"'lin1.bias'.*expected shape \(4,\), got \(7,\)")
    refused({k: v for k, v in STATE.items() if k != "lin2.weight"}, "'lin2.weight'")
    refused(STATE | {"lin3.weight": np.ones(3)}, "nothing in SchNet reads 'lin3.weight'")
    refused(STATE, r"'lin3.weight'|expected shape", CONFIG | {"num_gaussians": 6})


def test_unknown_architectures_and_options():
    refused(STATE, "unknown architecture 'shnet'; did you mean schnet", architecture="shnet",
            error=UnknownNameError)  # fmt: skip
    refused(STATE, "dipole", CONFIG | {"dipole": True})
    refused(STATE, "readout='max' is not ported", CONFIG | {"readout": "max"})
    refused(STATE, "unknown option of SchNet 'cutof'; did you mean cutoff", CONFIG | {"cutof": 5.0},
            error=UnknownNameError)  # fmt: skip
    models.from_state_dict("schnet", CONFIG | {"max_num_neighbors": 32, "atomref": None}, STATE)
    refused({}, "no PaiNN", {}, architecture="painn")


def test_the_readout_of_schnet_is_a_sum_or_a_mean():
    """As torch_geometric's `readout` says."""
    add, added, mean = (
        models.from_state_dict("schnet", CONFIG | {"readout": readout}, STATE)
        for readout in ("add", "sum", "mean")
    )
    batch = padded(add, Structures.from_atoms([molecule("CH4"), molecule("H2O")]), np.arange(2), 5)
    total = np.asarray(add.output(batch))
    np.testing.assert_array_equal(added.output(batch), total)
    np.testing.assert_allclose(mean.output(batch), total / [5, 3], rtol=1e-6)


def test_weights_that_are_not_installed_or_altered(tmp_path, monkeypatch):
    with pytest.raises(FileError) as caught:
        packaged("no-such-wheel", "a/b.pth", "0" * 64)
    assert INSTALL in str(caught.value)
    for pin in ("sevenn==0.13.0", "so3krates-torch==0.2.1", "chgnet==0.4.2", "torchani==2.2.4"):
        assert pin in INSTALL

    class Distribution:
        def locate_file(self, file):
            return tmp_path / file

    monkeypatch.setattr(wheels, "distribution", lambda _: Distribution())
    with pytest.raises(FileError, match="come with the wheel of sevenn"):
        packaged("sevenn", "weights.pth", "0" * 64)
    (tmp_path / "weights.pth").write_bytes(b"altered")
    with pytest.raises(FileError, match="is not the file these weights were published in"):
        packaged("sevenn", "weights.pth", "0" * 64)
    good = hashlib.sha256(b"altered").hexdigest()
    assert packaged("sevenn", "weights.pth", good) == tmp_path / "weights.pth"


def test_asking_for_an_early_layer_computes_no_later_one():
    """Under jit, what no asked layer needs is removed by XLA."""
    encoder = models.from_state_dict("schnet", CONFIG | {"num_interactions": 1}, STATE)
    batch = padded(encoder, Structures.from_atoms([molecule("CH4")]), np.arange(1), 5)

    def flops(*layers):
        def only(encoder, batch):
            features = encoder.features(batch)
            return [features[layer].array for layer in layers]

        cost = jax.jit(only).lower(encoder, batch).compile().cost_analysis()
        return cost.get("flops", 0)

    assert flops("embedding") < 0.1 * flops("interaction_0") < flops("readout")


def test_a_model_of_random_weights_has_gradients():
    """A complete model: from `init` to a loss and its derivatives."""
    module = schnet.SchNet(**SIZES)
    variables = jax.jit(module.init)(jax.random.key(0), weights.example())
    encoder = models.Encoder("mine", module, variables)
    structures = Structures.from_atoms([molecule("CH4"), molecule("H2O")])
    batch = padded(encoder, structures, np.arange(2), 5)

    def loss(variables):
        return (models.Encoder("mine", module, variables).output(batch) ** 2).sum()

    gradients = jax.tree.leaves(jax.jit(jax.grad(loss))(variables)["params"])
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert any((gradient != 0).any() for gradient in gradients)


def test_options_that_no_array_tells_are_required():
    for option in ("readout", "mean", "std"):
        config = {name: value for name, value in CONFIG.items() if name != option}
        refused(STATE, f"lacks '{option}', which no array", config)


def test_options_that_the_state_dict_contradicts():
    assert models.from_state_dict("schnet", CONFIG, STATE).cutoff == 10.0
    assert models.from_state_dict("schnet", CONFIG | {"cutoff": 10}, STATE).cutoff == 10.0
    refused(STATE, "cutoff is 5.0 in the configuration, but 10.0", CONFIG | {"cutoff": 5.0})
    refused(STATE, "cutoff is far in the configuration", CONFIG | {"cutoff": "far"})
    rounded = STATE | {"distance_expansion.offset": np.linspace(0, 3.3, 5, dtype=np.float32)}
    assert models.from_state_dict("schnet", CONFIG, rounded).cutoff == 3.3


def test_options_of_another_type_or_out_of_bounds():
    for option, value in (
        ("num_interactions", 100_000),
        ("num_interactions", 1.5),
        ("num_interactions", True),
        ("num_gaussians", 10**12),
        ("hidden_channels", -1),
        ("mean", float("nan")),
    ):
        refused(STATE, option, CONFIG | {option: value})


def test_a_wrong_shape_is_the_references_own():
    """Not that of the transposed kernel."""
    wrong = STATE | {"interactions.0.mlp.0.weight": np.ones((4, 7))}
    refused(wrong, r"'interactions.0.mlp.0.weight': expected shape \(4, 5\), got \(4, 7\)")
