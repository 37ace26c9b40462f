"""Programs compute what they should; those of probes are few, and let go when they are many."""

import ast
import gc
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import ROOT

import cpdjax
from cpdjax.kernel.scores import Scores
from cpdjax.machine import programs
from cpdjax.sweeps.probe_kinds import ScalarProbe

N, SIZES = 140, [20, 40, 60, 80, 100, 120, 140]
WIDTHS = [5, 14, 20, 29, 33, 48, 64, 100, 112, 128]
RNG = np.random.default_rng(0)
TABLE = {"formula": ["CH4", "C2H6", "H2O", "CO2", "NH3"] * 28, "gap": RNG.normal(size=N)}


@pytest.fixture(autouse=True)
def _strict_jax():
    """Not here: a sweep's threads do not inherit it."""


@pytest.fixture
def traced(monkeypatch):
    """The widths for which a kernel was traced, one that is compiled in no time."""
    seen = []

    def kernel(x, c, y, alphas, index, rank, *, sizes, bounds, options):
        seen.append(x.shape[1])
        shape = (1, len(sizes), index.shape[1], len(alphas), y.shape[1])
        score = jax.numpy.broadcast_to(x.mean(), shape)
        return Scores(score, score, score[..., 0, :], score[..., 0, 0], score, score)

    monkeypatch.setattr(ScalarProbe, "kernel", staticmethod(kernel))
    # Programs of earlier tests count as well: one more would let go of those of this test.
    monkeypatch.setattr(programs, "KEPT", 1000)
    return seen


def sweep(**changes):
    features = {str(width): RNG.normal(size=(N, width)) for width in WIDTHS}
    settings = {"sizes": SIZES, "repeats": 3, "alphas": 1.0}
    return cpdjax.sweep(features, targets=TABLE, **(settings | changes))


def maps():
    """The memory maps of this process, of which Linux allows 65,530."""
    known = Path("/proc/self/maps")
    return len(known.read_text().splitlines()) if known.exists() else 0


def live():
    gc.collect()
    return len(jax.local_devices()[0].client.live_executables())


@pytest.mark.slow
def test_ten_widths_and_seven_sizes_share_six_programs(traced):
    before = live()
    sweep()
    assert sorted(traced) == [16, 24, 32, 48, 64, 128]  # each once, though two threads run them
    assert live() - before <= 6 + 1  # the one tries whether XLA knows our options
    sweep(seed=1)
    assert len(traced) == 6


@pytest.mark.slow
def test_programs_are_let_go_when_they_are_many():
    double = programs.compiled(lambda x: 2 * x)
    before, mapped = live(), maps()
    for n in range(1, 4 * programs.KEPT):
        np.testing.assert_array_equal(double(np.ones(n)), np.full(n, 2.0))
    assert live() - before <= programs.KEPT
    assert maps() - mapped < 100 * programs.KEPT


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sum_over_a_product_is_that_of_numpy(dtype):
    """XLA hands both to a library that gets large arrays wrong, in jaxlib 0.10.2, if it is let."""
    rows, matrix = RNG.normal(size=(40_000, 3)).astype(dtype), RNG.normal(size=(3, 3)).astype(dtype)

    def squares(rows, matrix):
        return jax.vmap(lambda row: ((matrix @ row) ** 2).sum())(rows)

    with jax.enable_x64(True):
        found = programs.compiled(squares)(rows, matrix)
    np.testing.assert_allclose(found, ((rows @ matrix.T) ** 2).sum(1), rtol=1e-3)


def test_options_that_the_user_has_named_or_xla_does_not_know_are_left_out(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    (own,) = fresh("cpu")
    assert set(fresh("cpu", xla_no_such_option=1, xla_backend_optimization_level=1)) == {
        own,
        "xla_backend_optimization_level",
    }
    assert fresh("gpu", xla_backend_optimization_level=1) == {}
    monkeypatch.setenv("XLA_FLAGS", f"--{own}=")
    assert fresh("cpu") == {}


def fresh(platform, **on_cpu):
    return programs.options.__wrapped__(platform, **on_cpu)


#: Kernels are compiled through `compiled`, or inside a caller's function; columns have no products.
COMPILE_THEMSELVES = {
    *("cpdjax/machine/programs.py", "cpdjax/features/programs.py", "models/training/run.py"),
    *("cpdjax/kernel/probe.py", "cpdjax/kernel/equivariant_probe.py", "cpdjax/probes/columns.py"),
}


def test_nothing_else_is_compiled_without_our_options():
    found = set()
    for folder in ("cpdjax", "models"):
        for path in (ROOT / folder).rglob("*.py"):
            if any(map(is_jit, ast.walk(ast.parse(path.read_text())))):
                found.add(path.relative_to(ROOT).as_posix())
    assert found == COMPILE_THEMSELVES


def is_jit(node):
    """`jax.jit`, or that of another library, or the import of one."""
    named = {ast.Attribute: "attr", ast.alias: "name"}.get(type(node))
    return named is not None and getattr(node, named) == "jit"
