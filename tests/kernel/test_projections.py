"""Test projections beyond least squares: against NumPy and scikit-learn, and what each promises."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from helpers import GOLDENS
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import cpdjax
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.kernel.leace import with_predicted_composition
from cpdjax.kernel.moments import about_mean, merge, moments
from cpdjax.kernel.projection import PROJECTIONS, concepts, least_squares, regression
from cpdjax.kernel.residual import Residual, Rows, TrainingRows
from cpdjax.kernel.ridge import LOO_ALPHAS
from cpdjax.probes.folds import kfold, nested

N, D, Q, K = 80, 12, 3, 4
SIZES = [12, N]  # fewer training rows than features, then more
ALPHAS = [0.1, 10.0]
FAST_COMPILATION = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
GOLDEN = GOLDENS / "leace.npz"


@pytest.fixture(scope="module")
def data():
    """Return features and targets that depend nonlinearly on composition.

    Formulas have from one to many rows.
    """
    rng = np.random.default_rng(0)
    C = rng.binomial(3, [0.2, 0.3, 0.5], (N, Q)).astype(float)
    hidden = rng.normal(size=(N, D))
    X = hidden + C @ rng.normal(size=(Q, D)) + 0.3 * C**2 @ rng.normal(size=(Q, D)) + 3
    Y = np.stack([hidden[:, 0] + C[:, 0] ** 2, hidden[:, 1] - C[:, 1] * C[:, 2]], axis=1)
    return X, C, Y


# The same projections, written with scikit-learn and NumPy


def none(x, c, train):
    return x


def ridge(x, c, train):
    z = StandardScaler().fit(c[train]).transform(c)
    return x - Ridge(alpha=1.0).fit(z[train], x[train]).predict(z)


def quadratic(x, c, train):
    return oracle.ols(x, PolynomialFeatures(2, include_bias=False).fit_transform(c), train)


def formula(x, c, train):
    left = oracle.ols(x, c, train)
    means = [mean_of_formula(left, c, train, row) for row in c]
    return left - np.stack(means)


def mean_of_formula(left, c, train, row):
    same = train & (c == row).all(1)
    return left[same].mean(0) if same.any() else np.zeros(left.shape[1])


def leace(x, c, train):
    """Return LEACE as the article writes it: x − W⁺ P W (x − mean)."""
    centred, spread = x - x[train].mean(0), x[train].std(0)
    # The scale changes only rows outside the span of the training rows.
    centred = centred / spread
    values, vectors = np.linalg.eigh(np.cov(centred[train].T))
    root = np.sqrt(np.where(values > 1e-10 * values[-1], values, 0))
    whitening = vectors * np.divide(1, root, out=np.zeros_like(root), where=root > 0) @ vectors.T
    cross = centred[train].T @ (c - c[train].mean(0))[train] / train.sum()
    u, s, _ = np.linalg.svd(whitening @ cross, full_matrices=False)
    u = u[:, s > 1e-9]
    return x - centred @ whitening @ u @ u.T @ (vectors * root @ vectors.T) * spread


def nothing(x, c, residual):
    return np.zeros((len(x), 0))


#: The columns that are fitted beside the features when a row is left out.
CONCEPTS = {
    "ridge": nothing,
    "quadratic": lambda x, c, _: PolynomialFeatures(2, include_bias=False).fit_transform(c),
    "formula": lambda x, c, _: (
        np.unique(c, axis=0, return_inverse=True)[1].reshape(-1, 1)
        == np.arange(len(np.unique(c, axis=0)))
    ),
    "leace": lambda x, _, residual: x - residual,  # the predicted composition, turned
}
ORACLES = {
    "ols": oracle.ols,
    "none": none,
    "ridge": ridge,
    "quadratic": quadratic,
    "formula": formula,
    "leace": leace,
    "oracle-leace": oracle.ols,
    "bonds": oracle.ols,  # of the columns that a caller gives: see test_concepts.py
    "groups": oracle.ols,
}


def test_every_projection_has_an_oracle():
    # "within" subtracts means before any fold is made: `tests/probes/test_within.py` holds it.
    assert {*ORACLES, "within"} == {*PROJECTIONS}


def residual_rows(projection, X, C, trained):
    """Return what the kernel's own parts leave of all rows, unscaled: (molecule, feature)."""
    c = concepts(C, projection)
    blocks = [np.flatnonzero(trained == held) for held in (True, False)]
    slots = max(map(len, blocks))
    index = np.stack([np.pad(b, (0, slots - len(b))) for b in blocks])
    weight = np.stack([np.arange(slots) < len(b) for b in blocks]).astype(float)
    parts = (jnp.asarray(a[index].swapaxes(1, 2)) for a in (c, X, X[:, :1]))
    left = np.empty_like(X)
    for b, z in zip(blocks, fit(projection, Rows(*parts, jnp.asarray(weight))), strict=True):
        left[b] = np.asarray(z).T[: len(b)]
    return left


