"""How the benchmarks time things, describe the machine and write results down."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil
from threadpoolctl import ThreadpoolController

from cpdjax.files import atomic

PACKAGES = (
    *("cpdjax", "jax", "jaxlib", "numpy", "scipy", "scikit-learn", "himalaya", "matscope"),
    "netrep",
)
# OpenBLAS workers spin for a while after their last call and disturb whoever runs next.
SETTLE = 0.05


@dataclass(frozen=True)
class Timing:
    """Seconds of one contender: median and interquartile range over repeats, compiling apart."""

    median: float
    iqr: float
    repeats: int
    compile: float
    blas_threads: int | None

    @classmethod
    def of(cls, seconds: Sequence[float], first: float, blas_threads: int | None) -> Timing:
        low, median, high = np.percentile(seconds, [25, 50, 75])
        return cls(median, high - low, len(seconds), max(first - median, 0), blas_threads)


class Blas:
    """Sets the threads of every BLAS in this process; `None` leaves the library's default."""

    def __init__(self) -> None:
        self._controller = ThreadpoolController()

    @contextmanager
    def threads(self, number: int | None) -> Iterator[None]:
        if number is None:
            yield
            return
        with self._controller.limit(limits=number, user_api="blas"):
            yield

    def info(self) -> list[dict[str, Any]]:
        keys = ("internal_api", "version", "num_threads", "threading_layer", "architecture")
        kinds = [lib for lib in self._controller.info() if lib["user_api"] == "blas"]
        return [{k: lib.get(k) for k in keys} for lib in kinds]


class Disagreement(Exception):
    """A contender's scores are not ours: its time means nothing."""


@dataclass(frozen=True)
class Target:
    """A promise of the project and what was measured."""

    name: str
    value: float
    bound: float
    at_least: bool

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def row(self) -> tuple[str, ...]:
        sign = "≥" if self.at_least else "≤"
        verdict = "pass" if self.met else "MISS"
        return self.name, f"{self.value:.4g}", f"{sign} {self.bound:,g}", verdict


@dataclass(frozen=True)
class Contender:
    """A call without arguments, and the BLAS threads it runs with."""

    call: Callable[[], Any]
    blas_threads: int | None = 1


def clock(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds until every output of the call is really there, and the outputs."""
    start = time.perf_counter()
    result = jax.block_until_ready(call())
    return time.perf_counter() - start, result


def measure(
    contenders: Mapping[str, Contender], *, repeats: int, blas: Blas, inner: int = 1
) -> dict[str, Timing]:
    """Time contenders side by side: one warm-up each, then repeats taken in turn.

    A repeat is the mean of `inner` calls in a row. What the first call takes above the median
    is reported as compile time.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    first = {}
    for name, contender in contenders.items():
        with blas.threads(contender.blas_threads):
            first[name], _ = clock(contender.call)
    for _ in range(repeats):
        for name, contender in contenders.items():
            with blas.threads(contender.blas_threads):
                time.sleep(SETTLE)
                if inner > 1:
                    clock(contender.call)  # refills caches and wakes threads after the pause
                total = sum(clock(contender.call)[0] for _ in range(inner))
            seconds[name].append(total / inner)
    return {n: Timing.of(s, first[n], contenders[n].blas_threads) for n, s in seconds.items()}


def environment(blas: Blas) -> dict[str, Any]:
    """The machine and software behind the numbers."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "cpu_flags": _flags(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "blas": blas.info(),
        "jax_backend": jax.default_backend(),
        "jax_device": str(jax.devices()[0].device_kind),
    }


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, default=_plain)
        file.write("\n")


def write_csv(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file whole or not at all; its first line says which command made it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# python {' '.join(sys.argv)}\n")
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns padded to their widest cell; the first to the left, the others to the right."""
    cells = [[str(c) for c in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        first, *rest = (c.ljust(w) if not i else c.rjust(w) for i, (c, w) in _columns(row, widths))
        return "  ".join((first, *rest)).rstrip()

    return "\n".join([line(cells[0]), "  ".join("-" * w for w in widths), *map(line, cells[1:])])


def seconds(value: float) -> str:
    """A duration with three digits and a unit that fits."""
    for scale, unit in ((3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
        if value >= (2 * scale if scale > 1 else scale):
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def _columns(row: Sequence[str], widths: Sequence[int]) -> Iterator[tuple[int, tuple[str, int]]]:
    return enumerate(zip(row, widths, strict=True))


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return vars(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).parent
    try:
        run = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True)
    except OSError:
        return None
    return run.stdout.strip() if run.returncode == 0 else None


def _cpuinfo(key: str) -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((x.partition(":")[2].strip() for x in lines if x.startswith(key)), None)


def _cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _flags() -> list[str]:
    present = (_cpuinfo("flags") or "").split()
    return [flag for flag in ("avx2", "fma", "avx512f") if flag in present]
