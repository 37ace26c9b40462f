"""Several processes over loopback: one folder, the same numbers, and a clear end where one dies."""

import os
import signal
import socket
import subprocess
import sys
import time

import ase.io
import numpy as np
import pytest
import xarray as xr
from ase.build import molecule
from helpers import call, without_progress

from cpdjax.features.store import read_features
from cpdjax.sweeps import results
from cpdjax.verification import verify

NAMES = ["H2O", "CH4", "NH3", "C2H6", "CH3OH", "C2H4", "C2H2", "CO2", "H2CO", "HCN"] * 4
SWEEP = ["--sizes", "40", "--folds", "2", "--repeats", "8"]
START = "from cpdjax.cli.start import main; main()"
QUICK = "from cpdjax import presence; presence.SILENCE = 5; "
SMALL = "from cpdjax.features import store; store.PART = 4; "
#: What a process does after its second unit, and in the place of its second part.
DIES = (
    "import os; from cpdjax.sweeps.checkpoint import Checkpoint as C; save = C.save; n = []\n"
    "def dies(*a): save(*a); n.append(1); len(n) < 2 or os.kill(os.getpid(), 9)\n"
    "C.save = dies\n"
)
DIES_EXTRACTING = (
    "import os; from cpdjax.features.extraction import Extraction as E; rows = E.rows; n = []\n"
    "def dies(*a): n.append(1); return rows(*a) if len(n) < 2 else os.kill(os.getpid(), 9)\n"
    "E.rows = dies\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file of structures, the results of one process, and its store."""
    folder = tmp_path_factory.mktemp("distributed")
    rng, frames = np.random.default_rng(0), []
    for i, name in enumerate(NAMES):
        frames.append(molecule(name))
        frames[-1].rattle(0.05, rng=rng)
        frames[-1].info |= {"id": f"m{i}", "gap": float(rng.normal())}
    ase.io.write(folder / "x.extxyz", frames)
    status, _, errors = call(*sweep(folder, "solo"))
    assert (status, errors) == (0, "")
    return folder


def sweep(folder, out, *more):
    features = ("--models", "coulomb-spectrum", "--targets", "gap")
    return [
        "sweep",
        "--dataset",
        folder / "x.extxyz",
        *features,
        *SWEEP,
        "--out",
        folder / out,
        *more,
    ]


def extract(folder, out):
    return ["extract", "coulomb-spectrum", folder / "x.extxyz", "--out", folder / out]


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def one(code, arguments, environment):
    return subprocess.Popen(
        [sys.executable, "-c", QUICK + code + START, *map(str, arguments), "--distributed"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment,
    )  # fmt: skip


def start(arguments, size, preludes=None, ranks=None):
    """Start the processes of a run, which are told where they meet."""
    run = [*arguments, "--coordinator", f"127.0.0.1:{free_port()}", "--processes", size]
    return [
        one((preludes or {}).get(rank, ""), [*run, "--process", rank], {})
        for rank in (range(size) if ranks is None else ranks)
    ]


def ended(processes):
    """The statuses and what was said."""
    said = [process.communicate(timeout=180) for process in processes]
    errors = [without_progress(err) for _, err in said]
    assert errors[1:] == [err for _, err in said[1:]]  # one of them shows progress
    return [p.returncode for p in processes], [out for out, _ in said], errors


def same_as_one(folder, out, solo="solo"):
    xr.testing.assert_identical(results.load(folder / out), results.load(folder / solo))
    assert {item.verdict for item in verify(folder / out)} == {"ok"}
    assert sorted(p.name for p in (folder / out).iterdir()) == sorted(
        p.name for p in (folder / solo).iterdir()
    )


@pytest.mark.slow
def test_two_processes_sweep_as_one_does(folder):
    statuses, printed, errors = ended(start(sweep(folder, "two"), 2))
    assert (statuses, errors) == ([0, 0], ["", ""])
    assert f"saved {folder / 'two' / 'results.zarr'}" in printed[0]
    assert printed[1] == ""
    same_as_one(folder, "two")


@pytest.mark.slow
def test_two_processes_extract_as_one_does(folder):
    assert call(*extract(folder, "one.zarr"))[0] == 0
    statuses, _, errors = ended(start(extract(folder, "two.zarr"), 2, dict.fromkeys([0, 1], SMALL)))
    assert (statuses, errors) == ([0, 0], ["", ""])
    assert {item.verdict for item in verify(folder / "two.zarr")} == {"ok"}
    assert read_features(folder / "two.zarr") == read_features(folder / "one.zarr")
    assert not list(folder.glob(".two*"))


def slurm(rank):
    return {
        "SLURM_JOB_ID": "4242",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
    }


def open_mpi(rank):
    return {
        "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(rank),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
    }


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [slurm, open_mpi])
def test_launchers_say_where_and_which(folder, launcher):
    out, port = f"{launcher.__name__}.zarr", {"JAX_COORDINATOR_PORT": str(free_port())}
    run = [one(SMALL, extract(folder, out), launcher(rank) | port) for rank in range(2)]
    statuses, printed, errors = ended(run)
    assert (statuses, errors) == ([0, 0], ["", ""])
    assert printed == [f"saved {folder / out}\n", ""]
    assert read_features(folder / out).structures_hash


def kept(folder, out):
    return {p.name: p.stat().st_mtime_ns for p in (folder / out / "units").glob("*.npz")}


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 2])
def test_four_processes_end_where_one_dies_and_go_on(folder, lost):
    out, draws = f"four-{lost}", ("--permutations", "9")
    begun = time.monotonic()
    statuses, _, errors = ended(start(sweep(folder, out, *draws), 4, {lost: DIES}))
    assert time.monotonic() - begun < 120
    survivors = [rank for rank in range(4) if rank != lost]
    assert statuses[lost] == -signal.SIGKILL
    for rank in survivors:
        assert statuses[rank] == 2
        assert errors[rank].count("\n") == 1
        assert errors[rank].startswith(f"cpdjax: process {lost} of 4 (")
        assert "goes on where it stopped" in errors[rank]
    before = kept(folder, out)
    assert before
    statuses, _, errors = ended(start(sweep(folder, out, *draws), 4))
    assert (statuses, errors) == ([0] * 4, [""] * 4)
    assert before.items() <= kept(folder, out).items()  # none was computed again
    assert call(*sweep(folder, "solo-draws", *draws))[0] == 0
    same_as_one(folder, out, "solo-draws")


