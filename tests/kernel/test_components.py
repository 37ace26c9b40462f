"""Ridge on principal components, against scikit-learn's pipeline and leave-one-out as defined."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cpdjax
from cpdjax.errors import InputError
from cpdjax.kernel.components import leading
from cpdjax.kernel.ridge import LOO_ALPHAS
from cpdjax.probes.folds import kfold, nested

N, D, Q = 90, 18, 3
ALPHAS = [1e-2, 1.0]
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    C = rng.integers(0, 6, (N, Q)).astype(float)
    hidden = rng.normal(size=(N, 6))
    X = hidden @ rng.normal(size=(6, D)) + 0.3 * rng.normal(size=(N, D)) + C @ np.ones((Q, D))
    Y = hidden[:, :2] + C[:, :1] + 0.3 * rng.normal(size=(N, 2))
    return X, C, Y


def pipeline(X, C, Y, ids, k, alpha):
    """Return R²_geom and R²_full (fold, target) of scikit-learn's scaler, PCA and Ridge."""
    found = []
    for fold in range(ids.max() + 1):
        train, test = ids != fold, ids == fold
        left = X - LinearRegression().fit(C[train], X[train]).predict(C)
        most = min(k, train.sum(), X.shape[1])
        of_fold = []
        for Z in (left, X):
            model = make_pipeline(StandardScaler(), PCA(most, svd_solver="full"), Ridge(alpha))
            prediction = model.fit(Z[train], Y[train]).predict(Z[test])
            of_fold.append(r2_score(Y[test], prediction, multioutput="raw_values"))
        found.append(of_fold)
    return np.array(found).swapaxes(0, 1)


@pytest.mark.parametrize(
    ("n", "k"),
    [(N, 1), (N, 7), (20, 5), *(pytest.param(*nk, marks=SLOW) for nk in ((N, D), (20, 40)))],
)
def test_equals_scikit_learn(data, n, k):
    """Twenty molecules have fewer training rows than features: the dual form."""
    X, C, Y = (a[:n] for a in data)
    ids = kfold(n)
    found = cpdjax.cpd(X, C, Y, folds=ids, alphas=ALPHAS, components=k)
    for a, alpha in enumerate(ALPHAS):
        geom, full = pipeline(X, C, Y, ids, k, alpha)
        np.testing.assert_allclose(found.r2_geom[:, a], geom, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.r2_full[:, a], full, rtol=0, atol=1e-9)


def test_all_components_are_all_features(data):
    found, all_columns = (cpdjax.cpd(*data, alphas=1.0, components=k) for k in (D, None))
    np.testing.assert_array_equal(found.r2_geom, all_columns.r2_geom)


@pytest.mark.parametrize("n", [N, 20])
def test_leave_one_out_fits_composition_anew_and_keeps_the_components(data, n):
    X, C, Y = (a[:n] for a in data)
    ids, k = kfold(n), 4
    found = cpdjax.cpd(X, C, Y, folds=ids, components=k)
    for fold in range(5):
        train = ids != fold
        Z = StandardScaler().fit_transform(oracle.ols(X, C, train)[train])
        scores = PCA(k, svd_solver="full").fit_transform(Z)
        errors = oracle.left_out(scores, Y[train], C[train], np.array(LOO_ALPHAS))
        chosen = np.array(LOO_ALPHAS)[errors.argmin(0)]
        np.testing.assert_allclose(found.alpha_geom[fold, 0], chosen, rtol=1e-12)
        for t, alpha in enumerate(chosen):
            geom, _ = pipeline(X, C, Y, ids, k, alpha)
            np.testing.assert_allclose(found.r2_geom[fold, 0, t], geom[fold, t], atol=1e-9)


def test_columns_that_repeat_or_are_constant_are_no_components(data):
    """Repeated columns have components without variance, and one of them is asked for."""
    X, C, Y = data
    base = X[:, :3]
    wide = np.column_stack([base, base, np.full((N, 2), 7.0)])
    found, all_of_it = (cpdjax.cpd(wide, C, Y, alphas=1.0, components=k) for k in (5, None))
    np.testing.assert_allclose(found.r2_geom, all_of_it.r2_geom, rtol=0, atol=1e-9)


