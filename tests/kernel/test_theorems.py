"""Test what holds for any data: orthogonality, invariances, algebra of moments, no leakage."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score as sklearn_r2

import cpdjax
from cpdjax.errors import InputError
from cpdjax.kernel import ridge
from cpdjax.kernel.moments import about_mean, eliminate, merge, moments
from cpdjax.kernel.projection import least_squares
from cpdjax.kernel.residual import Residual, Rows
from cpdjax.kernel.scores import r2_score
from cpdjax.probes.folds import cross_validation, group_folds, kfold, nested

N, D, Q, T, K = 200, 12, 3, 3, 5
SEEDS = st.integers(0, 2**32 - 1)
compiled_least_squares = jax.jit(least_squares)  # once for all examples of a shape


@pytest.fixture(scope="module")
def data():
    """Return features of composition and geometry, and targets of either and of both."""
    rng = np.random.default_rng(0)
    C = rng.integers(0, 9, (N, Q)).astype(float)
    hidden = rng.normal(size=(N, D))
    X = hidden + C @ rng.normal(size=(Q, D)) + 3
    composition, geometry = C @ [2.0, -1.0, 0.5], hidden @ rng.normal(size=D)
    Y = np.stack([composition, geometry, composition + geometry], axis=1)
    return X, C, Y, kfold(N, K)


def scores(X, C, Y, ids, **options):
    return cpdjax.cpd(X, C, Y, folds=ids, **{"alphas": [1e-6, 1.0], "predictions": True} | options)


def close(a, b, atol=1e-9):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=atol)


def fitted(X, C, Y, ids, fold):
    """Return all that is fitted on the training rows of one fold, from the blocks of all folds."""
    rows = np.stack([np.flatnonzero(ids == k) for k in range(K)])
    return fit(*(jnp.asarray(a[rows].swapaxes(1, 2)) for a in (C, X, Y)), fold)


@jax.jit
def fit(c, x, y, fold):
    include = jnp.ones(K).at[fold].set(0)
    train = merge(moments(c, x, y, jnp.ones((K, N // K))), include, least_squares)
    raw = about_mean(train)
    return train, raw, Residual.of(train, raw.variance, standardize=True)


# What CPD promises


def test_residual_is_orthogonal_to_composition_on_training_rows(data):
    X, C, Y, ids = data
    *_, residual = fitted(X, C, Y, ids, fold=1)
    train = ids != 1
    rows = Rows(*(jnp.asarray(a[train].T) for a in (C, X, Y)), jnp.ones(train.sum()))
    with_intercept = np.column_stack([np.ones(train.sum()), C[train]])
    close(residual.features(rows) @ with_intercept, 0, atol=1e-11 * N)
    close(residual.targets(rows) @ with_intercept, 0, atol=1e-11 * N)
    z = np.asarray(residual.features(rows))
    close(z.std(1), 1)
    assert residual.trace == pytest.approx((z * z).sum(), rel=1e-12)


def test_planted_signal_is_recovered():
    """For a target of geometry and noise, R² is the share of its variance that geometry makes."""
    rng = np.random.default_rng(1)
    n, signal, noise = 4000, 1.0, 0.5
    C = rng.integers(0, 9, (n, Q)).astype(float)
    geometry = rng.normal(size=(n, D))
    direction = rng.normal(size=D)
    direction /= np.linalg.norm(direction)
    y = signal * geometry @ direction + noise * rng.normal(size=n)
    found = cpdjax.cpd(geometry + C @ rng.normal(size=(Q, D)), C, y)
    assert np.mean(found.r2_geom) == pytest.approx(signal**2 / (signal**2 + noise**2), abs=0.01)
    assert abs(np.mean(found.r2_comp)) < 0.01


def test_purely_compositional_target_scores_nothing(data):
    found = scores(*data)
    composition, geometry, both = range(T)
    assert np.max(found.r2_geom[:, 1, composition]) < 0.05
    assert np.min(found.r2_comp[:, composition]) > 1 - 1e-12
    assert np.min(found.r2_full[:, 0, composition]) > 0.8
    assert np.min(found.r2_geom[:, 1, geometry]) > 0.9
    assert np.max(found.r2_comp[:, geometry]) < 0.2
    share = float(np.mean(found.r2_comp[:, both]))
    assert 0.1 < share < 0.9
    assert np.mean(found.r2_geom[:, 1, both]) == pytest.approx(1 - share, abs=0.2)


def test_features_that_encode_composition_predict_it_in_full(data):
    _, C, Y, ids = data
    X = C @ np.random.default_rng(2).normal(size=(Q, D))
    found = scores(X, C, Y[:, [0, 0, 0]], ids)
    assert np.min(found.r2_full[:, 0]) > 1 - 1e-9
    close(found.composition_share, 1)
    # Every feature drops out, so that the training mean is all that the probe predicts.
    assert np.max(found.r2_geom) <= 0
    assert np.min(found.r2_geom) > -0.2


def test_projecting_twice_changes_nothing(data):
    """In every fold, the residual of a residual is the residual itself."""
    X, C, Y, ids = data
    first = scores(X, C, Y, ids)
    for fold in range(K):
        *_, residual = fitted(X, C, Y, ids, fold)
        rows = Rows(*(jnp.asarray(a.T) for a in (C, X, Y)), jnp.ones(N))
        again = scores(np.asarray(residual.features(rows)).T, C, Y, ids)
        close(again.r2_geom[fold], first.r2_geom[fold])
        close(again.composition_share[fold], 0)


# Invariances


def test_a_compositional_shift_of_features_changes_nothing(data):
    X, C, Y, ids = data
    shifted = X + C @ np.random.default_rng(3).normal(size=(Q, D)) * 10 + 7
    close(scores(shifted, C, Y, ids).r2_geom, scores(X, C, Y, ids).r2_geom)
    close(scores(shifted, C, Y, ids).prediction, scores(X, C, Y, ids).prediction)


def test_composition_in_another_basis_changes_nothing(data):
    X, C, Y, ids = data
    basis = np.random.default_rng(4).normal(size=(Q, Q))
    a, b = scores(X, C @ basis + 1, Y, ids), scores(X, C, Y, ids)
    close(a.r2_geom, b.r2_geom)
    close(a.r2_comp, b.r2_comp)
    close(a.composition_share, b.composition_share)


def test_rescaled_features_change_nothing_when_standardised(data):
    X, C, Y, ids = data
    rescaled = X * np.logspace(-6, 6, D)
    a, b = scores(rescaled, C, Y, ids), scores(X, C, Y, ids)
    close(a.r2_geom, b.r2_geom)
    close(a.r2_full, b.r2_full)
    close(a.composition_share, b.composition_share)


def test_rotated_features_change_nothing_when_not_standardised(data):
    X, C, Y, ids = data
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(D, D)))[0]
    a, b = (scores(x, C, Y, ids, standardize=False) for x in (X @ rotation, X))
    close(a.r2_geom, b.r2_geom)
    close(a.r2_full, b.r2_full)
    close(a.composition_share, b.composition_share)


def test_targets_do_not_see_each_other(data):
    X, C, Y, ids = data
    one = scores(X, C, Y, ids)
    other = scores(X, C, Y[:, [1, 1, 0]] * [1, -2, 1] + [0, 5, 0], ids)
    for name in ("r2_geom", "r2_full", "r2_comp"):
        close(getattr(other, name), np.asarray(getattr(one, name))[..., [1, 1, 0]])


def test_the_order_of_molecules_does_not_matter(data):
    X, C, Y, ids = data
    order = np.random.default_rng(6).permutation(N)
    a, b = scores(X[order], C[order], Y[order], ids[order]), scores(X, C, Y, ids)
    close(a.r2_geom, b.r2_geom)
    close(a.prediction, np.asarray(b.prediction)[:, order])


def test_renamed_folds_permute_scores(data):
    X, C, Y, ids = data
    names = np.array([3, 0, 4, 1, 2])
    close(scores(X, C, Y, names[ids]).r2_geom[names], scores(X, C, Y, ids).r2_geom)


# No leakage


@pytest.mark.parametrize("alphas", [[1e-6, 1.0], "loo"])
@pytest.mark.parametrize("name", ["X", "C", "Y"])
def test_a_held_out_row_changes_no_other_prediction(data, name, alphas):
    """Other molecules of its fold are predicted from training rows only, so not a bit changes."""
    X, C, Y, ids = data
    fold, row = ids[17], 17
    garbage = {"X": X.copy(), "C": C.copy(), "Y": Y.copy()}
    garbage[name][row] = [1e9, -1e5, 3e7] * (garbage[name].shape[1] // 3)
    before = np.asarray(scores(X, C, Y, ids, alphas=alphas).prediction)
    after = np.asarray(scores(**garbage, ids=ids, alphas=alphas).prediction)
    others = (ids == fold) & (np.arange(N) != row)
    np.testing.assert_array_equal(after[:, others], before[:, others])
    assert (after[:, ids != fold] != before[:, ids != fold]).any()  # trained there, it matters
    if name == "Y":
        np.testing.assert_array_equal(after[:, row], before[:, row])


def test_a_held_out_fold_of_garbage_changes_no_fitted_quantity(data):
    X, C, Y, ids = data
    fold = 2
    held_out = ids == fold
    rng = np.random.default_rng(7)
    garbage = [np.where(held_out[:, None], rng.normal(size=a.shape) * 1e8, a) for a in (X, C, Y)]
    before, after = fitted(X, C, Y, ids, fold), fitted(*garbage, ids, fold)
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(a, b)
    elsewhere = zip(
        jax.tree.leaves(fitted(X, C, Y, ids, 0)),
        jax.tree.leaves(fitted(*garbage, ids, 0)),
        strict=True,
    )
    assert any((np.asarray(a) != np.asarray(b)).any() for a, b in elsewhere)


def test_garbage_held_out_leaves_what_was_chosen_and_explained(data):
    """Leave-one-out's choice of α and the composition share belong to training rows as well."""
    X, C, Y, ids = data
    held_out = ids == 2
    garbage = [
        np.where(held_out[:, None], -5e6 * (1 + np.arange(N))[:, None], a) for a in (X, C, Y)
    ]
    before, after = (scores(*a, ids, alphas="loo") for a in ((X, C, Y), garbage))
    for name in ("alpha_geom", "alpha_full", "composition_share"):
        np.testing.assert_array_equal(getattr(before, name)[2], getattr(after, name)[2])