@partial(jax.jit, static_argnums=0, compiler_options=FAST_COMPILATION)
def fit(projection, rows):
    """Project as `probe` does, with one block to train on and one held out."""
    include, dual = jnp.array([1.0, 0.0]), rows.x.shape[1] > rows.weight.shape[1]
    blocks = moments(*rows, dual=dual)
    train = merge(blocks, include, regression(projection, blocks, include, Q))
    if projection == "leace":
        rows = with_predicted_composition(train, TrainingRows(rows, jnp.array([0])))
        train = merge(moments(*rows, dual=dual), include, least_squares)
    residual = Residual.of(train, about_mean(train).variance, standardize=False)
    return [residual.features(Rows(*(a[k] for a in rows))) for k in range(2)]


def slow(*names):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize(
    "projection", ["formula", "leace", "quadratic", "ridge", *slow("ols", "oracle-leace")]
)
def test_residual_is_that_of_the_oracle(data, projection):
    check_residual(*data[:2], projection)


@pytest.mark.parametrize("projection", ["leace", *slow("formula", "quadratic", "ridge", "ols")])
def test_residual_of_few_rows_is_that_of_the_oracle(data, projection):
    check_residual(*(a[: SIZES[0]] for a in data[:2]), projection)


def check_residual(X, C, projection):
    trained = np.arange(len(X)) % 4 > 0
    expected = ORACLES[projection](X - X[trained].mean(0), C, trained)
    found = residual_rows(projection, X, C, trained)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * X.std())


def test_formulas_are_held_out_seen_and_unseen(data):
    """The test above needs held-out formulas of both kinds, and formulas trained on only once."""
    _, C, _ = data
    trained = np.arange(N) % 4 > 0
    seen = [(C[trained] == row).all(1).sum() for row in C[~trained]]
    assert min(seen) == 0 < max(seen)
    assert 1 in seen


@pytest.mark.parametrize("projection", ["formula", "leace", "quadratic", "ridge", *slow("ols")])
def test_a_held_out_row_changes_no_other_residual(data, projection):
    """No bit of another residual changes, so nothing that is fitted depends on the held-out row."""
    X, C, _ = data
    trained, row = np.arange(N) % 4 > 0, 16
    before = residual_rows(projection, X, C, trained)
    # The row gets a formula that occurs already, since the number of formulas is part of a shape.
    other = C[(C[row] != C).any(1)][0]
    here = np.arange(N)[:, None] == row
    for matters, x, c in (
        (True, np.where(here, -1e5, X), C),
        # LEACE needs no composition of a molecule that is held out.
        (projection != "leace", X, np.where(here, other if projection == "formula" else 99, C)),
    ):
        after = residual_rows(projection, x, c, trained)
        np.testing.assert_array_equal(after[~here[:, 0]], before[~here[:, 0]])
        assert (after[row] != before[row]).any() == matters


