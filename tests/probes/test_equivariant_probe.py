"""Equivariant probes: Ridge on stacked rows, tensor targets, exact equivariance, the sweep."""

from dataclasses import replace
from functools import cache
from itertools import permutations, product

import e3nn_jax
import jax
import numpy as np
import pytest
from e3nn_jax import Irrep, IrrepsArray
from scipy.spatial.transform import Rotation
from sklearn.linear_model import LinearRegression, Ridge
from tensor_data import FEW, SETTINGS, toy

import cpdjax
from cpdjax import InputError, Structures, UnknownNameError, equivariant_cpd
from cpdjax.data import tensor_targets
from cpdjax.data.multipoles import degree_two, neighbour_moments, point_dipole, point_quadrupole
from cpdjax.kernel.ridge import LOO_ALPHAS
from cpdjax.probes.folds import kfold, nested, of_atoms
from cpdjax.sweeps.channels import tensor_channels
from cpdjax.sweeps.probe_kinds import KINDS

N, CHANNELS, FOLDS = 60, 7, 3
RNG = np.random.default_rng(0)
IDS = kfold(N, FOLDS)
ALPHAS = [1e-8, 0.1, 30.0]


def drawn(width, targets=2, noise=0.5):
    x = RNG.normal(size=(N, CHANNELS, width)) * np.geomspace(0.01, 100, CHANNELS)[None, :, None]
    w = RNG.normal(size=(CHANNELS, targets)) / np.geomspace(0.01, 100, CHANNELS)[:, None]
    y = np.einsum("icm,ct->itm", x, w)
    return x, y + noise * RNG.normal(size=y.shape)


X, Y = drawn(3)


def oracle(x, y, train, test, alpha, standardize):
    """Scikit-learn's Ridge without intercept on rows (molecule, m)."""
    rms = np.sqrt((x[train] ** 2).mean((0, 2))) if standardize else np.ones(x.shape[1])
    rows = lambda a: a.swapaxes(1, 2).reshape(-1, a.shape[1])  # noqa: E731
    model = Ridge(alpha=alpha, fit_intercept=False, solver="svd")
    model.fit(rows(x[train]) / rms, rows(y[train]))
    found = model.predict(rows(x[test]) / rms).reshape(-1, x.shape[2], y.shape[1])
    return found.swapaxes(1, 2)


def turned(a, seed=0):
    """Every molecule turned by itself, every second one inverted; and the matrices."""
    rng = np.random.default_rng(seed)
    matrices = np.linalg.qr(rng.normal(size=(len(a), 3, 3)))[0]
    matrices = matrices * np.sign(np.linalg.det(matrices))[:, None, None]
    matrices[::2] *= -1
    if a.shape[-1] == 5:  # as the harmonics of enough vectors turn
        vectors = rng.normal(size=(9, 3))
        before, after = degree_two(vectors), degree_two(vectors @ matrices.swapaxes(1, 2))
        matrices = (np.linalg.pinv(before) @ after).swapaxes(1, 2)
    return np.einsum("imk,i...k->i...m", matrices, a), matrices


@cache  # not a fixture of the module, which would run outside the settings of a test
def vectors():
    return equivariant_cpd(X, Y, folds=IDS, alphas=ALPHAS, predictions=True)


# The kernel


def assert_oracle(found, x, y, standardize=True):
    for fold in range(FOLDS):
        train, test = fold != IDS, fold == IDS
        for a, alpha in enumerate(ALPHAS):
            expected = oracle(x, y, train, test, alpha, standardize)
            np.testing.assert_allclose(found.prediction[a, test], expected, rtol=1e-7, atol=1e-9)
            error = ((y[test] - expected) ** 2).sum((0, 2)) / (y[test] ** 2).sum((0, 2))
            np.testing.assert_allclose(found.r2_geom[fold, a], 1 - error, rtol=0, atol=1e-9)


