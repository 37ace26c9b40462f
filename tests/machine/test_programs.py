"""Programs of probes are few, and let go when they are many."""

import gc
from pathlib import Path

import jax
import numpy as np
import pytest

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