@pytest.mark.slow
def test_four_processes_extract_again_what_a_dead_one_left(folder):
    assert call(*extract(folder, "one.zarr"))[0] == 0
    small = dict.fromkeys(range(4), SMALL)
    path = folder / "four.zarr"
    dying = small | {1: SMALL + DIES_EXTRACTING}
    statuses, _, errors = ended(start(extract(folder, path.name), 4, dying))
    assert statuses == [2, -signal.SIGKILL, 2, 2]
    assert all("process 1 of 4" in errors[rank] for rank in (0, 2, 3))
    assert not path.exists()
    # With another number of processes, which share what is left.
    statuses, _, errors = ended(start(extract(folder, path.name), 2, small))
    assert (statuses, errors) == ([0, 0], ["", ""])
    assert read_features(path) == read_features(folder / "one.zarr")
    assert {item.verdict for item in verify(path)} == {"ok"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_one_ends_all(folder, number):
    waits = "import time; from cpdjax.sweeps.checkpoint import Checkpoint as C; save = C.save\n" + (
        "def slow(*a): save(*a); time.sleep(600)\nC.save = slow\n"
    )
    out = f"signal-{number}"
    processes = start(sweep(folder, out), 2, {1: waits})
    while len(list((folder / out / "units").glob("*.npz"))) < 2:
        assert processes[1].poll() is None
        time.sleep(0.1)
    processes[1].send_signal(number)
    statuses, _, errors = ended(processes)
    assert statuses == [2, 128 + number]
    assert "process 1 of 2" in errors[0]
    assert "has ended; the same command goes on where it stopped" in errors[0]
    assert all(text.count("\n") == 1 for text in errors)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_coordinator_that_nobody_reaches_is_one_line(folder, rank):
    short = "from cpdjax import processes; processes.MEETING = 5; "
    begun = time.monotonic()
    run = start(sweep(folder, "nobody"), 2, {rank: short}, ranks=[rank])
    statuses, _, [error] = ended(run)
    assert time.monotonic() - begun < 60
    assert statuses == [2]
    assert error.startswith(
        "cpdjax: the processes of this run have not met within 5 seconds at 127"
    )
    assert error.count("\n") == 1
    assert not (folder / "nobody").exists()


@pytest.mark.slow
def test_bad_input_is_a_line_of_each_process(folder):
    arguments = [*sweep(folder, "bad"), "--layers", "embeding"]
    statuses, _, errors = ended(start(arguments, 2))
    assert statuses == [2, 2]
    assert all("unknown layer 'embeding'" in text and text.count("\n") == 1 for text in errors)
    assert not [p for p in folder.glob("bad/*") if not p.name.startswith(".")]
