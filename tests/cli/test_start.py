"""A signal ends the command at once, with one line, whatever it is doing."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

#: Busy in compiled code, which no handler of Python interrupts, with a file half written.
BUSY = """
import os, re, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
sys.argv = ["cpdjax", "sweep"]
from cpdjax.cli import start
start.end_on_signals()
from cpdjax.files import atomic
with atomic("mine.txt") as temporary:
    temporary.write_text("half")
    print("busy", flush=True)
    time.sleep(60)
"""
GO_ON = "the same command goes on where it stopped"


def ended(process, number, times=1):
    """Exit status, what was said, and how long it took."""
    began = time.monotonic()
    for _ in range(times):
        process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert time.monotonic() - began < 5
    return process.returncode, said


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "word", "times"),
    [(signal.SIGINT, "interrupted", 1), (signal.SIGINT, "interrupted", 3),
     (signal.SIGTERM, "terminated", 1)],
)  # fmt: skip
def test_signals_while_busy(tmp_path, number, word, times):
    process = subprocess.Popen([sys.executable, "-c", BUSY], cwd=tmp_path, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout.readline() == "busy\n"
    assert ended(process, number, times) == (128 + number, f"cpdjax: {word}; {GO_ON}\n")
    assert not list(tmp_path.iterdir())


SHOWN = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["cpdjax", "sweep"]
from cpdjax.cli import start
from cpdjax.progress import expect, shown, stage
start.end_on_signals()
with shown(True), stage("probing"):
    expect(2)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_signal_takes_progress_away_and_gives_the_cursor_back():
    ours, theirs = os.openpty()
    process = subprocess.Popen([sys.executable, "-c", SHOWN], stdin=theirs, stdout=theirs,
                               stderr=theirs, env=os.environ | {"TERM": "xterm"})  # fmt: skip
    os.close(theirs)
    text = b""
    while b"probing" not in text:
        text += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    with contextlib.suppress(OSError):  # of a terminal that nobody writes to any more
        while found := os.read(ours, 4096):
            text += found
    os.close(ours)
    assert f"\x1b[?25hcpdjax: interrupted; {GO_ON}\r\n" in text.decode()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_signals_during_the_imports(tmp_path):
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "print(flush=True); from cpdjax.cli import start; print(flush=True); start.main()"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    process.stdout.readline(), process.stdout.readline()
    time.sleep(0.2)
    assert ended(process, signal.SIGINT) == (130, "cpdjax: interrupted\n")


def test_an_ignored_signal_stays_ignored(monkeypatch):
    """As under nohup; importing the library changes no handler at all."""
    code = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
before = signal.getsignal(signal.SIGINT)
import cpdjax, cpdjax.cli.app
from cpdjax.cli import start
assert signal.getsignal(signal.SIGINT) is before
start.end_on_signals()
assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_end_changes_nothing(number):
    """While Python clears up, a signal of its own meaning would kill the process."""
    code = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Late:
    def __del__(self, kill=os.kill, process=os.getpid()):
        kill(process, {int(number)})
late = Late()
sys.argv = ["cpdjax", "--version"]
from cpdjax.cli import start
start.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cpdjax ")
