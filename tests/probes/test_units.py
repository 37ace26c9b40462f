"""Scores do not depend on units, on the order of rows, or on the container that rows come in."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cpdjax
from cpdjax.errors import ConstantTargetWarning, InputError

N, D, Q, T, K = 40, 4, 2, 2, 4
IDS = np.arange(N) % K
_rng = np.random.default_rng(0)
C = _rng.integers(0, 9, (N, Q)).astype(float)
X = _rng.normal(size=(N, D)) + C @ _rng.normal(size=(Q, D)) + 3
Y = np.stack([X[:, 0] + C[:, 1] + _rng.normal(size=N), _rng.normal(size=N)], axis=1)
TENSORS = _rng.normal(size=(N, D, 3))
VECTORS = TENSORS[:, :T] + _rng.normal(size=(N, T, 3))
SCORES = ("r2_geom", "r2_full", "r2_comp", "composition_share", "alpha_geom", "alpha_full")

#: The values above keep all of their bits in these units: 2^-940 to 2^1010, or 585 orders.
WIDE, NARROW = st.integers(-940, 1010), st.integers(-90, 118)


def exponents(columns, of=WIDE):
    return st.lists(of, min_size=columns, max_size=columns).map(np.array)


@st.composite
def units(draw, of=WIDE):
    return {"x": draw(exponents(D, of)), "c": draw(exponents(Q, of)), "y": draw(exponents(T, of))}


def assert_same(found, expected, names=SCORES):
    for name in names:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def scores(x=0, c=0, y=0, **options):
    """The scores of the same data, every column times a power of two."""
    given = (np.ldexp(a, e) for a, e in ((X, x), (C, c), (Y, y)))
    return cpdjax.cpd(*given, **({"folds": IDS} | options))


@settings(max_examples=30, deadline=None)
@given(units())
def test_units_change_no_bit(exponents):
    found = scores(**exponents, predictions=True)
    expected = scores(predictions=True)
    assert_same(found, expected)
    np.testing.assert_array_equal(np.ldexp(found.prediction, -exponents["y"]), expected.prediction)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        *({"projection": p} for p in ("none", "ridge", "quadratic", "formula", "leace")),
        {"alphas": "loo"},
        {"alphas": [1e-9, 1e-6, 1e-3, 1.0, 1e3]},
        {"dtype": np.float32},
    ],
    ids=lambda options: "-".join(map(str, next(iter(options.items())))),
)
@settings(max_examples=5, deadline=None)
@given(exponents=units())
def test_units_change_no_bit_whatever_is_asked_for(options, exponents):
    assert_same(scores(**exponents, **options), scores(**options))


@settings(max_examples=10, deadline=None)
@given(units(of=NARROW))
def test_units_of_float32_arrays_change_no_bit(exponents):
    narrow = {"x": X, "c": C, "y": Y}
    given = [np.ldexp(a.astype(np.float32), exponents[k]) for k, a in narrow.items()]
    assert {a.dtype for a in given} == {np.dtype(np.float32)}
    assert all(np.isfinite(a).all() and (np.abs(a[a != 0]) > 1e-37).all() for a in given)
    plain = [a.astype(np.float32) for a in narrow.values()]
    for dtype in (None, np.float32):
        found, expected = (cpdjax.cpd(*a, folds=IDS, dtype=dtype) for a in (given, plain))
        assert_same(found, expected)


@pytest.mark.slow
@settings(max_examples=3, deadline=None)
@given(units())
def test_units_change_nothing_in_the_relatives_of_cpd(exponents):
    one = (X, C, Y)
    other = tuple(np.ldexp(a, exponents[k]) for k, a in zip("xcy", one, strict=True))
    sizes = {"sizes": [20, N], "repeats": 2, "folds": K}
    assert_same(*(cpdjax.learning_curve(*a, **sizes) for a in (other, one)))
    rung = np.ones((N, 1)) * (np.arange(N) % 3)[:, None]
    scaled = np.ldexp(rung, exponents["x"][0])
    found, expected = (
        cpdjax.ladder(*a, {"rung": r}, folds=IDS) for a, r in ((other, scaled), (one, rung))
    )
    assert_same(found, expected, ["r2", "r2_geom"])
    found, expected = (cpdjax.permutation_test(*a, permutations=9, folds=IDS) for a in (other, one))
    np.testing.assert_allclose(found.null, expected.null, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.p_value, expected.p_value)
    found, expected = (cpdjax.bootstrap(*a, replicates=9, folds=IDS) for a in (other, one))
    np.testing.assert_array_equal(found.replicates, expected.replicates)
    numbers, molecule = np.where(C[:, 0] > 4, 6, 1), np.arange(N) // 2
    found, expected = (
        cpdjax.atom_cpd(a[0], numbers, a[2], molecule, folds=K) for a in (other, one)
    )
    assert_same(found, expected)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(WIDE, exponents(T), st.sampled_from([1.0, "loo"]))
def test_units_change_nothing_of_vectors(x, y, alphas):
    other = np.ldexp(TENSORS, x), np.ldexp(VECTORS, y[:, None])
    found, expected = (
        cpdjax.equivariant_cpd(*a, folds=IDS, alphas=alphas, predictions=True)
        for a in (other, (TENSORS, VECTORS))
    )
    assert_same(found, expected)
    np.testing.assert_array_equal(np.ldexp(found.prediction, -y[:, None]), expected.prediction)
    if alphas != "loo":
        found, expected = (
            cpdjax.equivariant_bootstrap(*a, replicates=5, folds=IDS).replicates
            for a in (other, (TENSORS, VECTORS))
        )
        np.testing.assert_array_equal(found, expected)
        found, expected = (
            cpdjax.equivariant_permutation_test(*a, permutations=5, folds=IDS).null
            for a in (other, (TENSORS, VECTORS))
        )
        np.testing.assert_array_equal(found, expected)


def table(y=0):
    formulas = [f"C{int(a) + 1}H{int(b) + 1}" for a, b in C]
    return {"formula": formulas, "first": np.ldexp(Y[:, 0], y), "second": Y[:, 1]}


def swept(x, y=0, **options):
    return cpdjax.sweep({"mine": x}, targets=table(y), sizes=[20, N], repeats=1, **options)


@settings(max_examples=5, deadline=None)
@given(exponents(D), WIDE, st.sampled_from(["float64", "float32"]))
def test_units_change_no_bit_of_a_sweep(x, y, dtype):
    found, expected = swept(np.ldexp(X, x), y, dtype=dtype), swept(X, dtype=dtype)
    assert_same(found, expected, ["r2_geom", "r2_full", "r2_comp", "composition_share"])


@pytest.mark.parametrize("factor", [1e-307, 1e-160, 1e-20, 1e300])
def test_other_units_as_scikit_learn_in_ordinary_units(factor):
    """A factor that is no power of two costs a rounding."""
    expected = oracle.cpd(X, C, Y, IDS, [1.0])
    for x, c, y in np.where(np.eye(3), factor, 1):
        found = cpdjax.cpd(X * x, C * c, Y * y, folds=IDS, alphas=1.0)
        for name in ("r2_geom", "r2_full", "r2_comp"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-9)


@pytest.mark.parametrize("factor", [1e-310, 5e-320])
def test_subnormal_numbers_count_for_the_digits_that_they_have(factor):
    rough = np.abs(scores().r2_geom - cpdjax.cpd(X * factor, C, Y * factor, folds=IDS).r2_geom)
    assert rough.max() < 100 * 5e-324 / factor


@pytest.mark.parametrize("factor", [1e-30, 1e-20, 1e20, 1e30])
def test_composition_is_removed_in_float32_whatever_its_unit(factor):
    options = {"folds": IDS, "dtype": np.float32}
    found = cpdjax.cpd(X, C * factor, C[:, 0], **options)
    assert np.min(found.r2_comp) > 1 - 1e-5
    np.testing.assert_allclose(
        found.r2_geom, cpdjax.cpd(X, C, C[:, 0], **options).r2_geom, atol=1e-4
    )


# What depends on units by its nature


@pytest.mark.parametrize("projection", ["ols", "quadratic"])
def test_the_shortest_coefficients_are_those_of_the_given_units(projection):
    """Where columns are dependent among training rows but not among others, lengths matter."""
    dependent = np.column_stack([C, C.sum(1)])
    dependent[IDS == 0, 2] += np.arange(N // K)
    options = {"folds": IDS, "projection": projection, "alphas": 1.0}
    expected = cpdjax.cpd(X, dependent, Y, **options)
    if projection == "ols":
        truth = oracle.cpd(X, dependent, Y, IDS, [1.0])
        np.testing.assert_allclose(expected.r2_geom, truth.r2_geom, atol=1e-9)
        other = cpdjax.cpd(X, dependent * [1, 1, 8], Y, **options)
        assert np.abs(other.r2_comp - expected.r2_comp)[0].max() > 1e-3
        for exponent in (-940, -300, 300, 900):
            assert_same(cpdjax.cpd(X, np.ldexp(dependent, exponent), Y, **options), expected)
    limit = [cpdjax.cpd(X, np.ldexp(dependent, e), Y, **options) for e in (-200, -900)]
    np.testing.assert_allclose(limit[0].r2_geom, limit[1].r2_geom, atol=1e-9)


@pytest.mark.slow
def test_a_penalty_has_the_unit_of_features_that_are_not_standardised():
    plain = scores(standardize=False, alphas=1.0)
    scaled = scores(x=100, standardize=False, alphas=2.0**200)
    np.testing.assert_allclose(scaled.r2_geom, plain.r2_geom, rtol=0, atol=1e-12)
    tensors = (TENSORS, VECTORS), (np.ldexp(TENSORS, 100), VECTORS)
    a, b = (
        cpdjax.equivariant_cpd(*t, folds=IDS, standardize=False, alphas=alpha).r2_geom
        for t, alpha in zip(tensors, (1.0, 2.0**200), strict=True)
    )
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    # Beside α = 1, features of 1e-200 are nothing: the training mean is all that is predicted.
    nothing = scores(x=-664, standardize=False, alphas=1.0)
    np.testing.assert_array_equal(nothing.r2_geom, scores(x=-900, standardize=False).r2_geom)


def test_constant_columns_stay_constant_in_float32():
    """Columns that differ from 0.1 by a rounding of float64 hold no signal in float32 either."""
    rng = np.random.default_rng(1)
    near = np.where(rng.random((N, 30)) < 0.5, 0.1, np.nextafter(0.1, 1))
    found = cpdjax.cpd(np.concatenate([X, near], axis=1), C, Y, folds=IDS, dtype=np.float32)
    expected = cpdjax.cpd(X, C, Y, folds=IDS, dtype=np.float32)
    np.testing.assert_allclose(found.r2_full, expected.r2_full, atol=1e-5)
    with pytest.warns(ConstantTargetWarning):
        assert np.isnan(cpdjax.cpd(X, C, near[:, 0], folds=IDS, dtype=np.float32).r2_comp).all()


# What no unit helps


def outlier(a, value=1e300):
    changed = a.copy()
    changed[3, 1] = value
    return changed


REFUSED = {
    "X": ((outlier(X), C, Y), {}),
    "C": ((X, outlier(C), Y), {}),
    "Y": ((X, C, outlier(Y)), {}),
    "float32": ((outlier(X, 1e25), C, Y), {"dtype": "float32"}),
    "large": ((X * 1e200, C, Y), {"standardize": False}),
    "large float32": ((X * 1e25, C, Y), {"standardize": False, "dtype": "float32"}),
    "small": ((X * 1e-200, C, Y), {"standardize": False, "alphas": [0.0]}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_fits_in_no_unit_is_refused_in_one_line(case):
    (x, c, y), options = REFUSED[case]
    calls = [lambda: cpdjax.cpd(x, c, y, folds=IDS, **options)]
    if c is C and y is Y:
        calls.append(lambda: swept(x, **options))
        calls.append(lambda: cpdjax.bootstrap(x, c, y, replicates=2, folds=IDS, **options))
    for call in calls:
        with pytest.raises(InputError) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert "squares" in str(caught.value)


def test_an_outlier_of_a_target_is_refused_by_a_sweep():
    with pytest.raises(InputError, match="squares do not both fit"):
        cpdjax.sweep({"mine": X}, targets=table() | {"first": outlier(Y)[:, 1]}, sizes=[N])


def test_vectors_that_fit_in_no_unit_are_refused():
    with pytest.raises(InputError, match="squares overflow"):
        cpdjax.equivariant_cpd(TENSORS * 1e200, VECTORS, standardize=False)
    with pytest.raises(InputError, match="squares underflow"):
        cpdjax.equivariant_cpd(TENSORS * 1e-200, VECTORS, standardize=False, alphas=0)


def test_tails_of_a_column_are_no_outliers():
    """Smooth cutoffs leave values of 1e-200 beside ordinary ones, which count as zero."""
    tails = np.where(np.arange(N)[:, None] % 3 == 0, 1e-200, X)
    a, b = (
        cpdjax.cpd(x, C, Y, folds=IDS).r2_geom
        for x in (tails, np.where(np.abs(tails) < 1e-99, 0, X))
    )
    np.testing.assert_allclose(a, b, atol=1e-12)


# Inside transformations


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units_change_no_bit_of_what_is_traced(dtype):
    room = 900 if dtype == np.float64 else 90
    run = jax.jit(lambda *a: cpdjax.cpd(*a, folds=IDS))
    given = [a.astype(dtype) for a in (X, C, Y)]
    scaled = [
        np.ldexp(a, np.linspace(-room, room, a.shape[1]).astype(int)).astype(dtype) for a in given
    ]
    assert_same(run(*scaled), run(*given))


def test_the_gradient_takes_the_unit_of_the_features():
    grad = jax.jit(jax.grad(lambda x: cpdjax.cpd(x, C, Y, folds=IDS).r2_geom.mean()))
    plain = np.asarray(grad(jnp.asarray(X)))
    scaled = np.asarray(grad(jnp.asarray(np.ldexp(X, -500))))
    np.testing.assert_array_equal(np.ldexp(scaled, -500), plain)


# Order and containers


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(random):
    order = np.array(random.sample(range(N), N))
    found = cpdjax.cpd(X[order], C[order], Y[order], folds=IDS[order])
    vectors = cpdjax.equivariant_cpd(TENSORS[order], VECTORS[order], folds=IDS[order])
    for name in SCORES:
        np.testing.assert_allclose(getattr(found, name), getattr(scores(), name), atol=1e-10)
    expected = cpdjax.equivariant_cpd(TENSORS, VECTORS, folds=IDS)
    np.testing.assert_allclose(vectors.r2_geom, expected.r2_geom, atol=1e-10)


CONTAINERS = {
    "lists": lambda a: a.tolist(),
    "rows as arrays": list,
    "tuples": lambda a: tuple(map(tuple, a.tolist())),
    "JAX": jnp.asarray,
    "JAX float32": lambda a: jnp.asarray(a, jnp.float32),
    "JAX bfloat16": lambda a: jnp.asarray(a, jnp.bfloat16),
    "float32": lambda a: a.astype(np.float32),
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "column by column": np.asfortranarray,
    "a view": lambda a: np.repeat(a, 2, axis=0)[::2],
    "read only": lambda a: np.broadcast_to(a[None], (2, *a.shape))[1],
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
}
#: Multiples of 1/8 below 16, which every type above holds exactly.
EXACT = [np.clip(np.round(a * 4) / 8, -15, 15) for a in (X, C, Y)]


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_container_changes_no_bit(container):
    held = [CONTAINERS[container](a) for a in EXACT]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = cpdjax.cpd(*held, folds=IDS)
    assert_same(found, cpdjax.cpd(*EXACT, folds=IDS))
    sizes = {"sizes": [20, N], "repeats": 1, "folds": K}
    assert_same(cpdjax.learning_curve(*held, **sizes), cpdjax.learning_curve(*EXACT, **sizes))


@pytest.mark.parametrize("container", ["lists", "JAX", "JAX bfloat16", "float32", "longdouble"])
def test_the_container_of_vectors_changes_no_bit(container):
    exact = [np.clip(np.round(a * 4) / 8, -15, 15) for a in (TENSORS, VECTORS)]
    held = [CONTAINERS[container](a) for a in exact]
    assert_same(*(cpdjax.equivariant_cpd(*a, folds=IDS) for a in (held, exact)))


# The caller's debugging flags


@pytest.mark.slow
def test_debugging_flags_change_nothing():
    """NaN is the R² of a constant target, not an accident to stop at."""
    level = np.where(IDS == 0, 1.0, Y[:, 0])
    calls = (
        lambda: cpdjax.cpd(X, C, level, folds=IDS).r2_geom,
        lambda: cpdjax.permutation_test(X, C, Y, permutations=3, folds=IDS).null,
        lambda: cpdjax.bootstrap(X, C, Y, replicates=3, folds=IDS).replicates,
        lambda: cpdjax.equivariant_cpd(TENSORS, VECTORS * 0, folds=IDS).r2_geom,
        lambda: cpdjax.equivariant_permutation_test(TENSORS, VECTORS, permutations=3).null,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantTargetWarning)
        expected = [call() for call in calls]
        with jax.debug_nans(True), jax.debug_infs(True), jax.transfer_guard("disallow"):
            found = [call() for call in calls]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