def test_is_ridge_without_intercept_on_stacked_rows():
    found = vectors()
    assert_oracle(found, X, Y)
    assert found.prediction.shape == (len(ALPHAS), N, 2, 3)
    # XLA may compute one number twice, in another order
    np.testing.assert_allclose(found.r2_full, found.r2_geom, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(found.r2_comp, np.zeros((FOLDS, 2)))


@pytest.mark.slow
def test_without_standardising():
    options = {"alphas": ALPHAS, "standardize": False, "predictions": True}
    found = equivariant_cpd(X, Y, folds=IDS, **options)
    assert_oracle(found, X, Y, standardize=False)


def test_leave_one_molecule_out_chooses_as_brute_force_does():
    found = equivariant_cpd(X, Y, folds=IDS, alphas="loo", predictions=True)
    train = np.flatnonzero(IDS != 0)
    # The scale is that of all training rows, as the Ridge of `cpd` has it.
    rms = np.sqrt((X[train] ** 2).mean((0, 2)))
    rows = lambda a: a.swapaxes(1, 2).reshape(-1, a.shape[1])  # noqa: E731
    x, y = rows(X[train] / rms[:, None]), rows(Y[train])
    errors = np.zeros((len(LOO_ALPHAS), 2))
    for a, alpha in enumerate(LOO_ALPHAS):
        for i in range(0, len(x), 3):
            keep = np.delete(np.arange(len(x)), [i, i + 1, i + 2])
            gram = x[keep].T @ x[keep] + alpha * np.eye(CHANNELS)
            left = x[i : i + 3] @ np.linalg.solve(gram, x[keep].T @ y[keep]) - y[i : i + 3]
            errors[a] += (left**2).sum(0)
    np.testing.assert_array_equal(found.alpha_geom[0, 0], np.array(LOO_ALPHAS)[errors.argmin(0)])
    # However the molecules are turned.
    again = equivariant_cpd(turned(X)[0], turned(Y)[0], folds=IDS, alphas="loo", predictions=True)
    np.testing.assert_array_equal(again.alpha_geom, found.alpha_geom)
    np.testing.assert_allclose(again.r2_geom, found.r2_geom, rtol=0, atol=1e-10)


@pytest.mark.parametrize("width", [3, 5])
def test_predictions_turn_with_each_molecule_and_scores_do_not_change(width):
    """Exactly: every molecule may turn by itself, training rows and held-out rows alike."""
    x, y = (X, Y) if width == 3 else drawn(5)
    options = {"folds": IDS, "alphas": ALPHAS, "predictions": True}
    before = equivariant_cpd(x, y, **options)
    if width == 5:
        assert_oracle(before, x, y)
    (x, d), (y, _) = turned(x), turned(y)
    after = equivariant_cpd(x, y, **options)
    np.testing.assert_allclose(after.r2_geom, before.r2_geom, rtol=0, atol=1e-10)
    expected = np.einsum("imk,aitk->aitm", d, before.prediction)
    np.testing.assert_allclose(after.prediction, expected, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_equals_cpd_on_rows_and_their_mirror_images():
    """Inversion makes every mean zero, intercept or not; composition then explains nothing."""
    rows = lambda a: a.swapaxes(1, 2).reshape(-1, a.shape[1])  # noqa: E731
    x, y = (np.concatenate([rows(a), -rows(a)]) for a in (X, Y))
    ids = np.tile(np.repeat(IDS, 3), 2)
    C = np.tile(np.repeat(RNG.integers(0, 9, (N, 2)), 3, axis=0), (2, 1)).astype(float)
    # Twice the rows: twice the penalty.
    both = cpdjax.cpd(x, C, y, folds=ids, alphas=[2 * a for a in ALPHAS])
    np.testing.assert_allclose(both.r2_geom, vectors().r2_geom, rtol=0, atol=1e-9)
    np.testing.assert_allclose(both.r2_comp, 0, rtol=0, atol=1e-9)


def test_scalars_say_nothing_of_a_vector():
    """Over all ways in which a molecule may lie, no function of invariants explains a vector."""
    axes = np.eye(3)[list(permutations(range(3)))]
    signs = np.array(list(product([1.0, -1.0], repeat=3)))
    group = (axes[:, None] * signs[:, None]).reshape(-1, 3, 3)  # the 48 motions of a cube
    y = np.einsum("gab,ib->iga", group, RNG.normal(size=(N, 3))).reshape(-1, 3)
    scalars = np.repeat(RNG.normal(size=(N, 5)), len(group), axis=0)
    fit = LinearRegression().fit(scalars, y)
    np.testing.assert_allclose(fit.coef_, 0, atol=1e-12)
    np.testing.assert_allclose(fit.intercept_, 0, atol=1e-12)


def test_planted_signal_is_recovered_and_noise_is_not():
    planted = np.stack([X[:, 0] - 1e-3 * X[:, -1], RNG.normal(size=(N, 3))], axis=1)
    found = equivariant_cpd(X, planted, folds=IDS, alphas=ALPHAS, predictions=True)
    assert found.r2_geom[:, 0, 0].min() > 1 - 1e-9
    assert found.r2_geom[:, :, 1].mean() < 0.05


def test_a_channel_of_zeros_drops_out_and_a_target_of_zeros_is_undefined():
    options = {"folds": IDS, "alphas": ALPHAS, "predictions": True}
    x, y = X.copy(), Y.copy()
    x[:, 3], y[:, 1] = 0, 0
    found = equivariant_cpd(x, y, **options)
    x = np.delete(x, 3, axis=1)
    test = IDS == 0
    expected = oracle(x, y, ~test, test, ALPHAS[1], True)
    np.testing.assert_allclose(found.prediction[1, test], expected, rtol=1e-9, atol=1e-12)
    assert np.isfinite(found.r2_geom[..., 0]).all()
    assert np.isnan(found.r2_geom[..., 1]).all()


def test_channels_that_are_rounding_beside_the_others_drop_out():
    noise = 1e-15 * X.std() * np.random.default_rng(1).normal(size=(N, 20, 3))
    found = equivariant_cpd(np.concatenate([X, noise], axis=1), Y, folds=IDS, alphas=ALPHAS)
    expected = equivariant_cpd(X, Y, folds=IDS, alphas=ALPHAS)
    np.testing.assert_allclose(found.r2_geom, expected.r2_geom, rtol=0, atol=1e-12)


def test_irreps_choose_the_channels():
    others = np.ones((N, 2)), np.ones((N, 3))
    flat = np.concatenate([others[0], X.reshape(N, -1), others[1]], axis=1)
    tagged = IrrepsArray("2x0e + 7x1o + 1x1e", flat)
    target = IrrepsArray("2x1o", Y.reshape(N, -1))
    found = equivariant_cpd(tagged, target, folds=IDS, alphas=ALPHAS, predictions=True)
    np.testing.assert_array_equal(found.r2_geom, vectors().r2_geom)


@pytest.mark.slow
def test_differentiable_inside_jit():
    def score(x):
        return equivariant_cpd(x, Y, folds=IDS).r2_geom.mean()

    gradient = jax.jit(jax.grad(score))(X)
    step = 1e-6 * RNG.normal(size=X.shape)
    change = float(score(X + step)) - float(score(X - step))
    assert change == pytest.approx(2 * float((gradient * step).sum()), rel=1e-5)


ONE_NAN = np.where(np.arange(X.size).reshape(X.shape) == 9, np.nan, X)
FLAT, ONE = X.reshape(N, -1), Y[:, 0]


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X, Y[:, :, :2], "m and molecules the same in both"),
        (X[:9], Y, "m and molecules the same in both"),
        (X[:, :, :1], Y[:, :, :1], "scalars: use cpd"),
        (ONE_NAN, Y, "X has 1 NaN"),
        (IrrepsArray("7x1e", FLAT), IrrepsArray("1o", ONE), "no channel of .* 1o"),
        (IrrepsArray("7x1o", FLAT), Y, "both be an IrrepsArray"),
        (IrrepsArray("7x1o", FLAT), IrrepsArray("3x0e", ONE), "no channel of .* 0e"),
        (IrrepsArray("7x1o", FLAT), IrrepsArray("1x0e + 2x0o", ONE), "must be of one irrep"),
    ],
)
def test_bad_input(x, y, words):
    with pytest.raises(InputError, match=words) as caught:
        equivariant_cpd(x, y)
    assert "\n" not in str(caught.value)


