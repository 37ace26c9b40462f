"""The ANI-2x AEV: against torchani's numbers, against the paper's sums written as loops, and the
symmetries that it must have.

Against torchani 2.9.0 in float64 the largest relative error of any number above
1e-12 is 2.5e-14 (both round the constants to float32, as torchani stores them).
"""

import dataclasses
from math import acos, cos, exp, pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule
from helpers import GOLDENS
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cpdjax.data.batch import Batch
from cpdjax.data.structures import Structures
from cpdjax.models import load
from cpdjax.models.descriptors import aev as aev_module
from cpdjax.models.descriptors.aev import ANI_2X, lookup

GOLDEN = GOLDENS / "aev_2x.npz"


def aev(batch, layer="aev"):
    """Features in float64, whatever flags the tests run under."""
    with jax.enable_x64(True):
        return np.asarray(ANI_2X.features(batch)[layer].array)


def batch_of(*names):
    frames = [molecule(name) for name in names]
    return Structures.from_atoms(frames).pad(range(len(frames)), max(map(len, frames)))


@pytest.fixture(scope="module")
def golden():
    data = np.load(GOLDEN)
    structures = Structures("golden", data["numbers"], data["positions"], data["offsets"])
    return structures, data["aev"]


def test_equals_torchani(golden):
    structures, expected = golden
    batch = structures.pad(range(len(structures)), structures.sizes.max())
    found = aev(batch)[batch.mask]
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-24)


def test_goldens_hold_every_element_and_shape(golden):
    structures, expected = golden
    assert set(structures.numbers) == set(ANI_2X.elements)
    assert {1, 29} <= set(structures.sizes)
    assert (expected[structures.offsets[0]] == 0).all()  # a lone atom sees nothing
    assert (expected != 0).any(0).sum() > 700


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, pytest.param(64, marks=pytest.mark.slow)])
def test_all_pairs_give_what_the_list_of_close_ones_gives(golden, monkeypatch, at_once):
    """Accelerators sum over all pairs, of large molecules centre by centre."""
    structures, _ = golden
    batch = structures.pad(range(len(structures)), structures.sizes.max())
    species = lookup(ANI_2X.elements)[batch.numbers]
    monkeypatch.setattr(aev_module, "AT_ONCE", at_once)
    monkeypatch.setattr(aev_module, "_BLOCK", 100)  # many blocks, the last not full
    for positions, mask, elements in zip(batch.positions, batch.mask, species, strict=True):
        vectors, distances = aev_module._pairs(positions, mask, mask & (elements >= 0))
        others = jnp.broadcast_to(elements, distances.shape)
        rows = ANI_2X.angular, 7, vectors / distances[:, :, None], distances, others
        expected = aev_module._sums_of_all_pairs(*rows)
        found = aev_module._sums_of_close_pairs(*rows)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-24)


def test_memory_of_a_large_molecule_is_not_cubic():
    assert ANI_2X.memory(400, 0) / ANI_2X.memory(200, 0) < 4.1


def test_a_lone_atom_has_an_environment_of_zeros():
    alone = Structures("h", np.array([1]), np.zeros((1, 3)), np.array([0, 1])).pad([0], 1)
    assert not aev(alone).any()


def test_float32_states_its_error(golden):
    structures, expected = golden
    batch = structures.pad(range(len(structures)), structures.sizes.max())
    single = batch._replace(positions=batch.positions.astype(np.float32))
    found = np.asarray(ANI_2X.features(single)["aev"].array)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[batch.mask], expected, rtol=0, atol=1e-5)


def loops(numbers, positions):
    """Equations 3 and 4 of Smith et al. 2017 with ANI-2x's constants, term by term."""
    c = {k: float(np.float32(v)) for k, v in {"er": 19.7, "ea": 12.5, "z": 14.1}.items()}
    radial_shifts = [float(np.float32(0.8 + i * (5.1 - 0.8) / 16)) for i in range(16)]
    angular_shifts = [float(np.float32(0.8 + i * (3.5 - 0.8) / 8)) for i in range(8)]
    sections = [float(np.float32(pi / 8 + i * pi / 4)) for i in range(4)]
    order = [1, 6, 7, 8, 16, 9, 17]
    pairs = [(a, b) for a in range(7) for b in range(a, 7)]
    out = np.zeros((len(numbers), 1008))

    def cutoff(r, limit):
        return 0.5 * cos(pi * r / limit) + 0.5 if r < limit else 0.0

    for i in range(len(numbers)):
        others = [j for j in range(len(numbers)) if j != i]
        r = {j: float(np.linalg.norm(positions[j] - positions[i])) for j in others}
        for j in others:
            for s, shift in enumerate(radial_shifts):
                term = 0.25 * exp(-c["er"] * (r[j] - shift) ** 2) * cutoff(r[j], 5.1)
                out[i, order.index(numbers[j]) * 16 + s] += term
            for k in others:
                if k <= j or max(r[j], r[k]) >= 3.5:
                    continue
                dot = float((positions[j] - positions[i]) @ (positions[k] - positions[i]))
                angle = acos(0.95 * dot / (r[j] * r[k]))
                kind = tuple(sorted((order.index(numbers[j]), order.index(numbers[k]))))
                for s, shift in enumerate(angular_shifts):
                    for t, section in enumerate(sections):
                        bump = 2 * ((1 + cos(angle - section)) / 2) ** c["z"]
                        gauss = exp(-c["ea"] * ((r[j] + r[k]) / 2 - shift) ** 2)
                        term = bump * gauss * cutoff(r[j], 3.5) * cutoff(r[k], 3.5)
                        out[i, 112 + pairs.index(kind) * 32 + s * 4 + t] += term
    return out


