"""ViSNet beside its goldens: options refused, rejections written out, training from the start."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from cpdjax import Structures
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.extraction import padded
from cpdjax.models import Encoder, from_state_dict
from cpdjax.models.architectures import visnet
from cpdjax.models.weights.translate import example


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"lmax": 3}, "lmax=3 is not ported; expected 1 or 2"),
        ({"vecnorm_type": "rms"}, "vecnorm_type='rms' is not ported; expected None or 'max_min'"),
        ({"reduce_op": "max"}, "reduce_op='max' is not ported; expected 'sum' or 'mean'"),
        ({"num_heads": 7}, "num_heads divides, got 128 and 7"),
        ({"num_layers": 0}, "num_layers"),
        ({"num_layer": 3}, "unknown option of ViSNet 'num_layer'; did you mean num_layers"),
        ({"derivative": True, "max_num_neighbors": 50}, "the state dict lacks .* than ViSNet"),
    ],
)
def test_what_is_not_ported_is_refused(config, message):
    with pytest.raises(InputError, match=message) as caught:
        from_state_dict("visnet", config, {"embedding.weight": np.ones((100, 128))})
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UnknownNameError) == ("num_layer" in config)


@pytest.mark.parametrize("lmax", [1, 2])
def test_inner_products_of_rejections_as_written_out(lmax):
    """Also between an atom and itself, whose direction is zero."""
    draw = np.random.default_rng(0)
    atoms, m = 4, (lmax + 1) ** 2 - 1
    a, b = draw.normal(size=(2, atoms, m, 3))
    graph = replace(
        example(),
        numbers=jnp.ones(atoms, jnp.int32),
        neighbours=jnp.asarray(draw.integers(0, atoms, (atoms, 2)), jnp.int32),
        vectors=jnp.asarray(draw.normal(size=(atoms, 2, 3))),
        edge_mask=jnp.ones((atoms, 2), bool),
    )
    edges = visnet.ViSNet(lmax=lmax)._edges(graph)
    d = np.asarray(edges.directions)
    np.testing.assert_allclose((d**2).sum(-1), [[0, lmax, lmax]] * atoms, atol=1e-14)
    itself = np.arange(atoms)[:, None]
    i, j = itself, np.concatenate([itself, np.asarray(graph.neighbours)], axis=1)
    found = visnet._rejected(
        jnp.asarray(a), jnp.asarray(b), visnet._here, edges.gather, edges.directions
    )

    def rejected(v, d):
        return v - (v * d[..., None]).sum(2, keepdims=True) * d[..., None]

    expected = (rejected(a[np.asarray(i)], d) * rejected(b[np.asarray(j)], -d)).sum(2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.slow
def test_trains_from_its_initial_weights():
    """A lone atom has vectors of zero, whose norm has no derivative."""
    module = visnet.ViSNet(
        hidden_channels=8, num_layers=3, num_heads=2, num_rbf=4, vecnorm_type="max_min"
    )
    variables = jax.jit(module.init)(jax.random.key(0), example())
    structures = Structures.from_atoms([molecule("CH3OH"), Atoms("He")])
    batch = padded(Encoder("mine", module, variables), structures, np.arange(2), 6)

    def loss(params, positions):
        encoder = Encoder("mine", module, variables | {"params": params})
        return (encoder.output(batch._replace(positions=positions)) ** 2).sum()

    found = jax.jit(jax.grad(loss, (0, 1)))(variables["params"], jnp.asarray(batch.positions))
    assert all(np.isfinite(gradient).all() for gradient in jax.tree.leaves(found))
    assert all((gradient != 0).any() for gradient in jax.tree.leaves(found[1]))