def total(x, c, y, ids):
    return cpdjax.cpd(x, c, y, folds=ids, alphas=1.0, components=4).r2_geom.sum()


@pytest.mark.parametrize(
    ("n", "repeated"),
    [(20, True), *(pytest.param(*case, marks=SLOW) for case in ((N, True), (N, False)))],
)
def test_gradient_is_that_of_differences(data, n, repeated):
    """Columns that repeat make eigenvalues of zero, which are equal to each other."""
    X, C, Y = (a[:n] for a in data)
    rng = np.random.default_rng(1)
    v = rng.normal(size=X.shape)
    if repeated:
        X, v = (np.concatenate([a[:, :9], a[:, :9]], axis=1) for a in (X, v))
    f = jax.jit(partial(total, c=C, y=Y, ids=kfold(n)))
    gradient = jax.grad(f)(jnp.asarray(X))
    step = 1e-5
    expected = (f(jnp.asarray(X + step * v)) - f(jnp.asarray(X - step * v))) / (2 * step)
    np.testing.assert_allclose((gradient * v).sum(), expected, rtol=1e-6)


def test_vectors_of_equal_eigenvalues_have_a_derivative():
    """The space of the first two axes turns by the known angle, whatever basis it has."""
    gram = jnp.diag(jnp.array([1.0, 3.0, 3.0]))
    change = jnp.zeros((3, 3)).at[0, 1].set(1.0).at[1, 0].set(1.0)

    def projector(gram):
        vectors, _ = leading(gram, 2)
        return vectors @ vectors.T

    _, turned = jax.jvp(projector, (gram,), (change,))
    np.testing.assert_allclose(turned, change / 2, atol=1e-12)  # 1 / (3 − 1)


@SLOW
def test_vmap_is_a_loop(data):
    X, C, Y = data
    stack = jnp.stack([jnp.asarray(X), jnp.asarray(X[:, ::-1] ** 2)])
    f = partial(total, c=C, y=Y, ids=kfold(N))
    np.testing.assert_allclose(jax.vmap(f)(stack), [f(x) for x in stack], rtol=1e-9)


@SLOW
def test_learning_curve_and_resampling_take_components(data):
    """Sizes have fewer and more training rows than components."""
    X, C, Y = data
    how = {"alphas": 1.0, "components": 9, "seed": 3}
    curve = cpdjax.learning_curve(X, C, Y, sizes=[10, N], repeats=2, **how)
    layout = nested(N, [10, N], 2, seed=3)
    for s, size in enumerate((10, N)):
        rows, ids = layout.subset(1, size), layout.fold_ids(1, size)
        alone = cpdjax.cpd(X[rows], C[rows], Y[rows], folds=ids, alphas=1.0, components=9)
        np.testing.assert_allclose(curve.r2_geom[1, s], alone.r2_geom, atol=1e-9)
    expected = cpdjax.cpd(X, C, Y, **how).r2_geom.mean(0)
    permuted = cpdjax.permutation_test(X, C, Y, permutations=2, **how)
    np.testing.assert_allclose(permuted.observed, expected, atol=1e-9)
    drawn = cpdjax.bootstrap(X, C, Y, replicates=2, **how)
    np.testing.assert_allclose(drawn.observed, expected, atol=1e-9)


def test_components_of_vectors_turn_with_the_molecule():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5, 3))
    Y = X[:, 0] - X[:, 3] + 0.3 * rng.normal(size=(60, 3))
    turns = np.linalg.qr(rng.normal(size=(60, 3, 3)))[0]
    turned = [np.einsum("nij,ncj->nci", turns, a) for a in (X, Y[:, None])]
    found, again = (cpdjax.equivariant_cpd(x, y, components=2) for x, y in ((X, Y), turned))
    np.testing.assert_allclose(found.r2_geom, again.r2_geom, atol=1e-9)
    everything = cpdjax.equivariant_cpd(X, Y, components=5)
    assert everything.r2_geom.mean() > found.r2_geom.mean()


@pytest.mark.parametrize("wrong", [0, 2.5, True, "8"])
def test_a_number_of_components_is_a_whole_number(data, wrong):
    with pytest.raises(InputError, match="components must be"):
        cpdjax.cpd(*data, components=wrong)
