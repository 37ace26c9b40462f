"""Several processes: they share work, wait for each other, and end where one of them is lost."""

import json
import queue
import socket
import threading
import time

import jax
import pytest
from helpers import one_line

from cpdjax import presence, processes
from cpdjax.errors import FileError, InputError
from cpdjax.processes import ALONE, Team, meet


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(presence, "BEAT", 0.02)
    monkeypatch.setattr(presence, "SILENCE", 1.0)
    monkeypatch.setattr(presence, "ARRIVAL", 1.0)


class Run:
    """Teams of one run, each in a thread of its own, as processes are; and what ended them."""

    def __init__(self, folder, size):
        self.folder, self.size = folder, size
        self.lines, self.errors = queue.Queue(), queue.Queue()
        self.threads = []

    def start(self, work, ranks=None):
        for rank in range(self.size) if ranks is None else ranks:
            team = Team(rank, self.size, lambda line, rank=rank: self.lines.put((rank, line)))
            thread = threading.Thread(target=self._inside, args=(team, work), daemon=True)
            self.threads.append(thread)
            thread.start()
        return self

    def _inside(self, team, work):
        try:
            with team.writing(self.folder, self.folder / ".lock"):
                work(team)
        except Exception as error:
            self.errors.put(error)

    def join(self):
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()
        assert self.lines.empty()
        assert self.errors.empty()


def room(folder):
    return folder / ".lock-processes"


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_are_all_items_once(size):
    items = list("abcdefgh")
    shares = [Team(rank, size).share(items) for rank in range(size)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert ALONE.share(items) == items


@pytest.mark.parametrize("size", [2, 4])
def test_nobody_goes_on_before_all_have_come(tmp_path, size):
    came, went = [], []

    def work(team):
        time.sleep(0.05 * team.rank)
        came.append(team.rank)
        team.wait_for_all()
        went.append(len(came))

    Run(tmp_path / "out", size).start(work).join()
    assert went == [size] * size
    assert not (tmp_path / "out").exists()  # nothing came into it


def test_the_first_process_goes_before_the_others(tmp_path):
    order = []

    def work(team):
        for _ in range(3):
            with team.leader_first():
                if team.leads:
                    time.sleep(0.1)
                order.append(team.rank)
            team.wait_for_all()

    Run(tmp_path, 3).start(work).join()
    assert [order[i] for i in (0, 3, 6)] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_one_that_fails_ends_the_others_with_its_reason(tmp_path):
    def work(team):
        if team.rank == 1:
            raise FileError("no features at mine.npz")
        team.wait_for_all()

    run = Run(tmp_path, 3).start(work)
    ended = dict(run.lines.get(timeout=10) for _ in range(2))
    assert set(ended) == {0, 2}
    for line in ended.values():
        assert "process 1 of 3" in line
        assert line.endswith("has failed: no features at mine.npz")


def test_a_failure_of_the_first_is_told_too_and_leaves_nothing(tmp_path):
    def work(team):
        if team.leads:
            raise FileError("the disk is gone")
        team.wait_for_all()

    run = Run(tmp_path / "out", 2).start(work)
    rank, line = run.lines.get(timeout=10)
    assert (rank, "process 0 of 2" in line, "the disk is gone" in line) == (1, True, True)
    (room(run.folder) / "1").unlink()  # as a process that is ended does
    run.threads[0].join(10)
    assert not run.folder.exists()


def silent(team):
    """Give no more signs of life, as a process that was killed."""
    team._presence._over.set()
    threading.Event().wait()


def gone(team):
    """Remove one's file, as a process that got a signal."""
    time.sleep(0.3)  # it has been seen
    team._presence._file.unlink()
    silent(team)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (silent, "has died, or has been silent for 1 seconds; the same command goes on where"),
        (gone, "has ended; the same command goes on where it stopped"),
    ],
)
@pytest.mark.parametrize("lost", [0, 1])
def test_one_that_is_lost_ends_the_others_within_bounds(tmp_path, end, said, lost):
    def work(team):
        if team.rank == lost:
            end(team)
        team.wait_for_all()

    begun = time.monotonic()
    rank, line = Run(tmp_path, 2).start(work).lines.get(timeout=10)
    assert rank == 1 - lost
    assert line.startswith(f"process {lost} of 2 (")
    assert said in line
    assert "\n" not in line
    assert time.monotonic() - begun < 8


def test_one_that_never_comes(tmp_path):
    rank, line = Run(tmp_path, 2).start(Team.wait_for_all, ranks=[0]).lines.get(timeout=10)
    assert rank == 0
    assert line.startswith(f"process 1 of 2 has not come to {tmp_path} within 1 seconds")
    assert "one and the same folder" in line


def test_without_the_first_the_others_say_so(tmp_path):
    error = Run(tmp_path, 2).start(Team.wait_for_all, ranks=[1]).errors.get(timeout=10)
    assert isinstance(error, FileError)
    assert "process 0 has not come" in str(error)


@pytest.mark.parametrize("size", [1, 2])
def test_what_a_dead_run_left_is_no_sign_of_life_and_goes(tmp_path, size):
    room(tmp_path).mkdir()
    for rank in range(2):
        old = {"who": "x", "beat": 7, "stage": 99, "ended": None}
        (room(tmp_path) / str(rank)).write_text(json.dumps(old))
    done = []
    Run(tmp_path, size).start(lambda team: done.append(team.rank)).join()
    assert sorted(done) == list(range(size))
    assert not list(tmp_path.iterdir())


def test_a_second_run_is_told_and_the_first_goes_on(tmp_path):
    inside, leave = threading.Semaphore(0), threading.Event()

    def work(team):
        inside.release()
        leave.wait(20)

    first = Run(tmp_path, 2).start(work)
    for _ in range(2):
        inside.acquire(timeout=10)
    second = Run(tmp_path, 2).start(work)
    said = sorted(str(second.errors.get(timeout=10)) for _ in range(2))
    assert said[0].startswith(f"another process is writing {tmp_path}")
    assert "another run is writing" in said[1]
    leave.set()
    first.join()


# The meeting


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "neither SLURM nor Open MPI says so; give --coordinator HOST:PORT, --processes N"),
        ({"coordinator": "node1"}, "HOST:PORT"),
        ({"coordinator": "node1:70000"}, "HOST:PORT"),
        ({"coordinator": "node1:123", "size": 2, "rank": 2}, "--process must be from 0 to 1"),
    ],
)
def test_arguments_of_a_meeting_are_checked(given, said, monkeypatch):
    def refuses(*arguments, **_):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", refuses)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    with pytest.raises(InputError) as caught:
        meet(print, **given)
    one_line(caught, said)


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError) as caught:
            meet(print, f"localhost:{port}", 2, 0)
    one_line(caught, f"port {port} is not free here", "another --coordinator")


def test_a_meeting_that_nobody_comes_to_ends(monkeypatch):
    lines = queue.Queue()
    monkeypatch.setattr(processes, "MEETING", 0.1)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)

    def waits(*_, initialization_timeout, **__):
        assert lines.get(timeout=10).startswith("the processes of this run have not met within 0.1")
        raise ValueError

    monkeypatch.setattr(jax.distributed, "initialize", waits)
    with pytest.raises(InputError):
        meet(lines.put, "localhost:1", 2, 1)
