"""What only says something, such as help, starts without the libraries that compute."""

import resource
import subprocess
import sys

import pytest

#: Libraries that take a noticeable time to import.
HEAVY = {
    *("jax", "jaxlib", "e3nn_jax", "flax", "optax", "orbax", "ase", "scipy", "sympy", "vesin"),
    *("pandas", "xarray", "zarr", "h5py", "h5netcdf", "pyarrow", "matplotlib", "sklearn", "rdkit"),
}
CODE = """
import sys
from cpdjax.cli.start import main
try:
    main()
finally:
    print("imported:", *{name.partition(".")[0] for name in sys.modules})
"""


def started(*arguments):
    """Standard output, the libraries that were imported, and the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed, _, libraries = done.stdout.rpartition("imported:")
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return printed, set(libraries.split()), taken


@pytest.mark.parametrize(
    ("arguments", "words", "seconds"),
    [
        (["--help"], "sweep", 1.5),
        (["models", "--layers"], "1008x0e", 2.0),
        (["sweep", "--help"], "--alphas", 1.5),
        (["spaces", "--help"], "--permutations", 1.5),
        (["models", "convert", "-h"], "--head", 1.5),
        (["--version"], "cpdjax ", 1.5),
    ],
)
def test_nothing_heavy_is_imported(arguments, words, seconds):
    printed, libraries, taken = started(*arguments)
    assert words in printed
    assert not libraries & HEAVY
    assert taken < seconds  # of the CPU, a third of it on a quiet machine


def test_every_command_has_its_help_without_anything_heavy():
    code = f"""
import sys
from typer.main import get_command
from cpdjax.cli.app import app
def walk(command, name):
    with command.make_context(name, [], resilient_parsing=True) as context:
        command.get_help(context)  # which prints it
        for child in getattr(command, "commands", {{}}).values():
            walk(child, child.name)
walk(get_command(app), "cpdjax")
assert not {HEAVY!r} & set(sys.modules), sorted(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=120, check=True
    )
    assert all(option in done.stdout for option in ("--alphas", "--held-out", "--head"))


def test_python_imports_what_it_uses():
    code = """
import sys, cpdjax
assert cpdjax.__version__[0].isdigit()
assert "jax" not in sys.modules
cpdjax.cpd, cpdjax.learning_curve
assert not {"e3nn_jax", "flax", "pandas", "scipy", "xarray", "matplotlib"} & set(sys.modules)
cpdjax.models.load("cpdjax:painn-qm9-gap")
assert not {"optax", "orbax", "matplotlib", "zarr", "xarray"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
