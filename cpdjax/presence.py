"""Tell the processes of one run, by small files, that each is alive, and how far it has come.

Files need what the run needs anyway, a folder that all processes see. They are written in place and
compared by their content alone, so that neither clocks nor the locks of a file system matter.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cpdjax import files
from cpdjax.characters import printable, shortened
from cpdjax.errors import FileError

BEAT = 0.5  # seconds between two signs of life
SILENCE = 60.0
"""Limit the seconds without a sign of life (our choice): a network file system may show what others
wrote half a minute late."""
ARRIVAL = 120.0
"""Limit the seconds until a process comes to the folder: some read the data faster than others."""
_FAREWELL = 10.0  # seconds that the first process waits for the others when it has failed
_LENGTH = 4096  # bytes of a file, which is written over in one step
_GO_ON = "the same command goes on where it stopped"


class Other:
    """Hold what is known of another process: its last sign of life, and when that was new."""

    def __init__(self, file: Path, name: str):
        self.file, self.name = file, name
        self.said: dict[str, Any] = {}
        self.changes = 0
        self.gone = False
        self._since = time.monotonic()

    def look(self) -> None:
        """Read the file of the process."""
        try:
            said = json.loads(self.file.read_bytes())
        except FileNotFoundError:
            self.gone = bool(self.said)
            return
        except (OSError, ValueError):  # being written just now
            return
        if said != self.said:
            self.said, self._since, self.gone = said, time.monotonic(), False
            self.changes += 1

    @property
    def ended(self) -> str | None:
        """Return what is to be said of its end: "" where it is done, None while it runs."""
        reason: str | None = self.said.get("ended")
        return reason

    @property
    def stage(self) -> float:
        """Return how often the process has waited for all."""
        return float("inf") if self.ended == "" else float(self.said.get("stage", 0))

    def complaint(self) -> str | None:
        """Return in what the process has failed, or None where it runs or is done."""
        if self.ended is not None:
            return self.ended or None
        who = self.said.get("who", self.name)
        if self.gone:
            return f"{who} has ended; {_GO_ON}"
        if time.monotonic() - self._since <= (SILENCE if self.said else ARRIVAL):
            return None
        if not self.said:
            return (
                f"{who} has not come to {self.file.parent.parent} within {ARRIVAL:g} seconds: "
                "start all anew, and let them see one and the same folder"
            )
        return f"{who} has died, or has been silent for {SILENCE:g} seconds; {_GO_ON}"


class Presence:
    """Say that this process lives, and watch the others; process 0 makes and removes the folder.

    Args:
        room: the folder of the files, one for each process.
        rank: the number of this process.
        size: the number of processes.
        end: ends this process with a line that says why; it is called from a thread.
    """

    def __init__(self, room: Path, rank: int, size: int, end: Callable[[str], Any]):
        self._room, self._rank, self._end = room, rank, end
        others = (i for i in range(size) if i != rank)
        self._others = {i: Other(room / str(i), f"process {i} of {size}") for i in others}
        self._who = f"process {rank} of {size} ({platform.node()}, number {os.getpid()})"
        self._said: dict[str, Any] = {"who": self._who, "beat": 0, "stage": 0, "ended": None}
        self._changing, self._over = threading.Lock(), threading.Event()

    def begin(self) -> None:
        """Come to the folder, and watch the others from now on.

        Raises:
            FileError: process 0 is not there, or another run uses the folder.
        """
        if self._rank == 0:
            self._room.mkdir()
            self._create()
        else:
            self._follow()
        threading.Thread(target=self._watch, daemon=True).start()

    def wait_for_all(self) -> None:
        """Return when all processes have called this as often."""
        stage = self._said["stage"] + 1
        self._tell(stage=stage)
        for _ in _pauses():
            if all(other.stage >= stage for other in self._look()):
                return

    def finish(self, failure: str | None) -> None:
        """Say that this process is done, or why it failed; process 0 waits for the others."""
        if failure is None:
            self._tell(ended="")
        else:
            self._over.set()
            self._tell(ended=f"{self._who} has failed: {shortened(printable(failure), 300)}")
        if self._rank == 0:
            deadline = time.monotonic() + _FAREWELL
            for _ in _pauses():
                late = failure is not None and time.monotonic() > deadline
                if late or all(o.gone or o.ended is not None for o in self._look()):
                    break
            shutil.rmtree(self._room, ignore_errors=True)
        self._over.set()
        files.passing.discard(self._file)

    @property
    def _file(self) -> Path:
        return self._room / str(self._rank)

    def _follow(self) -> None:
        """Come to the folder when process 0 is seen to live there."""
        leader, deadline = self._others[0], time.monotonic() + ARRIVAL
        for _ in _pauses():
            leader.look()
            if leader.changes > 1:
                with suppress(FileExistsError, FileNotFoundError):
                    return self._create()
            if time.monotonic() > deadline:
                raise FileError(
                    f"process 0 has not come to {self._room.parent}, or another run is writing "
                    "there: let all processes see one and the same folder, or choose another"
                )
        return None

    def _create(self) -> None:
        os.close(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        files.passing.add(self._file)
        self._tell()

    def _tell(self, **changes: Any) -> None:
        """Write the file of this process; a file that cannot be written is silence."""
        with self._changing, suppress(OSError):
            self._said |= {"beat": self._said["beat"] + 1, **changes}
            text = json.dumps(self._said).encode().ljust(_LENGTH)
            with self._file.open("r+b", buffering=0) as stream:
                stream.write(text)

    def _look(self) -> list[Other]:
        with self._changing:
            for other in self._others.values():
                other.look()
        return list(self._others.values())

    def _watch(self) -> None:
        """Give signs of life, and end this process where another one has failed."""
        while not self._over.wait(BEAT):
            self._tell()
            complaints = [said for other in self._look() if (said := other.complaint())]
            if complaints and not self._over.is_set():
                files.passing.discard(self._file)
                self._tell(ended=complaints[0])  # the others are to say the same
                self._end(complaints[0])
                return


def _pauses() -> Iterator[None]:
    """Yield between pauses that grow to the length of a beat."""
    pause = 0.01
    while True:
        yield
        time.sleep(pause)
        pause = min(1.5 * pause, BEAT)
