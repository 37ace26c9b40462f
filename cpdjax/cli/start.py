"""Start the command `cpdjax`: first what ends it on a signal, then its imports, which take seconds.

Nothing heavy is imported here, nor by the package itself before it is used. A signal ends the
command wherever it is, within moments and with one line: all that it writes is whole or not there,
so nothing is lost but the work of the last seconds.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading

from cpdjax.cli.ending import end

_LINES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_GO_ON = ("sweep", "extract", "train", "reproduce", "recommend")


def main() -> None:
    """Run the command that the arguments name."""
    end_on_signals()
    from cpdjax.cli.app import main as run

    try:
        run()
    finally:
        _hear_no_more()


def end_on_signals() -> None:
    """End this process on SIGINT and SIGTERM, also while compiled code runs.

    Python calls handlers between two instructions of its own, which may be minutes away. The number
    of a signal is written to a socket at once, where a thread waits for it.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    # Both ends stay open as long as the thread lives.
    threading.Thread(target=_wait, args=(ours, theirs), daemon=True).start()
    for number in _LINES:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _leave_it_to_the_thread)


def _leave_it_to_the_thread(*_: object) -> None:
    """Do nothing, in place of KeyboardInterrupt."""


def _hear_no_more() -> None:
    """Ignore signals from here on: the command has ended, and its status stands.

    Python gives signals back their own meaning while it clears up, so that one that comes then
    would kill the process without a line after all was done.
    """
    for number in _LINES:
        signal.signal(number, signal.SIG_IGN)


def _wait(ours: socket.socket, _theirs: socket.socket) -> None:
    """End the process when one of the signals comes."""
    while True:
        for number in ours.recv(1):
            if number in _LINES:
                _end(signal.Signals(number))


def _end(number: signal.Signals) -> None:
    """End the process that got a signal."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    goes_on = "; the same command goes on where it stopped" * (command in _GO_ON)
    end(_LINES[number] + goes_on, 128 + number)