@pytest.mark.parametrize("name", ["CH3SH", "CH3CONH2"])
def test_equals_the_sums_written_as_loops(name):
    batch = batch_of(name)
    expected = loops(batch.numbers[0], batch.positions[0])
    np.testing.assert_allclose(aev(batch)[0], expected, rtol=1e-10, atol=1e-13)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_invariant_to_rotation_inversion_and_translation(seed):
    rng = np.random.default_rng(seed)
    batch = batch_of("CH3CONH2")
    turn = Rotation.random(random_state=rng).as_matrix() * rng.choice([-1, 1])
    moved = batch._replace(positions=batch.positions @ turn.T + rng.normal(size=3))
    np.testing.assert_allclose(aev(moved), aev(batch), rtol=0, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(9)))
def test_follows_a_permutation_of_atoms(order):
    batch = batch_of("CH3CONH2")
    moved = Batch(*(array[:, order] for array in batch[:3]))
    np.testing.assert_allclose(aev(moved), aev(batch)[:, order], rtol=0, atol=1e-12)


def test_padding_and_neighbours_in_the_batch_change_nothing():
    names = ["H2O", "C6H6", "CH3Cl"]
    together = batch_of(*names)
    found = aev(together)
    for row, name in enumerate(names):
        alone = aev(batch_of(name))[0]
        np.testing.assert_allclose(found[row][together.mask[row]], alone, rtol=0, atol=1e-13)
    # what stands in the padding does not matter either
    garbage = np.where(together.mask[:, :, None], together.positions, 0.5)
    np.testing.assert_array_equal(
        found[together.mask], aev(together._replace(positions=garbage))[together.mask]
    )


def test_jit_of_vmap_equals_plain_calls():
    batch = batch_of("H2O", "CO2", "CH4")
    with jax.enable_x64(True):
        one = jax.jit(
            jax.vmap(lambda *b: ANI_2X.features(Batch(*(x[None] for x in b)))["aev"].array)
        )
        found = np.asarray(one(*batch[:3]))[:, 0]
    np.testing.assert_allclose(found, aev(batch), rtol=0, atol=1e-13)


@pytest.mark.parametrize("names", [("CO2", "H2O", "C6H6"), ("H", "C2H2", "CH4")])
def test_gradient_is_finite_and_true(names):
    batch = batch_of(*names)
    rng = np.random.default_rng(0)
    direction = rng.normal(size=batch.positions.shape) * batch.mask[:, :, None]
    with jax.enable_x64(True):
        weights = rng.normal(size=1008) * batch.mask[:, :, None]

        def score(positions):
            rows = ANI_2X.features(batch._replace(positions=positions))["aev"].array
            return (rows * weights).sum()

        gradient = np.asarray(jax.jit(jax.grad(score))(batch.positions))
        step = 1e-5
        ahead, behind = (score(batch.positions + s * direction) for s in (step, -step))
        slope = (ahead - behind) / (2 * step)
    assert np.isfinite(gradient).all()
    assert (gradient[~batch.mask] == 0).all()
    np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-8)


def test_layers_are_the_parts_of_the_whole():
    assert load("ani-2x-aev") is ANI_2X
    assert {k: str(v) for k, v in ANI_2X.irreps.items()} == {
        "radial": "112x0e",
        "angular": "896x0e",
        "aev": "1008x0e",
    }
    batch = batch_of("CH3Cl")
    parts = [aev(batch, "radial"), aev(batch, "angular")]
    np.testing.assert_allclose(np.concatenate(parts, -1), aev(batch), rtol=0, atol=1e-14)


def test_other_constants_are_another_instance():
    small = dataclasses.replace(
        ANI_2X,
        name="ani-1x-like",
        elements=(1, 6, 7, 8),
        angular=dataclasses.replace(ANI_2X.angular, zeta=32.0, shifts=4, sections=8),
    )
    assert small.irreps["aev"].dim == 384
    assert small.features(batch_of("CH4"))["aev"].shape == (1, 5, 384)


def test_lowers_for_accelerators():
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
        Batch(np.zeros((2, 5), np.int32), np.zeros((2, 5, 3), np.float32), np.ones((2, 5), bool)),
    )
    features = jax.jit(lambda batch: ANI_2X.features(batch)["aev"].array)
    lower = jax.export.export(features, platforms=["cpu", "cuda", "tpu"])
    assert lower(shapes).platforms == ("cpu", "cuda", "tpu")
