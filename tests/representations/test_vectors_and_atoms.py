"""Vectors are compared irrep by irrep and turn with molecules; atoms by element, in molecules."""

from dataclasses import replace

import numpy as np
import pytest
from atom_data import ATOMS, NUMBERS, OWNER, STRUCTURES, X
from e3nn_jax import Irreps, IrrepsArray
from helpers import one_line

import cpdjax
from cpdjax.errors import LeftOutWarning
from cpdjax.probes.atoms import one_hot
from cpdjax.probes.folds import kfold
from cpdjax.representations.groups import comparable
from cpdjax.sweeps.channels import Channel

RNG = np.random.default_rng(3)
MIX = RNG.normal(size=(4, 4))
VECTORS = RNG.normal(size=(60, 4, 3))
LINEAR = {"probe": "equivariant", "measures": ["r2", "cka", "procrustes"], "alpha": 1e-3}


def of(model, parity=True, **blocks):
    """Features of molecules from (molecule, channel, component) arrays by irrep."""
    irreps = " + ".join(f"{x.shape[1]}x{name}" for name, x in blocks.items())
    flat = np.hstack([x.reshape(len(x), -1) for x in blocks.values()])
    layer = IrrepsArray(Irreps(irreps), flat)
    return cpdjax.Features({"last": layer}, model, "mean", "", parity=parity)


@pytest.fixture(scope="module")
def table():
    scalars, axial = RNG.normal(size=(60, 2, 1)), RNG.normal(size=(60, 4, 3))
    mixed = np.einsum("nci,cd->ndi", VECTORS, MIX)
    other = RNG.normal(size=(60, 4, 3))
    made = [
        of("a", **{"0e": scalars, "1o": VECTORS}),
        of("mixed", **{"1o": mixed, "1e": axial}),
        of("other", parity=False, **{"1e": other}),
    ]
    counts = np.repeat(np.arange(6.0), 10)[:, None]
    return cpdjax.spaces(made, counts, permutations=19, bootstrap=9, **LINEAR)


def values(table, measure, a, b):
    one = table[measure].sel(projection="none")
    return one.sel(channel_a=f"{a}", channel_b=f"{b}").values


A, MIXED = "a / last / 1o", "mixed / last / 1o"
AXIAL, OTHER = "mixed / last / 1e", "other / last / 1e"


def test_vectors_that_maps_of_channels_make_of_each_other_are_told(table):
    assert table.projection.values.tolist() == ["none"]
    assert table.channel.values.tolist() == [A, MIXED, AXIAL, OTHER]
    assert (values(table, "r2", A, MIXED) > 0.999).all()
    # Gram matrices summed over components; nothing is centred, for the mean of vectors is zero.
    x, y = VECTORS, np.einsum("nci,cd->ndi", VECTORS, MIX)
    crossed, *own = (
        (np.einsum("nci,ndi->cd", u, v) ** 2).sum() for u, v in ((x, y), (x, x), (y, y))
    )
    expected = crossed / np.sqrt(np.prod(own))
    assert values(table, "cka", A, MIXED) == pytest.approx(expected, rel=1e-9)
    assert values(table, "r2_p_adjusted", A, MIXED) == pytest.approx(1 / 20)


def test_only_channels_of_one_irrep_are_compared_and_of_rotations_one_degree(table):
    assert np.isnan(values(table, "cka", A, AXIAL))
    assert np.isnan(values(table, "cka", MIXED, AXIAL))
    for a in (A, MIXED, AXIAL):
        assert np.isfinite(values(table, "cka", a, OTHER))
        assert values(table, "r2_p_adjusted", a, OTHER) > 1 / 20
        assert values(table, "r2", a, OTHER).mean() < 0.1


def test_what_can_be_compared_follows_from_irrep_degree_and_parity():
    x = np.ones((2, 1, 3))
    told = [Channel("m", "l", ir, x, 1, parity) for ir, parity in (("1o", True), ("1e", False))]
    told.append(Channel("m", "l", "1e", x, 1))
    told.append(Channel("m", "l", "2e", np.ones((2, 1, 5)), 1, parity=False))
    assert comparable(told).astype(int).tolist() == [
        [1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1],
    ]  # fmt: skip


