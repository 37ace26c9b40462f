"""The figure of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from cpdjax.files import write_figure


def plot(rows: Sequence[Mapping[str, str]], unit: str, path: str | Path) -> None:
    """Plot training loss and validation error by molecules seen, from the rows of a run's log."""
    seen = [int(row["molecules"]) for row in rows]
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    left = figure.subplots()
    left.plot(seen, [float(row["train_loss"]) for row in rows], "o-", color="C0")
    left.set_xlabel("molecules seen")
    left.set_ylabel("training loss (of the target's spread)", color="C0")
    left.set_yscale("log")
    right = left.twinx()
    right.plot(seen, [float(row["validation_mae"]) for row in rows], "s--", color="C1")
    right.set_ylabel(f"validation MAE ({unit})", color="C1")
    right.set_yscale("log")
    write_figure(figure, path)
