"""Goldens made anew by the live references, which must agree with the stored ones.

Each script needs an environment of its own, which `goldens/environment_NAME.txt` pins. The path of
its interpreter is given by a variable, such as

    CPDJAX_REFERENCE_SCHNET=envs/schnet/bin/python pytest -m parity tests/models/test_parity.py
"""

import os
import shutil
import subprocess

import numpy as np
import pytest
from helpers import GOLDENS

# `make_zoo` needs no reference, and `make_mace_file` writes a file of torch, not an .npz.
NAMES = sorted(
    path.stem.removeprefix("make_")
    for path in GOLDENS.glob("make_*.py")
    if path.stem not in ("make_zoo", "make_mace_file")
)


@pytest.mark.parity
@pytest.mark.parametrize("name", NAMES)
def test_a_golden_made_anew_is_the_stored_one(name, tmp_path):
    variable = f"CPDJAX_REFERENCE_{name.upper()}"
    python = os.environ.get(variable)
    if python is None:
        pytest.skip(f"{variable} names no interpreter with the reference")
    for script in GOLDENS.glob("*.py"):
        shutil.copy(script, tmp_path)  # scripts write beside themselves
    command = [os.path.abspath(python), f"make_{name}.py"]
    subprocess.run(command, cwd=tmp_path, check=True)
    made = sorted(tmp_path.glob("*.npz"))
    assert made, "the script wrote no golden"
    for path in made:
        with np.load(path) as anew, np.load(GOLDENS / path.name) as stored:
            assert set(stored.files) <= set(anew.files)
            for key in stored.files:
                if stored[key].dtype.kind == "f":
                    np.testing.assert_allclose(
                        anew[key], stored[key], rtol=1e-9, atol=1e-11, err_msg=f"{path.name} {key}"
                    )
                else:
                    np.testing.assert_array_equal(anew[key], stored[key], err_msg=key)
