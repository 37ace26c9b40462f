"""Define the command `verify`: is a file or folder still what was written?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cpdjax import verification
from cpdjax.cli.messages import says_more
from cpdjax.cli.terminal import list_lines, takes_json
from cpdjax.progress import stage
from cpdjax.verification import Item


@takes_json
def verify(
    path: Annotated[
        Path,
        typer.Argument(help="A feature store, results, a command's folder, a model, a cache file."),
    ],
) -> int:
    """Read all that is at a path, and tell what is damaged; nothing is changed.

    There is a line for each damaged file, and one for all others of a folder
    that end alike; -v and --json name every file. The exit status is 2 where
    one is damaged or missing, else 0. Nothing can be said of files of version
    0.1.0, which kept no checksums.
    """
    with stage(f"reading {path}"):
        found = verification.verify(path)
    found.sort(key=lambda item: item.verdict != "damaged")  # these first
    records = [{**item._asdict(), "path": str(item.path)} for item in found]
    list_lines("files", records, map(_line, found) if says_more() else _counted(found))
    return 2 if any(item.verdict == "damaged" for item in found) else 0


def _counted(items: Sequence[Item]) -> Iterator[str]:
    """Return a line for every damaged item, and one for all others of one folder and ending."""
    alike = defaultdict(list)
    for item in items:
        own = item.path.name if item.verdict == "damaged" else item.path.suffix
        alike[item.verdict, item.path.parent, own].append(item)
    for (verdict, folder, ending), found in alike.items():
        if len(found) == 1:
            yield _line(found[0])
        else:
            what = "stores" if ending == ".zarr" else "files"
            whole = Item(folder / f"*{ending}", verdict, f"{len(found):,} {what}")
            reasons = dict.fromkeys(item.reason for item in found if item.reason)
            yield ", ".join([_line(whole), *reasons])


def _line(item: Item) -> str:
    """Return what an item is, in one line."""
    reason = f": {item.reason}" if item.reason else ""
    return f"{item.verdict:8s} {item.path}{reason}"
