"""Define the command `verify`: is a file or folder still what was written?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cpdjax import verification
from cpdjax.progress import paused, stage


def verify(
    path: Annotated[
        Path,
        typer.Argument(help="A feature store, results, a command's folder, a model, a cache file."),
    ],
) -> int:
    """Read all that is at a path, and tell what is damaged; nothing is changed.

    There is a line for each file. The exit status is 2 where one is damaged or missing, else 0.
    Nothing can be said of files of version 0.1.0, which kept no checksums.
    """
    with stage(f"reading {path}"):
        found = verification.verify(path)
    with paused():
        for item in found:
            reason = f": {item.reason}" if item.reason else ""
            print(f"{item.verdict:8s} {item.path}{reason}")
    return 2 if any(item.verdict == "damaged" for item in found) else 0
