"""Write files and folders whole or not at all, and remove them."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cpdjax.characters import for_csv


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which replaces it when the block ends without error.

    The block may write a file or a folder there. A reader of `path` sees the old content or the new
    content, and never a part. After an error the old content stays.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic(target) as temporary:
    ...     _ = temporary.write_text("whole", encoding="utf-8")
    >>> target.read_text(encoding="utf-8"), len(list(target.parent.iterdir()))
    ('whole', 1)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, because writers choose their format by it.
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        yield temporary
        if path.is_dir():  # a folder, unlike a file, cannot be replaced in one step
            os.replace(path, old)
        os.replace(temporary, path)
    finally:
        remove(temporary)
    remove(old)


def write_figure(figure: Any, path: str | Path) -> Path:
    """Write a Matplotlib figure, whole or not at all, and return its path."""
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=150)
    return Path(path)


def write_csv(table: Any, path: str | Path) -> Path:
    """Write a pandas table as CSV, whole or not at all, and return its path."""
    texts = table.select_dtypes(exclude="number")
    with atomic(path) as temporary:
        table.assign(**texts.map(for_csv)).to_csv(temporary, index=False, encoding="utf-8")
    return Path(path)


def remove(path: Path) -> None:
    """Remove a file or a folder with all its content, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