# The algebra underneath


@st.composite
def blocks(draw):
    """Draw rows in four blocks of six, some of weight 0, with means far from zero."""
    rng = np.random.default_rng(draw(SEEDS))
    c = rng.integers(0, 5, (4, 2, 6)).astype(float)
    x = rng.normal(size=(4, 3, 6)) + 10.0 ** draw(st.integers(-3, 4))
    x = x + c[:, :1] * 10.0 ** draw(st.integers(-3, 4))
    y = rng.normal(size=(4, 2, 6)) * 10.0 ** draw(st.integers(-3, 3))
    weight = (rng.random((4, 6)) < draw(st.sampled_from([0.5, 1.0]))).astype(float)
    return c, x, y, weight


union = jax.jit(partial(merge, regress=eliminate))
of_rows, centred = jax.jit(moments), jax.jit(about_mean)


def assert_same_moments(a, b, scale):
    """Check that two moments are of the same rows, whatever regression each is about."""
    for name, x, z in zip(a._fields, centred(a), centred(b), strict=True):
        np.testing.assert_allclose(x, z, rtol=1e-9, atol=1e-12 * scale, err_msg=name)


@settings(max_examples=30, deadline=None)
@given(blocks())
def test_merge_is_a_commutative_monoid(rows):
    c, x, y, weight = rows
    scale = 24 * max(np.abs(a).max() for a in (x, y, np.ones(1))) ** 2
    m = of_rows(*(jnp.asarray(a) for a in rows))
    pick = lambda *which: union(m, jnp.zeros(4).at[jnp.array(which)].set(1))  # noqa: E731
    both = lambda a, b: union(jax.tree.map(lambda *x: jnp.stack(x), a, b), jnp.ones(2))  # noqa: E731
    everything = union(m, jnp.ones(4))
    assert_same_moments(both(pick(0, 1), pick(2, 3)), everything, scale)
    assert_same_moments(both(both(pick(3), pick(1)), both(pick(2), pick(0))), everything, scale)
    assert_same_moments(both(pick(0), both(pick(1), both(pick(2), pick(3)))), everything, scale)

    kept = weight.astype(bool)
    c, x, y = (a.swapaxes(1, 2)[kept].T for a in (c, x, y))
    if kept.any():
        found = centred(everything)
        c, r = (a - a.mean(1, keepdims=True) for a in (c, np.concatenate([x, y])))
        for a, b in ((found.cc, c @ c.T), (found.cr, c @ r.T)):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * scale)
        np.testing.assert_allclose(found.xx, r[:3] @ r[:3].T, rtol=1e-9, atol=1e-12 * scale)
        np.testing.assert_allclose(found.xy, r[:3] @ r[3:].T, rtol=1e-9, atol=1e-12 * scale)


