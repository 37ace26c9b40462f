"""The import rule: two wings that know nothing of each other, and what stands above them."""

import ast
from itertools import chain
from pathlib import Path

import pytest
from helpers import ROOT

import cpdjax

ROOT_FILES = {
    *("characters", "errors", "files", "locks", "hashing", "checksums", "validation"),
    *("real_arrays", "configuration", "irreps", "bounds", "verification", "compilation"),
    *("provenance", "processes", "presence", "omissions", "displays", "accessor"),
    *("machine", "progress"),  # folders that all but the kernel may import, as they may the files
}
#: What the modules of each folder may import from cpdjax, beside their own folder and the files at
#: the root.
MAY_IMPORT = {
    "kernel": set(),  # of the root files, `errors` and `displays` alone
    "probes": {"kernel"},
    "uncertainty": {"kernel", "probes"},
    "likeness": {"kernel", "probes", "uncertainty"},
    "data": set(),
    "models": {"data"},
    "features": {"data", "models"},
    "sweeps": {"kernel", "probes", "uncertainty", "data", "models", "features"},
}
MAY_IMPORT["sklearn"] = {"kernel"}
MAY_IMPORT["checks"] = {*MAY_IMPORT["sweeps"], "sweeps"}
MAY_IMPORT["studies"] = {*MAY_IMPORT["checks"], "checks"}
MAY_IMPORT["representations"] = {*MAY_IMPORT["sweeps"], "sweeps", "likeness"}
MAY_IMPORT["reports"] = {*MAY_IMPORT["studies"], "studies", "likeness", "representations"}
#: The one root file that points up, which `test_what_points_up_is_imported_on_use` holds to that.
UPWARD = {"accessor": {"reports", "sweeps"}}
MAY_IMPORT["cli"] = {*MAY_IMPORT["reports"], "reports"}

#: The same inside `cpdjax.models`, whose files at the root are listed one by one.
MODELS_MAY_IMPORT = {
    "graph": set(),
    "interface": {"graph"},
    "conformance": {"interface"},
    "limits": {"interface"},
    "prediction": {"interface", "limits"},
    "wrapped": {"graph", "interface", "prediction"},
    "objects": {"conformance", "interface", "naming"},
    "encoder": {"graph", "interface", "prediction", "shown"},
    "blocks": {"graph", "hyperparameters", "interface"},
    "weights": {
        *("graph", "hyperparameters", "interface", "encoder", "blocks"),
        *("registry", "naming", "runs"),
    },
    "descriptors": {"interface", "prediction", "shown"},
    "architectures": {
        *("graph", "hyperparameters", "interface", "encoder", "blocks", "weights", "descriptors"),
    },
    "registry": {"interface"},
    "shown": {"cards", "interface"},
    "hyperparameters": set(),
    "naming": {"registry"},
    "runs": {"naming"},
    "zoo": {"naming", "runs"},
    "cards": {"interface", "naming", "registry", "runs"},
    "listing": {"__init__", "cards", "interface", "naming", "weights"},
}
MODELS_MAY_IMPORT["__init__"] = {*MODELS_MAY_IMPORT, "untrained"}
MODELS_MAY_IMPORT["untrained"] = {"encoder", "naming", "weights", "training"}
MODELS_MAY_IMPORT["training"] = {*MODELS_MAY_IMPORT, "architectures", "__init__"}
ROOM = 20  # files in one folder


def modules():
    """Every module of the package by its dotted name, with its file."""
    places = ((ROOT / "cpdjax", "cpdjax"), (ROOT / "models", "cpdjax.models"))
    for folder, package in places:
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join([package, *parts]), path


MODULES = dict(modules())


def imported(path):
    """The modules of cpdjax that a file imports, each by the name of its file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import, which hides from these tests"
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "cpdjax":
            for alias in node.names:
                yield from _file_of(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Import):
            yield from chain.from_iterable(
                _file_of(a.name) for a in node.names if a.name.startswith("cpdjax")
            )


def _file_of(dotted):
    for name in (dotted, f"{dotted}.__init__", dotted.rpartition(".")[0]):
        if name in MODULES:
            return [name]
    return [f"{dotted.rpartition('.')[0]}.__init__"]


def room(name):
    """The folder at the root that a module is in, or its own name where it is a root file."""
    return name.split(".")[1]


def arrows():
    for name, path in MODULES.items():
        for other in imported(path):
            yield name, other


def test_every_import_goes_down():
    wrong = []
    for name, other in arrows():
        ours, theirs = room(name), room(other)
        if ours == theirs or ours == "__init__":
            continue
        if theirs == "__init__":  # what a caller imports, which binds every module to all others
            if ours != "cli":
                wrong.append((name, other))
        elif theirs in ROOT_FILES:
            if ours == "kernel" and theirs not in ("errors", "displays"):
                wrong.append((name, other))
        elif theirs in UPWARD.get(ours, ()):
            continue
        elif ours in ROOT_FILES or theirs not in MAY_IMPORT[ours]:
            wrong.append((name, other))
    assert not wrong


def test_every_import_inside_models_goes_down():
    wrong = []
    for name, other in arrows():
        if room(name) == room(other) == "models":
            ours, theirs = name.split(".")[2], other.split(".")[2]
            if ours != theirs and theirs not in MODELS_MAY_IMPORT[ours]:
                wrong.append((name, other))
    assert not wrong


def test_no_module_imports_itself_through_others():
    below = {name: set(imported(path)) - {name} for name, path in MODULES.items()}
    for name in UPWARD:
        own = f"cpdjax.{name}"
        below[own] = {other for other in below[own] if room(other) in ROOT_FILES}
    while True:
        ground = {name for name, needs in below.items() if not needs}
        if not ground:
            break
        below = {n: needs - ground for n, needs in below.items() if n not in ground}
    assert not below


def test_what_points_up_is_imported_on_use():
    for name, rooms in UPWARD.items():
        tree = ast.parse(MODULES[f"cpdjax.{name}"].read_text(encoding="utf-8"))
        at_once = [n.module for n in tree.body if isinstance(n, ast.ImportFrom)]
        assert not rooms & {module.split(".")[1] for module in at_once if "cpdjax." in module}


def test_the_kernel_imports_jax_and_nothing_else():
    allowed = {"jax", "jaxtyping", "numpy", "cpdjax", "__future__"}
    standard = {"collections", "dataclasses", "functools", "typing"}
    for path in (ROOT / "cpdjax" / "kernel").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {n.split(".")[0] for n in names} <= allowed | standard, path.name


def test_no_module_at_the_root_has_the_name_of_a_public_function():
    at_root = {p.stem for p in (ROOT / "cpdjax").iterdir() if not p.stem.startswith("_")}
    functions = {n for n in cpdjax.__all__ if callable(getattr(cpdjax, n))}
    assert not at_root & functions
    assert len(cpdjax.__all__) == 46


@pytest.mark.parametrize("top", ["cpdjax", "models"])
def test_no_folder_is_crowded(top):
    for folder in [ROOT / top, *(p for p in (ROOT / top).rglob("*") if p.is_dir())]:
        assert len(list(folder.glob("*.py"))) <= ROOM, folder


def test_every_folder_is_in_the_wheel():
    listed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, path in MODULES.items():
        package = name.rpartition(".")[0]
        assert f'"{package}"' in listed, path


def test_every_folder_says_what_it_holds():
    for name in MODULES:
        folder = Path(MODULES[name]).parent
        tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), folder
