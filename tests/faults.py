"""Kill, damage, race and starve the commands, and count losses: `tests/faults.py --rounds N`.

Every fault is followed by the same command once more, whose results must equal, bit by bit, those
of a run without faults. The exit status is 1 where anything is lost, silent or a traceback.
Children are forked from a process that has imported everything and started no thread, so that a
fault costs a second.
"""

import argparse
import contextlib
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

# Before JAX: the compiled code is kept for the other children.
import conftest  # noqa: F401
import jax
import numpy as np
from ase.build import molecule
from ase.io import write
from helpers import without_progress

from cpdjax import files, read_features
from cpdjax.cli import app
from cpdjax.errors import InputError
from cpdjax.features import store
from cpdjax.files import remove
from cpdjax.models.weights import saved_models
from cpdjax.sweeps import results
from cpdjax.verification import verify

MOLECULES = ("H2O", "CH4", "NH3", "CO2", "C2H6", "C2H4") * 10
RECIPE = """
architecture = "schnet"
target = "gap"
dataset = "mine.extxyz"
readout = "mean"
train = 32
validation = 8
held_out = 16
batch_size = 8
epochs = 2
options = {hidden_channels = 4, num_filters = 4, num_interactions = 1, num_gaussians = 4}
"""
SWEEP = [
    *("sweep", "--features", "coulomb-spectrum", "--dataset", "mine.extxyz", "--targets", "gap"),
    *("--sizes", "60", "--repeats", "2", "--alphas", "1", "--irreps", "0e"),
]
COMMANDS = {
    "sweep": [*SWEEP, "--out", "out"],
    "netcdf": [*SWEEP, "--format", "netcdf", "--out", "out"],
    "extract": ["extract", "coulomb-spectrum", "mine.extxyz", "--out", "out.zarr"],
    "train": ["train", "recipe.toml", "--out", "out"],
}
MAIN = ("sweep", "extract", "train")
TOLD, LOST = ("told", "mended", "harmless"), ("silent", "traceback", "lost", "left over", "late")
KINDS = {  # of the files that each command writes: those whose names match
    "sweep": ("out/sweep.json", "out/units/*.npz", "out/features/**/c/**/*", "out/**/zarr.json",
              "out/results.zarr/r2_geom/*.*", "out/results.zarr/.z*", "out/results.csv",
              "out/*.html", "out/**/SHA256SUMS"),
    "netcdf": ("out/results.nc",),
    "extract": ("out.zarr/**/c/**/*", "out.zarr/**/zarr.json", "out.zarr/SHA256SUMS"),
    "train": ("out/model/weights.npz", "out/model/model.json", "out/split.npz",
              "out/checkpoints/*/**/*"),
}  # fmt: skip


class Kill:
    """End this process without a word before its n-th rename."""

    def __init__(self, number: int) -> None:
        self.left = number
        for owner, name in ((os, "replace"), (os, "rename"), (files, "_exchange")):
            setattr(owner, name, self.counted(getattr(owner, name)))

    def counted(self, rename):
        def counting(*arguments, **options):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(*arguments, **options)

        return counting


def start(folder, command, prepare=lambda: None):
    """Fork a child that runs a command in a folder; what it says goes to the file `said`."""
    child = os.fork()
    if child:
        return child
    os.chdir(folder)
    os.setsid()
    with open(folder.parent / "said", "w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    store.PART = 16
    sys.argv = ["cpdjax", *command]
    status = 1
    try:
        prepare()
        app.main()
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(folder, command, prepare=lambda: None):
    return wait(start(folder, command, prepare))


def said(folder):
    return (folder.parent / "said").read_text(errors="replace")


def content(folder, name):
    """The hash of all that a command computed, read in a child; or how reading it ended."""
    child = os.fork()
    if child == 0:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found = hashlib.sha256(repr(_content(folder, name)).encode()).hexdigest()
                found = f"{'warned' if caught else 'read'} {found}"
            except (InputError, OSError) as error:
                found = f"{'traceback' if chr(10) in str(error) else 'told'} {error}"
            except BaseException as error:
                found = f"traceback {error!r}"
        (folder.parent / "content").write_text(found)
        os._exit(0)
    if wait(child):
        return "traceback: the reader died"
    return (folder.parent / "content").read_text()


def _content(folder, name):
    if name in ("sweep", "netcdf"):
        table = results.load(folder / "out")
        arrays = {str(k): np.asarray(v).tolist() for k, v in sorted(table.variables.items())}
        return arrays, sorted((k, str(v)) for k, v in table.attrs.items())
    if name == "extract":
        return read_features(folder / "out.zarr").hash
    encoder = saved_models.load(folder / "out" / "model")
    losses = (folder / "out" / "log.csv").read_text().splitlines()
    leaves = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(encoder.variables)]
    return leaves, [line.rpartition(",")[0] for line in losses]


def left_over(folder):
    found = [p for p in folder.rglob("*") if p.name.startswith((files.PREFIX, ".lock"))]
    return found + [p for p in folder.rglob(".*") if "unfinished" in p.name]