# The targets


Q = FEW.atom_targets["mulliken_charge"]


def test_degree_two_is_e3nns_and_the_cartesian_quadrupoles():
    r = RNG.normal(size=(9, 3))
    harmonics = e3nn_jax.spherical_harmonics(
        "2e", IrrepsArray("1o", r), normalize=False, normalization="norm"
    )
    np.testing.assert_allclose(degree_two(r), harmonics.array, rtol=1e-12, atol=1e-12)
    theta = (3 * r[:, :, None] * r[:, None] - (r**2).sum(1)[:, None, None] * np.eye(3)) / 2
    xx, yy, zz = (theta[:, i, i] for i in range(3))
    xy, xz, yz = theta[:, 0, 1], theta[:, 0, 2], theta[:, 1, 2]
    root = np.sqrt(3)
    expected = [2 * xz / root, 2 * xy / root, yy, 2 * yz / root, (zz - xx) / root]
    np.testing.assert_allclose(degree_two(r), np.stack(expected, 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("inversion", [1, -1])
def test_targets_turn_as_their_irreps_say_and_do_not_move(inversion):
    rotation = inversion * Rotation.from_rotvec([0.3, -1.2, 0.7]).as_matrix()
    d = np.asarray(Irrep("2e").D_from_matrix(rotation))
    moved = replace(FEW, positions=FEW.positions @ rotation.T + [3.0, -1.0, 2.0])
    for probe in ("equivariant", "atom-equivariant"):
        before, after = (list(KINDS[probe].targets(s).by_name.values()) for s in (FEW, moved))
        np.testing.assert_allclose(after[0], before[0] @ rotation.T, rtol=0, atol=1e-5)
        np.testing.assert_allclose(after[1], before[1] @ d.T, rtol=0, atol=1e-5)


def test_moments_molecule_by_molecule():
    quadrupole = point_quadrupole(Q, FEW.positions, FEW.offsets)
    dipoles, quadrupoles = neighbour_moments(FEW, Q, cutoff=2.5)
    for i, (start, stop) in enumerate(zip(FEW.offsets[:-1], FEW.offsets[1:], strict=True)):
        r, q = FEW.positions[start:stop], Q[start:stop]
        about = degree_two(r - r.mean(0))
        np.testing.assert_allclose(quadrupole[i], q @ about, rtol=1e-12, atol=1e-12)
        for j in range(len(r)):
            arms = r - r[j]
            near = (np.linalg.norm(arms, axis=1) < 2.5) & (np.arange(len(r)) != j)
            np.testing.assert_allclose(dipoles[start + j], q[near] @ arms[near], atol=1e-12)
            expected = q[near] @ degree_two(arms[near])
            np.testing.assert_allclose(quadrupoles[start + j], expected, atol=1e-12)


def test_periodic_images_are_neighbours():
    """A rock-salt cell: six nearest neighbours cancel; displaced, they do not."""
    from ase.build import bulk

    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    charges = np.where(salt.numbers == 11, 1.0, -1.0)
    structures = Structures.from_atoms([salt], "salt")
    dipole, quadrupole = neighbour_moments(structures, charges, cutoff=3.0)
    np.testing.assert_allclose(dipole, 0, atol=1e-12)
    np.testing.assert_allclose(quadrupole, 0, atol=1e-12)
    salt.positions[0, 0] += 0.1
    dipole, _ = neighbour_moments(Structures.from_atoms([salt], "salt"), charges, cutoff=3.0)
    # Sodium is charge −6 away from where its six chlorines are balanced.
    np.testing.assert_allclose(dipole[0], [0.6, 0, 0], atol=1e-12)


def test_periodic_dipoles_and_other_names_are_refused():
    cell = replace(FEW, cells=np.tile(9 * np.eye(3), (20, 1, 1)), pbc=np.ones((20, 3), bool))
    with pytest.raises(InputError, match="depends on the choice of the cell"):
        KINDS["equivariant"].targets(cell)
    with pytest.raises(UnknownNameError, match="did you mean dipole_point"):
        KINDS["equivariant"].targets(FEW, ["dipole_poin"])
    with pytest.raises(InputError, match="no target for probe 'atom'"):
        KINDS["atom"].targets(replace(FEW, atom_targets={}))


# The sweep


def r2_of(x, y, ids):
    """(fold, alpha) of one target, by the oracle."""
    scores = np.zeros((2, 2))
    for fold in range(2):
        train, test = ids != fold, ids == fold
        for a, alpha in enumerate(SETTINGS["alphas"]):
            left = y[test] - oracle(x, y[:, None], train, test, alpha, True)[:, 0]
            scores[fold, a] = 1 - (left**2).sum() / (y[test] ** 2).sum()
    return scores


@pytest.mark.slow
def test_sweep_is_ridge_on_every_subset():
    feats = toy(FEW)
    table = cpdjax.sweep(feats, dataset=FEW, probe="equivariant", irreps="1o", **SETTINGS)
    assert table.r2_geom.dims == (
        "model", "layer", "irrep", "repeat", "size", "fold", "alpha", "target",
    )  # fmt: skip
    assert list(table.irrep.values) == ["1o"]
    assert list(table.target.values) == ["dipole_point", "quadrupole_point"]
    assert list(table.unit.values) == ["e·Å", "e·Å²"]
    layout = nested(20, [10, 20], 2, 2, seed=4)
    dipole = point_dipole(Q, FEW.positions, FEW.offsets)
    block = feats["first"].filter(keep="1o").array.reshape(20, 4, 3)
    for repeat, size in ((0, 10), (1, 20)):
        rows, ids = layout.subset(repeat, size), layout.fold_ids(repeat, size)
        one = table.sel(irrep="1o", repeat=repeat, size=size).squeeze()
        expected = r2_of(block[rows], dipole[rows], ids)
        np.testing.assert_allclose(one.r2_geom[..., 0], expected, atol=1e-9)
        assert np.isnan(one.r2_geom[..., 1]).all()  # no quadrupole of vectors
    assert (table.r2_comp == 0).all()
    np.testing.assert_allclose(table.r2_full, table.r2_geom, rtol=0, atol=1e-14)


def test_parity_decides_where_it_is_true():
    kinds = ["1o", "2e"]
    assert [c.irrep for c in tensor_channels([toy(FEW)], 20, kinds)] == kinds
    rotations_only = toy(FEW, parity=False)
    assert [c.irrep for c in tensor_channels([rotations_only], 20, kinds)] == ["1o", "1e", "2e"]


@pytest.mark.slow
def test_all_irreps_of_a_model_whose_labels_hold_for_rotations_only():
    rotations_only = toy(FEW, parity=False)
    table = cpdjax.sweep(rotations_only, dataset=FEW, probe="equivariant", **SETTINGS)
    assert table.attrs["rotations_only"] == '["toy"]'
    best = table.r2_geom.max(("repeat", "size", "fold", "alpha")).squeeze()
    defined = [[True, False], [True, False], [False, True]]
    np.testing.assert_array_equal(np.isfinite(best.sel(irrep=["1o", "1e", "2e"])), defined)
    assert float(best.sel(irrep="1o", target="dipole_point")) > 0.5
    assert float(best.sel(irrep="2e", target="quadrupole_point")) > 0.5


@pytest.mark.slow
def test_sweep_of_atoms_keeps_molecules_whole():
    feats = toy(FEW, rows="atom-equivariant")
    table = cpdjax.sweep(feats, dataset=FEW, probe="atom-equivariant", irreps="1o", **SETTINGS)
    assert list(table["size"].values) == [10, 20]
    layout = of_atoms(nested(20, [10, 20], 2, 2, seed=4), FEW.offsets)
    rows, ids = layout.subset(1, 10), layout.fold_ids(1, 10)
    owner = np.repeat(np.arange(20), FEW.sizes)[rows]
    assert len(set(owner.tolist())) == 10
    assert len(rows) == FEW.sizes[np.unique(owner)].sum()
    assert all(len(set(ids[owner == i].tolist())) == 1 for i in owner)
    dipole, _ = neighbour_moments(FEW, Q)
    block = feats["first"].filter(keep="1o").array.reshape(-1, 4, 3)
    one = table.sel(irrep="1o", repeat=1, size=10, target="dipole_neighbours").squeeze()
    np.testing.assert_allclose(one.r2_geom, r2_of(block[rows], dipole[rows], ids), atol=1e-9)


def test_what_cannot_be_swept_is_refused():
    scalars = {"mine": np.ones((20, 4))}
    with pytest.raises(InputError, match="no layer has channels of 1o or 2e"):
        cpdjax.sweep(scalars, dataset=FEW, probe="equivariant", **SETTINGS)
    with pytest.raises(InputError, match="probe 'equivariant' needs structures"):
        cpdjax.sweep(scalars, targets={"formula": ["H2"] * 20}, probe="equivariant")
    with pytest.raises(InputError, match="have 20 atoms but the targets have"):
        cpdjax.sweep(scalars, dataset=FEW, probe="atom", **SETTINGS)


def test_irreps_of_targets_have_their_dimensions():
    kinds = tensor_targets.IRREPS
    assert {Irrep(kind).dim: kind for kind in kinds.values()} == kinds
