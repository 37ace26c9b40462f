"""Let several processes do one command together: each computes a share of its units.

They meet by JAX's own runtime, which knows from SLURM, Open MPI or the arguments where the first
process is and which number each has. The runtime is left once all have met: it would end every
process with a page of C++ when one dies, and computes nothing here, because units are independent
and go to files. From then on processes know of each other by files (`presence`).
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from cpdjax.errors import InputError
from cpdjax.files import remove
from cpdjax.locks import sole_writer
from cpdjax.presence import Presence

MEETING = 300.0
"""Limit the seconds until all processes have met."""
_ADDRESS = re.compile(r"(\[[^\]]+\]|[^:\s]+):([1-9][0-9]{0,4})")

Item = TypeVar("Item")


class Team:
    """Hold which of several processes this one is; alone, it is the only one.

    >>> Team(1, 2, print).share(["a", "b", "c"])
    ['b']
    """

    def __init__(self, rank: int = 0, size: int = 1, end: Callable[[str], Any] = print):
        self.rank, self.size = rank, size
        self._end = end
        self._presence: Presence | None = None

    @property
    def leads(self) -> bool:
        """Return whether this is the process that prepares and finishes what all work on."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Return the items that this process computes; they are in the same order in all."""
        return list(items[self.rank :: self.size])

    def wait_for_all(self) -> None:
        """Return when all processes have come as far as this."""
        if self._presence is not None:
            self._presence.wait_for_all()

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Run the block in the first process before it runs in the others."""
        if not self.leads:
            self.wait_for_all()
        yield
        if self.leads:
            self.wait_for_all()

    @contextmanager
    def writing(self, path: Path, lock: Path) -> Iterator[None]:
        """Hold `path` for these processes alone while the block runs in all of them.

        Where one of them fails or dies, the others end: at once, or after `presence.SILENCE`.

        Raises:
            FileError: others are writing to `path`, or the processes do not see the same folder.
        """
        room = lock.with_name(f"{lock.name}-processes")
        with sole_writer(path, lock) if self.leads else nullcontext():
            if self.leads:
                remove(room)  # of a run that died
            if self.size == 1:
                yield
                return
            presence = self._presence = Presence(room, self.rank, self.size, self._end)
            presence.begin()
            failure: str | None = "it was interrupted"
            try:
                self.wait_for_all()
                yield
                failure = None
            except Exception as error:
                failure = str(error) or type(error).__name__
                raise
            finally:
                self._presence = None
                presence.finish(failure)


ALONE = Team()


def meet(
    end: Callable[[str], Any],
    coordinator: str | None = None,
    size: int | None = None,
    rank: int | None = None,
) -> Team:
    """Wait until all processes of a run are there, and return which of them this is.

    No JAX computation may have run before.

    Args:
        end: ends this process with a line that says why; it is called from a thread.
        coordinator: HOST:PORT at which process 0 waits for the others; what is not given here is
            asked of SLURM or Open MPI.
        size: the number of processes.
        rank: the number of this process, from 0.

    Raises:
        InputError: the arguments are wrong, or neither they nor the environment tell enough.
    """
    _check(coordinator, size, rank)
    line = (
        f"the processes of this run have not met within {MEETING:g} seconds"
        f"{'' if coordinator is None else f' at {coordinator}'}: start all of them, with the same "
        "--coordinator and --processes, and let no firewall close the port"
    )
    timer = threading.Timer(MEETING, end, [line])
    timer.daemon = True
    timer.start()
    try:
        return Team(*_met(coordinator, size, rank), end)
    finally:
        timer.cancel()


def _met(coordinator: str | None, size: int | None, rank: int | None) -> tuple[int, int]:
    """Return the number of this process and of all, from JAX's runtime."""
    import jax  # not before there is something to run

    later = 2 * int(MEETING)  # so that the runtime never ends us first
    # Its service for preemption would take SIGTERM from us. The caller's setting is given back.
    config: Any = jax.config
    preemption = config.jax_enable_preemption_service
    config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            size,
            rank,
            initialization_timeout=later,
            heartbeat_timeout_seconds=later,
            shutdown_timeout_seconds=later,
        )
    except ValueError:
        raise InputError(
            "cannot tell which process this is, and where the first one is: neither SLURM nor Open "
            "MPI says so; give --coordinator HOST:PORT, --processes N and --process I"
        ) from None
    finally:
        config.update("jax_enable_preemption_service", preemption)
    jax.local_devices()  # the processes exchange what they have
    jax.distributed.shutdown()  # which waits for all
    return jax.process_index(), jax.process_count()


def _check(coordinator: str | None, size: int | None, rank: int | None) -> None:
    """Refuse what JAX's runtime would answer with an abort."""
    address = _ADDRESS.fullmatch(coordinator or "any:1")
    if address is None or int(address[2]) > 65535:
        raise InputError(
            f"--coordinator must be HOST:PORT, such as node1:12345, got {coordinator!r}"
        )
    if size is not None and rank is not None and rank >= size:
        raise InputError(f"--process must be from 0 to {size - 1}, got {rank}")
    if coordinator is not None and rank == 0:
        try:
            socket.create_server(("", int(address[2]))).close()
        except OSError as error:
            raise InputError(
                f"port {address[2]} is not free here ({error.strerror}): give all processes "
                "another --coordinator, whose host is that of process 0"
            ) from None