class Bench:
    """Hold what commands make without faults, and count how they end with faults."""

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.counts, self.whole = scratch, Counter(), {}
        for name, command in COMMANDS.items():
            folder = self.fresh(f"whole-{name}")
            if status := run(folder, command):
                sys.exit(f"{name} without faults ends with {status}: {said(folder)}")
            self.whole[name] = folder, content(folder, name)

    def fresh(self, name: str = "fault") -> Path:
        """A folder with the input of the commands, and nothing else."""
        folder = self.scratch / name / "work"
        remove(folder.parent)
        folder.mkdir(parents=True)
        frames, draw = [], np.random.default_rng(0)
        for kind in MOLECULES:
            frames.append(molecule(kind))
            frames[-1].rattle(0.05, rng=draw)
            frames[-1].info["gap"] = draw.normal()
        write(folder / "mine.extxyz", frames)
        (folder / "recipe.toml").write_text(RECIPE)
        return folder

    def count(self, fault: str, name: str, verdict: str, why: str = "") -> None:
        self.counts[fault, name, verdict] += 1
        if verdict in LOST:
            print(f"{fault}, {name}: {verdict} {' '.join(why.split())[:300]}", flush=True)

    def goes_on(self, fault: str, name: str, folder: Path) -> None:
        """Run the command again after a fault and compare what it computed."""
        status = run(folder, COMMANDS[name])
        if status:
            return self.count(fault, name, "lost", said(folder))
        if content(folder, name) != self.whole[name][1]:
            return self.count(fault, name, "lost", "other numbers")
        if found := left_over(folder):
            return self.count(fault, name, "left over", str(found))
        damage = [str(item) for item in verify(folder) if item.verdict == "damaged"]
        return self.count(fault, name, "lost" if damage else "mended", str(damage))

    def kills_at_renames(self, name: str, step: int) -> None:
        for number in range(1, 1000, step):
            folder = self.fresh()
            if run(folder, COMMANDS[name], lambda n=number: Kill(n)) == 0:
                return
            self.goes_on("kill at a rename", name, folder)

    def kill_at_random(self, name: str) -> None:
        folder = self.fresh()
        child = start(folder, COMMANDS[name])
        time.sleep(random.uniform(0, 6))
        os.kill(child, signal.SIGKILL)
        wait(child)
        self.goes_on("kill at random", name, folder)

    def pair(self, name: str) -> None:
        folder = self.fresh()
        children = [start(folder, COMMANDS[name])]
        time.sleep(random.choice([0, 0, random.uniform(0, 3)]))
        children.append(start(folder, COMMANDS[name]))
        ends = [wait(child) for child in children]
        if not (0 in ends and set(ends) <= {0, 2}):
            self.count("pair", name, "lost", f"{ends} {said(folder)}")
        self.goes_on("pair", name, folder)

    def starve(self, name: str, size: int) -> None:
        """Let no file grow beyond a size, as a full disk does."""

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        self.refused("file size limit", name, self.fresh(), limit)

    def full_disk(self, name: str, size: int) -> None:
        with self.mounted(f"size={size}k") as folder:
            self.refused("full disk", name, folder, lambda: None)

    def read_only(self, name: str) -> None:
        with self.mounted("size=4m") as folder:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
            self.refused("read-only disk", name, folder, lambda: None)

    @contextlib.contextmanager
    def mounted(self, options: str):
        source = self.fresh("input")
        folder = self.fresh("disk")
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
        try:
            for file in source.iterdir():
                shutil.copy(file, folder)
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)

    def refused(self, fault: str, name: str, folder: Path, prepare) -> None:
        """One line and status 2, nothing left over; with room, the command goes on."""
        status, text = run(folder, COMMANDS[name], prepare), said(folder)
        found = [p for p in left_over(folder) if p.name.startswith((files.PREFIX, ".lock"))]
        told = without_progress(text).splitlines()
        lines = [line for line in told if not line.startswith("cpdjax: warning")]
        if status == 0:
            self.count(fault, name, "harmless")
        elif status != 2 or "Traceback" in text or len(lines) != 1:
            self.count(fault, name, "traceback", f"{status} {text[-400:]}")
        elif found:
            self.count(fault, name, "left over", str(found))
        else:
            self.count(fault, name, "told")
        if fault == "file size limit":
            self.goes_on(fault, name, folder)

    def damage(self, name: str, pattern: str, how: str, use: bool) -> None:
        """Damage a file of a finished command; then verify it, and perhaps use it."""
        whole, expected = self.whole[name]
        chosen = random.choice([p for p in sorted(whole.glob(pattern)) if p.is_file()])
        folder = self.scratch / "damage" / "work"
        remove(folder.parent)
        shutil.copytree(whole, folder)
        spoil(folder / chosen.relative_to(whole), how)
        kind = f"{name}: {pattern}"
        items = verify(folder / ("out.zarr" if name == "extract" else "out"))
        seen = any(item.verdict == "damaged" for item in items) or (
            how == "removal" and (chosen.name == "SHA256SUMS" or pattern.endswith(".npz"))
        )
        if not seen:
            self.count(how, kind, "silent", f"{chosen} to verify")
        elif not use:
            self.count(how, kind, "told")
        if use:
            self.count(how, kind, *used(folder, name, expected))

    def signal(self, name: str, number: signal.Signals, twice: bool) -> None:
        """Interrupt the installed command, in a process of its own."""
        folder = self.fresh()
        script = [
            sys.executable,
            "-c",
            "from cpdjax.cli.start import main; main()",
            *COMMANDS[name],
        ]
        child = subprocess.Popen(script, cwd=folder, stderr=subprocess.PIPE, text=True,
                                 stdout=subprocess.DEVNULL)  # fmt: skip
        time.sleep(random.uniform(0.3, 12))
        began = time.monotonic()
        for _ in range(2 if twice else 1):
            child.send_signal(number)
        text = child.communicate()[1]
        took = time.monotonic() - began
        told = without_progress(text).splitlines()
        lines = [line for line in told if not line.startswith("cpdjax: warning")]
        fault = "SIGINT" if number is signal.SIGINT else "SIGTERM"
        if child.returncode == 0:
            self.count(fault, name, "harmless")  # it had ended
        elif took > 5:
            self.count(fault, name, "late", f"{took:.1f} s")
        elif child.returncode != 128 + number or len(lines) != 1:
            self.count(fault, name, "traceback", f"{child.returncode} {text[-300:]}")
        elif any(p.name.startswith(files.PREFIX) for p in left_over(folder)):
            self.count(fault, name, "left over", str(left_over(folder)))
        else:
            self.count(fault, name, "told")

    def table(self) -> str:
        rows = sorted({key[:2] for key in self.counts})
        verdicts = [v for v in (*TOLD, *LOST) if any(key[2] == v for key in self.counts)]
        wide = max(len(kind) for _, kind in rows)
        lines = [f"{'fault':18}{'kind':{wide}}" + "".join(f"{v:>11}" for v in verdicts)]
        for fault, kind in rows:
            cells = "".join(f"{self.counts[fault, kind, v]:>11}" for v in verdicts)
            lines.append(f"{fault:18}{kind:{wide}}{cells}")
        return "\n".join(lines)