def test_moments_keep_a_residual_far_smaller_than_composition(data):
    """A residual of 1e-9 of the features keeps digits, where a Schur complement would keep none."""
    _, C, Y, _ = data
    hidden = np.random.default_rng(9).normal(size=(N, D))
    X = C @ np.random.default_rng(3).normal(size=(Q, D)) + 1e-9 * hidden
    folds = [jnp.asarray(a.reshape(K, N // K, -1).swapaxes(1, 2)) for a in (C, X, Y)]
    together = jax.jit(lambda *a: merge(moments(*a), jnp.ones(K), least_squares))
    train = together(*folds, jnp.ones((K, N // K)))
    with_intercept = np.column_stack([np.ones(N), C])
    left = hidden - with_intercept @ np.linalg.lstsq(with_intercept, hidden)[0]
    np.testing.assert_allclose(train.xx * 1e18, left.T @ left, rtol=0, atol=1e-5 * N)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 4), st.booleans(), st.booleans())
def test_projection_is_the_minimum_norm_solution(seed, rank, absent, rescaled):
    """It equals `numpy.linalg.lstsq` on the centred rows, whatever the rank of composition."""
    rng = np.random.default_rng(seed)
    C = rng.integers(0, 7, (30, rank)) @ rng.integers(-2, 3, (rank, 4)).astype(float)
    if absent:
        C[:, 2] = 0
    if rescaled:
        C *= [1, 1e-3, 1, 1e2]
    R = rng.normal(size=(30, 2)) + C @ rng.normal(size=(4, 2))
    c, r = C - C.mean(0), R - R.mean(0)
    found = np.asarray(compiled_least_squares(c.T @ c, c.T @ r))
    expected = np.linalg.lstsq(c, r, rcond=1e-10)[0]
    np.testing.assert_allclose(c @ found, c @ expected, rtol=0, atol=1e-8)
    # With columns 1e5 apart in scale, it is known to eps · 1e10 which solution is the shortest.
    tolerance = (1e-5 if rescaled else 1e-9) * max(1, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 9])
@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_every_ridge_solver_gives_the_solution(n, seed):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n, max(1, n - 2)))  # rank deficient from n = 3 on
    gram, rhs = factor @ factor.T, rng.normal(size=(n, 2))
    alphas = np.logspace(-3, 3, 6)
    expected = np.stack([np.linalg.solve(gram + a * np.eye(n), rhs) for a in alphas])
    assert len(alphas) >= ridge.LONG_GRID > len(alphas[:2])

    def on_grid(alphas):
        tiled = ridge.tile(jnp.asarray(rhs), len(alphas))
        grid = jnp.asarray(alphas)
        return ridge.on_grid(jnp.asarray(gram), grid, lambda solve: solve(tiled), scaled=True)

    s = ridge.spectrum(jnp.asarray(gram))
    solve = ridge.spectral(jnp.asarray(gram), s, jnp.asarray(alphas)[:, None])
    spectral = solve(ridge.tile(jnp.asarray(rhs), len(alphas)))
    long, short = on_grid(alphas), on_grid(alphas[:2])
    for found, wanted in ((long, expected), (short, expected[:2]), (spectral, expected)):
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(-1e3, 1e3))
def test_r2_is_that_of_scikit_learn(seed, mean):
    rng = np.random.default_rng(seed)
    y, prediction = rng.normal(size=(9, 2)) + mean, rng.normal(size=(3, 9, 2)) + mean
    weight = (np.arange(9) < 7).astype(float)
    found = r2_score(jnp.asarray(y.T), jnp.asarray(prediction.swapaxes(1, 2)), jnp.asarray(weight))
    expected = [sklearn_r2(y[:7], p[:7], multioutput="raw_values") for p in prediction]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_r2_of_a_constant_is_undefined():
    y = jnp.full((1, 5), 0.1)
    assert np.isnan(r2_score(y, y, jnp.ones(5)))


