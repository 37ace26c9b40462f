"""Figures written to files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from cpdjax.files import atomic


def write(drawn: Mapping[str, Figure], folder: str | Path) -> list[Path]:
    """Save figures under their names."""
    paths = []
    for name, figure in drawn.items():
        with atomic(Path(folder) / name) as temporary:
            figure.savefig(temporary, dpi=150)
        paths.append(Path(folder) / name)
    return paths
