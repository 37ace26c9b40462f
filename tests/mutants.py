"""Change the kernel in one place at a time, and see whether a test fails.

    nice python tests/mutants.py --sample 150 --log build/mutants.jsonl

A mutant is one file of `cpdjax/kernel/` with one operator, comparison, number or call exchanged.
The sample is drawn evenly from all mutants with a fixed seed. Mutants that the log already holds
are not run again, so that an interrupted run goes on. A mutant that no test notices survives: it
wants a test, or is no fault at all, such as another bound between two ways to the same result.

Nothing is written into the source. Every mutant lives in a process forked from one that has
imported all libraries, which loads the changed code in the place of the file.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.machinery
import json
import os
import random
import runpy
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = (
    *("kernel/test_oracle.py", "kernel/test_theorems.py", "kernel/test_accuracy.py"),
    *("kernel/test_projections.py", "probes/test_equivariant_probe.py"),
    *("probes/test_ladder.py", "probes/test_units.py"),
    "kernel/test_jax_citizen.py",
)
#: Files whose faults another test file than the first notices soonest.
SOONEST = {
    "equivariant_probe": "probes/test_equivariant_probe.py",
    "moments": "kernel/test_theorems.py",
    "projection": "kernel/test_projections.py",
    "leace": "kernel/test_projections.py",
}
#: Tests that start processes or compile for other platforms are left out.
LEFT_OUT = "not lowers and not importing"
SECONDS = 300  # after which a mutant counts as alive

OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
CALLS = {
    "maximum": "minimum", "minimum": "maximum", "argmin": "argmax", "zeros": "ones",
    "ones": "zeros", "zeros_like": "ones_like", "ones_like": "zeros_like", "any": "all",
    "all": "any", "sqrt": "square", "square": "sqrt", "max": "min", "min": "max", "sum": "max",
}  # fmt: skip


def replacements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Return what may stand in a node's place, each with a word for it."""

    def other(what: str, **fields: object) -> tuple[str, ast.AST]:
        new = copy.copy(node)
        for name, value in fields.items():
            setattr(new, name, value)
        return what, new

    match node:
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in OPERATORS:
            new = OPERATORS[type(op)]
            yield other(f"{type(op).__name__} to {new.__name__}", op=new())
        case ast.Compare(ops=[op]):
            for new in COMPARISONS.get(type(op), ()):
                yield other(f"{type(op).__name__} to {new.__name__}", ops=[new()])
        case ast.UnaryOp(op=op, operand=operand):
            yield f"without {type(op).__name__}", operand
        case ast.Constant(value=bool(value)):
            yield other(f"{value} to {not value}", value=not value)
        case ast.Constant(value=int(value) | float(value)):
            yield other(f"{value} to {value + 1}", value=value + 1)
        case ast.IfExp(body=body, orelse=orelse):
            yield other("branches exchanged", body=orelse, orelse=body)
        case ast.If(test=test):
            yield other("condition negated", test=ast.UnaryOp(ast.Not(), test))
        case ast.Call(func=ast.Attribute(attr="where"), args=[test, a, b]):
            yield other("where exchanged", args=[test, b, a])
        case ast.Call(func=ast.Attribute(attr="stop_gradient"), args=[value]):
            yield "without stop_gradient", value
        case ast.Call(func=ast.Attribute(attr=name) as function) if name in CALLS:
            new = copy.copy(function)
            new.attr = CALLS[name]
            yield other(f"{name} to {new.attr}", func=new)


def places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Return every node below one with where it hangs; not annotations and decorators."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for i, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                yield node, field, i if isinstance(value, list) else None, child
                yield from places(child)