def spoil(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flip":
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        path.write_bytes(content)
    elif how == "cut":
        path.write_bytes(content[: random.randrange(len(content))])
    else:
        path.unlink()


def used(folder: Path, name: str, expected: str) -> tuple[str, str]:
    """Read what may be damaged, run the command again and read once more: what comes of it."""
    ends = [content(folder, name)]
    status, text = run(folder, COMMANDS[name]), said(folder)
    if "Traceback" in text or status not in (0, 2):
        return "traceback", text[-400:]
    if status == 0:
        ends.append(content(folder, name))
    for end in ends:
        how, _, found = end.partition(" ")
        if how == "traceback":
            return "traceback", end
        if how in ("read", "warned") and found != expected.partition(" ")[2]:
            return "silent", "other numbers"
    told = status == 2 or "warning" in text or not ends[0].startswith("read")
    return "told" if told else "harmless", ""


def renames(bench: Bench, rounds: int, fast: bool) -> None:
    for name in MAIN:
        bench.kills_at_renames(name, 20 if fast else 1)


def processes(bench: Bench, rounds: int, fast: bool) -> None:
    for _ in range(rounds):
        for name in MAIN:
            bench.kill_at_random(name)
            bench.pair(name)


def disks(bench: Bench, rounds: int, fast: bool) -> None:
    may_mount = os.getuid() == 0 and shutil.which("mount")
    for index in range(rounds):
        for name in MAIN:
            bench.starve(name, [1000, 4000, 10_000, 30_000][index % 4])
            if may_mount:
                bench.full_disk(name, 48 + 24 * (index % 8))
    for name in MAIN if may_mount else ():
        bench.read_only(name)


def signals(bench: Bench, rounds: int, fast: bool) -> None:
    for index in range(rounds):
        for name in MAIN:
            bench.signal(name, [signal.SIGINT, signal.SIGTERM][index % 2], twice=index % 3 == 0)


def damage(bench: Bench, rounds: int, fast: bool) -> None:
    for name, patterns in KINDS.items():
        for pattern in patterns:
            for how, times in (("flip", 40), ("cut", 5), ("removal", 5)):
                for index in range(1 if fast else times):
                    bench.damage(name, pattern, how, use=index < rounds)


GROUPS = {group.__name__: group for group in (renames, processes, disks, signals, damage)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="how often each fault happens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--groups", nargs="*", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--fast", action="store_true", help="few renames, one damage each")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch))
        for group in arguments.groups:
            GROUPS[group](bench, arguments.rounds, arguments.fast)
    print(bench.table())
    return int(any(key[2] in LOST for key in bench.counts))


if __name__ == "__main__":
    sys.exit(main())
