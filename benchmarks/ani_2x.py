"""The handcrafted family under three probes: ANI-2x by Ridge and by networks, as means and sums.

The networks come from github isayev/ASE_ANI, `ani_models/ani-2x_8x` (MIT), which this converts:

    cpdjax models convert ani_models/ani-2x_8x --out ani-2x
    nice python benchmarks/ani_2x.py ani-2x --out ani-2x-features

Layer `embedding` is the environment vector (AEV) itself, 1,008 handcrafted numbers; the others are
hidden layers of the networks. All probes see the residual of the same folds and its unit variance:
Ridge with α = 1, Ridge whose α leave-one-out chooses, and the multilayer perceptron of the checks.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from timing import write_csv

from cpdjax import compilation, composition, cpd, models
from cpdjax.checks import mlp
from cpdjax.features.features import as_means
from cpdjax.features.store import extract_to, read_features
from cpdjax.irreps import invariants
from cpdjax.probes.folds import kfold
from cpdjax.probes.least_squares import beyond_rounding, residual
from cpdjax.probes.r2 import r2
from cpdjax.progress import shown, stage
from cpdjax.sweeps.inputs import molecules
from cpdjax.uncertainty.comparison import estimate


def networks(
    x: Float[np.ndarray, "molecule feature"],
    counts: Float[np.ndarray, "molecule element"],
    y: Float[np.ndarray, " molecule"],
    ids: Int[np.ndarray, " molecule"],
) -> Float[np.ndarray, " fold"]:
    """Return the held-out R² of a network trained on the residual of each fold."""
    scores = []
    for fold in range(ids.max() + 1):
        train = ids != fold
        left = residual(x, counts, train)
        kept = beyond_rounding(left[train], x[train])
        left = left[:, kept] / left[train][:, kept].std(0)
        scaled = ((y - y[train].mean()) / y[train].std())[:, None]
        found = mlp.predict(left[train][None], scaled[train][None], left[~train][None], seeds=1)
        scores.append(r2(scaled[~train], found[0, 0])[0])
    return np.array(scores)


def main() -> None:
    """Write the table: a line for each layer, pooling and probe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="the folder of the converted networks")
    parser.add_argument("--n", type=int, default=2000, help="molecules of qm9-probe")
    parser.add_argument("--out", type=Path, default=Path("ani-2x-features"))
    parser.add_argument("--table", type=Path, default=Path("notebooks/tables/ani-2x.csv"))
    given = parser.parse_args()
    compilation.keep()
    model = models.load(Path(given.model))
    structures = molecules("qm9-probe", given.n, known={model.name: model.elements})
    y, counts = structures.target("gap"), composition(structures)
    with shown(True):
        sums = read_features(extract_to(given.out / "sum.zarr", model, structures, pool="sum"))
        ids = kfold(len(structures), 5, seed=0)
        lines = []
        for pooled in (as_means(sums, structures), sums):
            for layer in sums:
                with stage(f"{layer}, {pooled.pool}"):
                    x = np.asarray(invariants(pooled[layer]))
                    one, loo = (cpd(x, counts, y, folds=ids, alphas=a) for a in (1.0, "loo"))
                    found = {
                        "ridge, alpha 1": one.r2_geom,
                        "ridge, alpha by leave-one-out": loo.r2_geom,
                        "network": networks(x, counts, y, ids),
                    }
                for probe, scores in found.items():
                    said = estimate(np.asarray(scores).reshape(1, -1))
                    values = (said.value, said.low, said.high, float(np.median(scores)))
                    named = zip(("r2_geom", "low", "high", "median"), values, strict=True)
                    scored = {name: f"{value:.3f}" for name, value in named}
                    lines.append(
                        {"layer": layer, "features": x.shape[1], "pooling": pooled.pool}
                        | {"probe": probe, **scored}
                    )
    write_csv(given.table, lines)


if __name__ == "__main__":
    main()