def scores(X, C, Y, projection):
    """Return scores with predictions, from a kernel that compiles fast."""
    call = partial(cpdjax.cpd, folds=kfold(len(X), K), alphas=ALPHAS, projection=projection)
    compiled = partial(jax.jit, compiler_options=FAST_COMPILATION)
    if projection == "formula":  # which needs a concrete C
        return compiled(lambda x, y: call(x, C, y, predictions=True))(X, Y)
    return compiled(lambda *a: call(*a, predictions=True))(X, C, Y)


@pytest.mark.parametrize(
    "projection", ["formula", *slow("leace", "none", "ridge", "quadratic", "ols", "oracle-leace")]
)
def test_scores_equal_those_of_the_oracle(data, projection):
    X, C, Y = data
    found = scores(X, C, Y, projection)
    expected = oracle.cpd(X, C, Y, kfold(N, K), ALPHAS, project=ORACLES[projection])
    for name in ("r2_geom", "r2_full", "r2_comp", "prediction", "composition_share"):
        a, b = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("projection", ["none", "ridge", "quadratic", "formula", "leace"])
def test_a_learning_curve_equals_that_of_the_oracle(data, projection):
    """The two sizes take the curve through the dual and the primal form."""
    found = cpdjax.learning_curve(
        *data, sizes=SIZES, repeats=1, folds=K, alphas=ALPHAS, projection=projection
    )
    expected = oracle.learning_curve(
        *data, nested(N, SIZES, 1, K), ALPHAS, project=ORACLES[projection]
    )
    for name in ("r2_geom", "r2_full", "r2_comp", "composition_share"):
        a, b = (getattr(scores, name) for scores in (found, expected))
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("projection", "n"),
    [
        # Of few rows "quadratic" and "formula" leave nothing at all, so that no α is the best; and
        # what "leace" leaves has equal errors, to 1e-7, for all small α.
        *(("ridge", n) for n in SIZES),
        ("leace", N),
        ("quadratic", N),
        ("formula", N),
    ],
)
def test_leave_one_out_equals_the_oracle(data, projection, n):
    X, C, Y = (a[:n] for a in data)
    ids, project = kfold(n, K), ORACLES[projection]
    found = cpdjax.cpd(X, C, Y, folds=ids, alphas="loo", projection=projection, standardize=False)
    expected = oracle.cpd(
        X, C, Y, ids, LOO_ALPHAS,
        loo=True, project=project, concepts=CONCEPTS[projection], standardize=False,
    )  # fmt: skip
    np.testing.assert_allclose(found.alpha_geom, expected.alpha_geom, rtol=1e-12)
    np.testing.assert_allclose(found.r2_geom, expected.r2_geom, rtol=1e-8, atol=1e-8)


# What each promises


@pytest.mark.slow
def test_more_is_taken_from_training_rows_by_a_larger_matrix(data):
    names = ("none", "ridge", "ols", "quadratic", "formula", "leace")
    share = {name: np.asarray(scores(*data, name).composition_share) for name in names}
    assert (share["none"] == 0).all()
    assert (share["ridge"] < share["ols"]).all()
    assert (share["ols"] < share["quadratic"]).all()
    assert (share["quadratic"] < share["formula"]).all()
    # Features follow the composition that they predict more closely than composition itself.
    assert (share["leace"] > share["ols"]).all()


@pytest.mark.slow
def test_what_is_nonlinear_in_composition_passes_for_geometry_until_it_is_taken():
    """A target of the formula alone, from features of the formula and noise."""
    rng = np.random.default_rng(1)
    n = 600
    C = rng.integers(0, 4, (n, 2)).astype(float)
    noise = rng.normal(size=(n, 6))
    squares, steps = ((C - 1.5) ** 2).sum(1), np.sin(9 * C[:, 0] + 4 * C[:, 1])
    X = noise + 3 * np.stack([squares, steps, squares, steps, squares, steps], axis=1)
    Y = np.stack([squares, steps, noise[:, 0]], axis=1)
    found = {
        name: cpdjax.cpd(X, C, Y, projection=name).r2_geom[:, 0].mean(0)
        for name in ("ols", "quadratic", "formula")
    }
    assert (found["ols"][:2] > 0.7).all()
    assert found["quadratic"][0] < 0.02 < 0.7 < found["quadratic"][1]
    assert (found["formula"][:2] < 0.02).all()
    assert (found["formula"] < found["ols"]).tolist() == [True, True, False]  # geometry comes out


