"""Eight virtual devices: all of them work, and the results are those of one."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import kinds
import pytest
import xarray as xr
from helpers import ROOT

from cpdjax.sweeps import results

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _strict_jax():
    """Not here: a sweep's threads do not inherit it, and all would compile twice."""


@pytest.fixture(scope="module")
def on_eight(tmp_path_factory):
    """The folder of sweeps that ran in a process with eight devices."""
    folder = tmp_path_factory.mktemp("eight")
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    path = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, Path(kinds.__file__), folder],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{kind} 8" for kind in kinds.KINDS]
    return folder


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_eight_devices_give_the_results_of_one(on_eight, kind):
    assert jax.local_device_count() == 1
    on_one = kinds.swept(kind).drop_attrs()
    many = results.load(on_eight / kind).drop_attrs()
    assert {"null_r2_geom", "replicate_r2_geom"} <= set(many)
    xr.testing.assert_allclose(many, on_one, rtol=1e-12, atol=1e-12)


def test_a_sweep_on_eight_devices_goes_on_on_one(on_eight):
    units = sorted((on_eight / "ridge" / "units").iterdir())
    for unit in units[::2]:
        unit.unlink()
    kept = {unit: unit.read_bytes() for unit in units[1::2]}
    again = kinds.swept("ridge", on_eight / "ridge")
    xr.testing.assert_allclose(again, results.load(on_eight / "ridge"), rtol=1e-12, atol=1e-12)
    assert sorted((on_eight / "ridge" / "units").iterdir()) == units
    assert all(unit.read_bytes() == content for unit, content in kept.items())
