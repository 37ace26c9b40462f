"""The kernel inside other people's JAX: jit, vmap, grad, export, any flags, few compilations."""

import subprocess
import sys
import textwrap
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cpdjax
from cpdjax.errors import InputError
from cpdjax.kernel.options import Options
from cpdjax.kernel.probe import probe
from cpdjax.kernel.ridge import LONG_GRID, LOO_ALPHAS
from cpdjax.machine import programs
from cpdjax.probes.folds import cross_validation

N, D, Q, T, K = 30, 6, 2, 2, 3
LONG = tuple(np.logspace(-4, 2, 6))

FAST_COMPILATION = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    C = rng.integers(0, 5, (N, Q)).astype(float)
    X = rng.normal(size=(N, D)) + C @ rng.normal(size=(Q, D))
    return X, C, X[:, :T] + 0.1 * rng.normal(size=(N, T))


# Transformations


def wide(X):
    return np.concatenate([X, np.random.default_rng(1).normal(size=(len(X), 30))], axis=1)


def duplicated(X):
    return np.concatenate([X[:, :3], X[:, :3]], axis=1)


@pytest.fixture(scope="module")
def objective(data):
    """Mean R²_geom, its gradient in X and in α, compiled once for every shape and kind of α."""
    _, C, Y = data

    def mean_r2(X, alphas):
        return cpdjax.cpd(X, C, Y, folds=K, alphas=alphas).r2_geom.mean()

    compiled = partial(jax.jit, compiler_options=FAST_COMPILATION)
    grid = compiled(jax.value_and_grad(mean_r2, argnums=(0, 1)))
    loo = compiled(jax.value_and_grad(lambda X: mean_r2(X, "loo")))

    def value_and_gradients(X, alphas):
        if alphas == "loo":
            value, in_x = loo(X)
            return float(value), np.asarray(in_x), None
        value, (in_x, in_alphas) = grid(X, jnp.array(alphas))
        return float(value), np.asarray(in_x), np.asarray(in_alphas)

    return value_and_gradients


@pytest.mark.parametrize(
    "alphas",
    [
        pytest.param((1.0,), id="1", marks=pytest.mark.slow),
        pytest.param((1e-6,), id="tiny"),
        pytest.param(LONG, id="grid", marks=pytest.mark.slow),
        pytest.param("loo", id="loo", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("build", [np.array, duplicated])
def test_gradient_is_that_of_finite_differences(data, objective, build, alphas):
    check_gradient(data, objective, build, alphas)


@pytest.mark.slow
@pytest.mark.parametrize("alphas", [(1.0,), (1e-6,)], ids=["1", "tiny"])
def test_gradient_of_the_dual_form(data, objective, alphas):
    check_gradient(data, objective, wide, alphas)


def check_gradient(data, objective, build, alphas):
    X, h = build(data[0]), 1e-7  # a larger step would tell duplicates apart at a tiny α
    _, gradient, _ = objective(X, alphas)
    assert np.isfinite(gradient).all()
    assert np.linalg.norm(gradient) > 1e-4
    for direction in np.random.default_rng(2).normal(size=(2, *X.shape)):
        ahead, behind = (objective(X + s * h * direction, alphas)[0] for s in (1, -1))
        assert np.sum(gradient * direction) == pytest.approx((ahead - behind) / (2 * h), rel=1e-5)


@pytest.mark.slow
def test_alpha_may_be_traced_and_differentiated(data, objective):
    X, grid, h = data[0], np.array(LONG), 1e-6
    _, _, gradient = objective(X, LONG)
    for i in range(len(LONG)):
        step = grid[i] * h * (np.arange(len(LONG)) == i)
        ahead, behind = (objective(X, tuple(grid + s * step))[0] for s in (1, -1))
        found = gradient[i] * grid[i]
        assert found == pytest.approx((ahead - behind) / (2 * h), rel=1e-5, abs=1e-9)


CALL = {"folds": K, "predictions": True}


def test_inside_jit_as_outside(data):
    inside, outside = jax.jit(lambda *a: cpdjax.cpd(*a, **CALL))(*data), cpdjax.cpd(*data, **CALL)
    assert isinstance(inside, cpdjax.Scores)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12), inside, outside)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_traced_arguments_keep_their_precision(data, dtype):
    """Inside a transformation nothing is promoted behind the caller's back."""
    arrays = [jax.ShapeDtypeStruct(a.shape, dtype) for a in data]
    scores = jax.eval_shape(lambda *a: cpdjax.cpd(*a, **CALL), *arrays)
    assert {a.dtype for a in jax.tree.leaves(scores)} == {np.dtype(dtype)}


def test_vmap_over_feature_sets(data):
    X, C, Y = data
    sets = jnp.stack([jnp.asarray(X), jnp.asarray(X) ** 3])
    together = jax.vmap(lambda x: cpdjax.cpd(x, C, Y, **CALL).r2_geom)(sets)
    one_by_one = np.stack([cpdjax.cpd(x, C, Y, **CALL).r2_geom for x in sets])
    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1e-12)