# LEACE


@pytest.mark.parametrize(
    ("case", "projection"),
    [
        ("primal", "leace"),
        ("dual", "leace"),
        ("primal", "oracle-leace"),
        pytest.param("dual", "oracle-leace", marks=pytest.mark.slow),
    ],
)
def test_equals_the_package_of_leaces_authors(case, projection):
    """They agree on training and held-out rows, to 1e-6 of the features' spread."""
    with np.load(GOLDEN, allow_pickle=False) as golden:
        names = ("x", "c", "trained", "oracle" if projection == "oracle-leace" else "leace")
        x, c, trained, expected = (golden[f"{case}/{name}"] for name in names)
    found = residual_rows(projection, x, c, trained) + x[trained].mean(0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * x.std())
    assert np.abs(expected - x).max() > x.std() / 2


@pytest.mark.parametrize("case", ["primal", "dual"])
def test_after_leace_nothing_linear_finds_composition(case):
    with np.load(GOLDEN, allow_pickle=False) as golden:
        x, c, trained = (golden[f"{case}/{name}"] for name in ("x", "c", "trained"))
    left, c = residual_rows("leace", x, c, trained)[trained], c[trained]
    assert np.abs(left.T @ (c - c.mean(0))).max() < 1e-6 * len(c)
    assert np.linalg.matrix_rank(left, tol=1e-5) == min(x.shape[1], trained.sum() - 1) - Q
    if case == "primal":
        assert LinearRegression().fit(left, c).score(left, c) < 1e-9


def test_leace_does_not_depend_on_the_scale_of_features(data):
    X, C, _ = data
    trained, scale = np.arange(N) % 4 > 0, np.logspace(-5, 5, D)
    found = residual_rows("leace", X * scale, C, trained) / scale
    np.testing.assert_allclose(found, residual_rows("leace", X, C, trained), rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("projection", ["leace", "ridge", "formula", "quadratic"])
def test_gradient_is_that_of_finite_differences(data, projection):
    X, C, Y = (a[:40] for a in data)
    objective = jax.jit(
        jax.value_and_grad(
            lambda x: cpdjax.cpd(x, C, Y, folds=2, alphas=1.0, projection=projection).r2_geom.mean()
        )
    )
    X = np.concatenate([X[:, :5], np.zeros((40, 2))], axis=1)
    step = np.random.default_rng(2).normal(size=X.shape) * (X != 0)
    ahead, behind = (objective(X + s * 1e-6 * step)[0] for s in (1, -1))
    _, gradient = objective(X)
    assert np.isfinite(gradient).all()
    assert np.sum(gradient * step) == pytest.approx(float(ahead - behind) / 2e-6, rel=1e-5)


# Refusals


@pytest.mark.slow
def test_traced_composition(data):
    shapes = [jax.ShapeDtypeStruct(a.shape, jnp.float64) for a in data]
    run = lambda name: jax.eval_shape(lambda *a: cpdjax.cpd(*a, projection=name), *shapes)  # noqa: E731
    assert run("quadratic").r2_geom.shape == (5, 1, 2)
    with pytest.raises(InputError, match="concrete C"):
        run("formula")


def test_an_unknown_projection(data):
    with pytest.raises(UnknownNameError, match="did you mean quadratic"):
        cpdjax.cpd(*data, projection="quadratics")


def test_where_nothing_is_taken_the_share_of_composition_is_zero():
    rng = np.random.default_rng(0)
    C = rng.integers(0, 5, (40, 2)).astype(float)
    X, Y = rng.normal(size=(40, 3)) + C[:, :1], rng.normal(size=40)
    found = cpdjax.cpd(X, C, Y, folds=4, projection="none")
    np.testing.assert_allclose(found.composition_share, 0, atol=1e-15)
    np.testing.assert_array_equal(found.r2_geom, found.r2_full)
