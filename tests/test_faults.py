"""The fast form of `tests/faults.py`: a few faults of every kind."""

import subprocess
import sys

import pytest
from helpers import ROOT


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, and mounts disks")
def test_nothing_is_lost_to_any_kind_of_fault():
    command = [sys.executable, ROOT / "tests" / "faults.py", "--rounds", "1", "--fast"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, "\n".join(
        [*[line for line in done.stdout.splitlines() if ": " in line][:10], done.stderr[-1000:]]
    )