def test_learning_curve_traces_inside_jit(data):
    def curve(*arrays):
        return cpdjax.learning_curve(*arrays, sizes=[9, 15, N], repeats=2, folds=K)

    shape = jax.eval_shape(curve, *(jnp.asarray(a) for a in data)).r2_geom.shape
    assert shape == (2, 3, K, 1, T)


def test_traced_folds_are_refused(data):
    X, C, Y = data
    with pytest.raises(InputError, match="folds must be concrete"):
        jax.jit(lambda ids: cpdjax.cpd(X, C, Y, folds=ids).r2_geom)(jnp.arange(N) % K)


# Flags


def run(code):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )


def test_importing_sets_no_flag_and_says_nothing():
    done = run(
        """
        import jax
        before = dict(jax.config.values)
        import cpdjax
        changed = {k for k, v in jax.config.values.items() if before.get(k, v) != v}
        assert not changed, changed
        """
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_float64_needs_no_flag(data):
    """Under JAX's default flags NumPy input is computed in float64, and the flags stay."""
    X, C, Y = data
    expected = cpdjax.cpd(X, C, Y, **CALL)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        found = cpdjax.cpd(X, C, Y, **CALL)
        assert jax.config.jax_enable_x64 is False
        assert jnp.zeros(1).dtype == np.float32
        assert {np.asarray(a).dtype for a in jax.tree.leaves(found)} == {np.dtype(np.float64)}
        with pytest.raises(InputError):
            cpdjax.cpd(X, C, Y, folds=K, alphas=-1)
        assert jax.config.jax_enable_x64 is False
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


# Compilations


def traces(call):
    seen = []
    ended = "/jax/core/compile/jaxpr_trace_duration"
    listen = lambda event, _, **about: seen.append((event, about.get("fun_name")))  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        call()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return seen.count((ended, "probe"))


@pytest.fixture
def _all_kept(monkeypatch):
    """Programs of earlier tests count as well: one more would let go of those of this test."""
    monkeypatch.setattr(programs, "KEPT", 1000)


@pytest.mark.usefixtures("_all_kept")
def test_same_shapes_compile_once(data):
    X, C, Y = (a[:29] for a in data)  # a shape that no other test uses

    def call(x, y, **options):
        cpdjax.cpd(x, C, y, **({"folds": K, "alphas": 1.0} | options))

    assert traces(lambda: call(X, Y)) == 1
    assert traces(lambda: call(X[::-1], Y + 1)) == 0
    assert traces(lambda: call(X, Y, seed=5)) == 0
    assert traces(lambda: call(X, Y, alphas=7.0)) == 0
    assert traces(lambda: call(X, Y, folds=np.roll(np.arange(29) % K, 4))) == 0


@pytest.mark.usefixtures("_all_kept")
def test_a_learning_curve_compiles_once(data):
    X, C, Y = (a[:28] for a in data)

    def call(**options):
        fixed = {"sizes": [28], "repeats": 3, "folds": K, "alphas": 1.0}
        cpdjax.learning_curve(X, C, Y, **(fixed | options))

    assert traces(call) == 1
    assert traces(lambda: call(seed=1)) == 0
    assert traces(lambda: call(alphas=0.1)) == 0


# Other platforms


@pytest.mark.parametrize(
    ("features", "alphas"),
    [
        pytest.param(D, (1.0,), id="short", marks=pytest.mark.slow),
        pytest.param(D, LONG, id="long", marks=pytest.mark.slow),
        pytest.param(D, "loo", id="loo"),
        pytest.param(2 * N, LONG, id="dual-long", marks=pytest.mark.slow),
        pytest.param(2 * N, "loo", id="dual-loo"),
    ],
)
@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_lowers_for_every_platform(platform, alphas, features):
    """In the precision that is default there; no accelerator is needed to lower for one."""
    dtype = jnp.float32 if platform == "tpu" else jnp.float64
    loo = alphas == "loo"
    grid = LOO_ALPHAS if loo else alphas
    assert len(LONG) >= LONG_GRID
    layout = cross_validation(N, K)
    exported = jax.export.export(probe, platforms=[platform])(
        *(
            jax.ShapeDtypeStruct(shape, dtype)
            for shape in ((N, features), (N, Q), (N, T), (len(grid),))
        ),
        jnp.asarray(layout.index),
        jnp.asarray(layout.rank),
        sizes=layout.sizes,
        bounds=layout.bounds,
        options=Options(loo=loo, batch_size=None if platform == "cpu" else 64),
    )
    assert exported.platforms == (platform,)
    lines = exported.mlir_module().splitlines()
    products = [line for line in lines if "stablehlo.dot_general" in line]
    assert products
    for product in products:  # accelerators round float32 to fewer bits by default
        assert "precision = [HIGHEST, HIGHEST]" in product
    shape = (1, 1, K, 1 if loo else len(grid), T)
    assert exported.out_avals[0] == jax.core.ShapedArray(shape, dtype)