# Folds


@settings(deadline=None)
@given(st.integers(2, 9), st.integers(0, 60), SEEDS)
def test_kfold_is_balanced_and_deterministic(folds, more, seed):
    n = folds + more
    ids = kfold(n, folds, seed=seed)
    held_out = np.bincount(ids, minlength=folds)
    assert held_out.sum() == n
    assert len(held_out) == folds
    assert np.ptp(held_out) <= 1
    np.testing.assert_array_equal(ids, kfold(n, folds, seed=seed))


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=60), SEEDS)
def test_groups_stay_whole(groups, seed):
    names = set(groups)
    if len(names) < 3:
        with pytest.raises(InputError, match="groups"):
            group_folds(groups, 3, seed=seed)
        return
    ids = group_folds(groups, 3, seed=seed)
    assert set(ids) == {0, 1, 2}
    for name in names:
        assert len({k for k, g in zip(ids, groups, strict=True) if g == name}) == 1
    largest = max(groups.count(name) for name in names)
    assert np.ptp(np.bincount(ids)) <= largest  # greedy assignment is off by one group at most


@settings(deadline=None)
@given(st.integers(2, 5), st.lists(st.integers(1, 20), min_size=1, max_size=4), SEEDS)
def test_subsets_are_nested_and_balanced(folds, steps, seed):
    sizes = np.cumsum([folds, *steps]).tolist()
    n = sizes[-1] + 3
    layout = nested(n, sizes, 2, folds, seed=seed)
    for repeat in range(2):
        largest, of = layout.subset(repeat, sizes[-1]), layout.fold_ids(repeat, sizes[-1])
        assert len(set(largest)) == sizes[-1]
        for size in sizes:
            np.testing.assert_array_equal(layout.subset(repeat, size), largest[:size])
            np.testing.assert_array_equal(layout.fold_ids(repeat, size), of[:size])
            assert np.ptp(np.bincount(of[:size], minlength=folds)) <= 1
    bounds = np.array(layout.bounds)
    new = [(layout.rank >= a) & (layout.rank < b) for a, b in zip([0, *sizes], sizes, strict=False)]
    for (first, last), rows in zip(bounds, new, strict=True):
        slots = np.nonzero(rows)[2]
        assert first <= slots.min()
        assert slots.max() < last


