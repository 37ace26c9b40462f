"""What models of crystals know beyond composition: perovskites and carbon, R²_comp beside R²_geom.

The data are those of CDVAE (Xie et al., 2021), github txie-93/cdvae, `data/perov_5` and
`data/carbon_24`: CSV files with a column of CIF text. Crystals are drawn from `val.csv`, and from
`test.csv` those on which each model's best layer is chosen. Features are kept, so that a command
that was stopped goes on where it was:

    nice python benchmarks/crystals.py DATA --models sevennet-0,chgnet-0.3.0 --out crystals
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
from timing import write_csv

from cpdjax import compilation, datasets
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, LeftOutWarning
from cpdjax.features.features import Features
from cpdjax.features.store import extract_to, read_features
from cpdjax.progress import shown, stage
from cpdjax.studies.crystals import records, study

FAMILIES = {"perov_5": ("heat_all", "heat_ref"), "carbon_24": ("energy_per_atom",)}
MODELS = "chgnet-0.3.0,sevennet-0,sevennet-l3i5"


def draw(data: Path, name: str, n: int, seed: int) -> Structures:
    """Return `n` crystals of a file, in random order: a small draw is the start of a larger one."""
    path = next(iter(sorted(data.glob(f"{name}.csv*"))), data / f"{name}.csv.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftOutWarning)  # row numbers and names
        whole = datasets.read(path)
    return whole.select(np.random.default_rng(seed).permutation(len(whole))[:n])


def features(model: str, crystals: Structures, out: Path) -> Features:
    """Return means over atoms, computed once and kept."""
    name = Path(model).name
    return read_features(extract_to(out / f"{crystals.name}-{name}.zarr", model, crystals))


def main() -> None:
    """Write the table, one line for each model, target, choice of layer and α."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of the CSV files")
    parser.add_argument("--models", default=MODELS, help=f"names or folders; by default {MODELS}")
    parser.add_argument("--n", type=int, default=2000, help="crystals that are scored")
    parser.add_argument("--others", type=int, default=500, help="crystals that choose the layer")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the draws")
    parser.add_argument("--out", type=Path, default=Path("crystals"), help="folder of the features")
    parser.add_argument("--table", type=Path, default=Path("notebooks/tables/crystals.csv"))
    given = parser.parse_args()
    compilation.keep()
    lines = []
    with shown(True):
        for family, targets in FAMILIES.items():
            crystals = draw(given.data, f"{family}-val", given.n, given.seed)
            others = draw(given.data, f"{family}-test", given.others, given.seed)
            models = given.models.split(",")
            own, theirs = (
                [features(m, of, given.out) for m in models] for of in (crystals, others)
            )
            for alpha in ("loo", 1.0):
                with stage(f"{family}, α {alpha}"):
                    found = study(crystals, own, targets, others=(others, theirs), alpha=alpha)
                lines += [
                    {"alpha": str(alpha), "crystals": len(crystals), **r} for r in records(found)
                ]
    write_csv(given.table, lines)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