def mutants(path: Path) -> Iterator[tuple[str, ast.Module]]:
    """Return the trees of all mutants of a file, by name; each is valid until the next."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for parent, field, i, node in list(places(tree)):
        for what, new in replacements(node):
            ast.copy_location(new, node)
            where = f"{node.lineno}:{node.col_offset}-{node.end_col_offset}"
            name = f"{path.name}:{where} {what}"
            _hang(parent, field, i, new)
            yield name, tree
            _hang(parent, field, i, node)


def _hang(parent: ast.AST, field: str, i: int | None, node: ast.AST) -> None:
    if i is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[i] = node


class _FirstFailure:
    """Remember the first test that fails."""

    name = ""

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid

    pytest_collectreport = pytest_runtest_logreport


def _test(module: str | None, code: object, killers: list[str]) -> str:
    """Run the tests with a module's code in its place; return the one that fails, or nothing."""
    import pytest

    load = importlib.machinery.SourceFileLoader.get_code
    importlib.machinery.SourceFileLoader.get_code = lambda self, name: (
        code if name == module else load(self, name)
    )
    watch = _FirstFailure()
    first = SOONEST.get((module or "").rpartition(".")[2], TESTS[0])
    ordered = [first, *(name for name in TESTS if name != first)]
    files = [str(ROOT / "tests" / name) for name in ordered]
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-W", "ignore", "-k", LEFT_OUT]
    with tempfile.TemporaryFile("w") as silence:
        os.dup2(silence.fileno(), 1)
        os.dup2(silence.fileno(), 2)
        status = pytest.main([*options, *killers, *files], plugins=[watch])
    return watch.name or ("" if status == 0 else f"status {int(status)}")


def examine(module: str | None, code: object, killers: list[str]) -> str:
    """Return what `_test` returns in a process of its own; "time" where that takes too long."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, _test(module, code, killers).encode())
        os._exit(0)
    os.close(write)
    until = time.monotonic() + SECONDS
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "time"
        time.sleep(0.05)
    with os.fdopen(read) as found:
        return found.read() if ended[1] == 0 else f"ended by {ended[1]}"


def prepare() -> None:
    """Import all libraries once; modules of cpdjax are imported anew by every mutant."""
    os.chdir(ROOT)
    runpy.run_path(str(ROOT / "tests" / "conftest.py"))  # flags of JAX come before its import
    sys.path.insert(0, str(ROOT / "tests"))
    import hypothesis
    import oracle  # noqa: F401  for scikit-learn

    import cpdjax  # noqa: F401

    # No time goes into smaller examples of a failure, and a busy machine is no failure.
    generate = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    calm = {"suppress_health_check": list(hypothesis.HealthCheck), "deadline": None}
    hypothesis.settings.register_profile(
        "m", phases=generate, derandomize=True, database=None, **calm
    )
    hypothesis.settings.load_profile("m")
    for name in [n for n in sys.modules if n.partition(".")[0] in ("cpdjax", "oracle", "helpers")]:
        del sys.modules[name]


def main() -> None:
    """Run a sample of mutants and print which survive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=150, help="how many mutants are run")
    parser.add_argument("--log", type=Path, default=ROOT / "build" / "mutants.jsonl")
    parser.add_argument("--only", default="", help="run mutants whose name holds this text")
    given = parser.parse_args()
    files = {path.name: path for path in sorted((ROOT / "cpdjax" / "kernel").glob("*.py"))}
    names = [n for path in files.values() for n, _ in mutants(path) if given.only in n]
    # In random order, so that a run that is interrupted is an even sample too.
    chosen = random.Random(0).sample(names, min(given.sample, len(names)))
    given.log.parent.mkdir(parents=True, exist_ok=True)
    lines = given.log.read_text().splitlines() if given.log.exists() else []
    done = {entry["mutant"]: entry["failed"] for entry in map(json.loads, lines)}
    prepare()
    if not done and (failed := examine(None, None, [])):
        sys.exit(f"without any change a test fails: {failed}")
    for name in chosen:
        if name in done:
            continue
        path = files[name.partition(":")[0]]
        tree = next(tree for found, tree in mutants(path) if found == name)
        code = compile(ast.fix_missing_locations(tree), str(path), "exec")
        # Tests that noticed other faults of the same file are tried before all others.
        killers = Counter(t for m, t in done.items() if m.startswith(path.name) and "::" in t)
        often = [test for test, _ in killers.most_common(4)]
        started = time.monotonic()
        done[name] = examine(f"cpdjax.kernel.{path.stem}", code, often)
        entry = {"mutant": name, "failed": done[name], "seconds": time.monotonic() - started}
        with given.log.open("a") as log:
            log.write(json.dumps(entry) + "\n")
        print(f"{entry['seconds']:5.0f} s  {name}: {done[name] or 'SURVIVES'}", flush=True)
    alive = [name for name in sorted(chosen) if done[name] in ("", "time")]
    print(f"{len(names)} mutants, {len(chosen)} run, {len(alive)} survive", *alive, sep="\n")


if __name__ == "__main__":
    main()