@settings(deadline=None)
@given(SEEDS, st.integers(1, 12))
def test_given_fold_ids_are_kept_in_every_subset(seed, more):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat([0, 1, 2], [20, 15, 25]))
    sizes = [30, 30 + more]
    layout = nested(60, sizes, 2, ids, seed=seed)
    for repeat in range(2):
        for size in sizes:
            subset = layout.subset(repeat, size)
            np.testing.assert_array_equal(layout.fold_ids(repeat, size), ids[subset])


def test_cross_validation_holds_out_every_molecule_once():
    ids = np.random.default_rng(8).permutation(np.repeat([0, 1, 2], [4, 9, 2]))
    layout = cross_validation(15, ids)
    np.testing.assert_array_equal(layout.subset(0, 15), np.arange(15))
    np.testing.assert_array_equal(layout.fold_ids(0, 15), ids)


def test_a_size_of_the_learning_curve_is_cpd_on_its_subset(data):
    X, C, Y, _ = data
    sizes = [60, N]
    curve = cpdjax.learning_curve(
        X, C, Y, sizes=sizes, repeats=2, folds=K, alphas=[1e-6, 1.0], seed=9
    )
    layout = nested(N, sizes, 2, K, seed=9)
    for repeat in range(2):  # the moments of size N are merged from 60 rows and from the others
        rows, ids = layout.subset(repeat, N), layout.fold_ids(repeat, N)
        direct = scores(X[rows], C[rows], Y[rows], ids)
        for name in ("r2_geom", "r2_full", "r2_comp", "composition_share", "alpha_geom"):
            close(getattr(curve, name)[repeat, 1], getattr(direct, name))
