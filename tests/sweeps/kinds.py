"""Small sweeps of every kind of probe, with permutations and bootstrap, on all devices there are.

    python tests/sweeps/kinds.py FOLDER

keeps them in FOLDER/KIND, and says which devices took part in each.
"""

import sys
from pathlib import Path

import jax
import numpy as np
from atom_data import STRUCTURES, X
from tensor_data import FEW, toy

import cpdjax
from cpdjax.sweeps import probing, results
from cpdjax.uncertainty import bootstrap, resampling

SETTINGS = {
    **{"repeats": 3, "folds": 2, "seed": 4, "alphas": 1.0, "permutations": 9, "bootstrap": 10},
}
FORMULAS = ["CH4", "C2H6", "H2O", "CO2", "CH4O"] * 8
TABLE = {"formula": FORMULAS, "gap": X[:40, 0] + np.arange(40) % 3}
#: More units of one shape than a call on eight devices takes.
FLAT = {"flat": {str(i): X[:40, : 6 - i] + i for i in range(4)}}

KINDS = {
    "ridge": (FLAT, {"targets": TABLE, "sizes": [40]}),
    "atom": ({"mine": X}, {"dataset": STRUCTURES, "sizes": [40]}),
    **{
        kind: (toy(FEW, rows=kind), {"dataset": FEW, "sizes": [20], "irreps": irreps})
        for kind, irreps in {"equivariant": ["1o", "2e"], "atom-equivariant": ["2e"]}.items()
    },
}


def swept(kind, out=None):
    features, arguments = KINDS[kind]
    return cpdjax.sweep(features, probe=kind, out=out, **arguments, **SETTINGS)


def watched(program, seen):
    """The compiled function, which notes on how many devices its results lie."""

    def run(*arrays, **static):
        found = program(*arrays, **static)
        seen.add(len(jax.tree.leaves(found)[0].sharding.device_set))
        return found

    return run


def main(folder):
    seen = set()
    programs = {probing: "_probe", bootstrap: "_mean_scores", resampling: "_spread_out"}
    for module, name in programs.items():
        setattr(module, name, watched(getattr(module, name), seen))
    for kind in KINDS:
        seen.clear()
        results.save(swept(kind, folder / kind), folder / kind / "results.nc")
        print(kind, *seen)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
