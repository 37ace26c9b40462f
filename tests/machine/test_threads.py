"""One thread of BLAS while a probe runs, and afterwards what the caller had."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

import cpdjax
from cpdjax.machine import threads
from cpdjax.machine.threads import one_blas_thread
from cpdjax.probes import arguments

CONTROLLER = ThreadpoolController()


def found():
    return {lib["num_threads"] for lib in CONTROLLER.info() if lib["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def _two_threads():
    with CONTROLLER.limit(limits=2, user_api="blas"):
        yield
        assert found() == {2}


def test_blocks_inside_blocks():
    with one_blas_thread():
        with one_blas_thread():
            assert found() == {1}
        assert found() == {1}
    assert found() == {2}


def test_the_setting_comes_back_after_an_error():
    with pytest.raises(RuntimeError), one_blas_thread():
        raise RuntimeError
    assert found() == {2}


@pytest.mark.parametrize("first_out", ["first in", "last in"])
def test_blocks_that_overlap_in_two_threads_end_in_any_order(first_out):
    blocks = {"first in": one_blas_thread(), "last in": one_blas_thread()}
    with ThreadPoolExecutor(1) as other:
        blocks["first in"].__enter__()
        other.submit(blocks["last in"].__enter__).result()
        blocks.pop(first_out).__exit__(None, None, None)
        assert found() == {1}
        other.submit(blocks.popitem()[1].__exit__, None, None, None).result()
    assert found() == {2}


def test_many_threads_at_once():
    barrier, seen = threading.Barrier(8), []

    def work(_):
        barrier.wait()
        for _ in range(50):
            with one_blas_thread():
                seen.append(found())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(seen) == 400
    assert set(map(frozenset, seen)) == {frozenset({1})}


def test_the_libraries_are_looked_for_once(monkeypatch):
    looked = []

    class Counting(ThreadpoolController):
        def __init__(self):
            looked.append(1)
            super().__init__()

    monkeypatch.setattr(threads, "ThreadpoolController", Counting)
    monkeypatch.setattr(threads, "_LIMIT", threads._Limit())
    for _ in range(3):
        with one_blas_thread():
            pass
    assert len(looked) == 1
    monkeypatch.setitem(sys.modules, "a_module_imported_meanwhile", threads)
    with one_blas_thread():
        pass
    assert len(looked) == 2


def test_a_library_that_is_loaded_later_is_limited_too():
    """Even inside a block that began before it was there."""
    code = """
import sys
from threadpoolctl import ThreadpoolController
import jax
from cpdjax.machine.threads import one_blas_thread

def found():
    libraries = ThreadpoolController().info()
    return [lib["num_threads"] for lib in libraries if lib["user_api"] == "blas"]

with one_blas_thread():
    before = len(found())
    import scipy.linalg
    assert len(found()) >= before
    with one_blas_thread():
        assert set(found()) == {1}, found()
assert set(found()) == {2}, found()
"""
    environment = {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


CALLS = {
    "cpd": lambda X, C, Y: cpdjax.cpd(X, C, Y),
    "learning_curve": lambda X, C, Y: cpdjax.learning_curve(X, C, Y, sizes=[20, 40], repeats=1),
    "permutation_test": lambda X, C, Y: cpdjax.permutation_test(X, C, Y, permutations=3),
    "bootstrap": lambda X, C, Y: cpdjax.bootstrap(X, C, Y, replicates=3),
    "equivariant_cpd": lambda X, C, Y: cpdjax.equivariant_cpd(X.reshape(40, -1, 3), X[:, :3]),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_concrete_call_runs_the_kernel_with_one_thread(call, monkeypatch):
    seen, get = [], arguments.jax.device_get

    def watched(results):
        seen.append(found())
        return get(results)

    monkeypatch.setattr(arguments.jax, "device_get", watched)
    rng = np.random.default_rng(0)
    CALLS[call](rng.normal(size=(40, 6)), rng.normal(size=(40, 2)), rng.normal(size=40))
    assert seen
    assert set(map(frozenset, seen)) == {frozenset({1})}