def test_turning_every_molecule_by_itself_changes_no_likeness():
    settings = {**LINEAR, "measures": ["procrustes", "effective_rank"]}
    turn = np.linalg.qr(RNG.normal(size=(60, 3, 3)))[0]
    turn *= np.linalg.det(turn)[:, None, None]
    other = RNG.normal(size=(60, 4, 3)) + VECTORS
    pair = [of("a", **{"1o": VECTORS}), of("b", **{"1o": other})]
    turned = [
        of(name, **{"1o": np.einsum("nij,ncj->nci", turn, x)})
        for name, x in (("a", VECTORS), ("b", other))
    ]
    first, second = (cpdjax.spaces(made, **settings) for made in (pair, turned))
    np.testing.assert_allclose(first.procrustes, second.procrustes, atol=1e-7)
    np.testing.assert_allclose(first.effective_rank, second.effective_rank, atol=1e-9)


def atoms(model, x):
    layer = IrrepsArray(f"{x.shape[1]}x0e", x)
    return cpdjax.Features({"last": layer}, model, "atom", STRUCTURES.geometry_hash)


def test_atoms_are_compared_beyond_their_element_in_folds_of_molecules():
    noise = RNG.normal(size=(ATOMS, 4))
    made = [atoms("a", X), atoms("b", X[:, :3] + noise[:, :3])]
    settings = {"probe": "atom", "folds": 4, "seed": 1}
    table = cpdjax.spaces(
        made, dataset=STRUCTURES, measures=["procrustes"], permutations=3, **settings
    )
    fold, element = kfold(40, 4, seed=1)[OWNER], one_hot(NUMBERS)

    def residual(x):
        left = np.empty_like(x)
        for k in range(4):
            train = fold != k
            means = [x[train & (element[:, e] > 0)].mean(0) for e in range(element.shape[1])]
            left[~train] = (x - element @ np.array(means))[~train]
        return left - left.mean(0)

    a, b = residual(X), residual(X[:, :3] + noise[:, :3])
    nu = np.linalg.svd(a.T @ b, compute_uv=False).sum()
    nu /= np.linalg.norm(a) * np.linalg.norm(b)
    one = table.procrustes.sel(projection="ols").values
    assert one[0, 1] == pytest.approx(np.sqrt(2 - 2 * nu), abs=1e-9)
    labels = OWNER * 3 + element.argmax(1)
    alone = [(labels == label).sum() == 1 for label in labels]
    assert table.attrs["exchangeable"] == ATOMS - sum(alone)


def test_atoms_of_other_molecules_are_refused():
    other = replace(STRUCTURES, positions=STRUCTURES.positions + 1)
    with pytest.raises(cpdjax.InputError) as caught:
        cpdjax.spaces([atoms("a", X), atoms("b", X)], dataset=other, probe="atom")
    one_line(caught, "features 'a' were computed from other molecules than 'few'")


def test_a_model_of_scalars_alone_is_left_out_where_vectors_are_compared():
    made = [of(m, **{"1o": VECTORS}) for m in "ab"] + [of("s", **{"0e": VECTORS[:, :, :1]})]
    settings = {**LINEAR, "measures": "effective_rank"}
    with pytest.warns(LeftOutWarning, match="'s' .holds no vectors or tensors"):
        table = cpdjax.spaces(made, **settings)
    assert table.model.values.tolist() == ["a", "b"]


@pytest.mark.slow
def test_permutations_of_vectors_turn_molecules_that_share_their_frame():
    """Molecules stored in one frame have it in common by chance alone."""
    polar = np.zeros((60, 1, 3)) + np.array([0, 0, 1.0])
    a, b = (polar + 0.1 * RNG.normal(size=(60, 3, 3)) for _ in range(2))
    counts = np.zeros((60, 1))
    table = cpdjax.spaces(
        [of("a", **{"1o": a}), of("b", **{"1o": b})], counts, permutations=19,
        probe="equivariant", measures="procrustes",
    )  # fmt: skip
    one = table.sel(projection="none", channel_a="a / last / 1o", channel_b="b / last / 1o")
    assert one.procrustes < 0.4 < 1 < one.procrustes_null
