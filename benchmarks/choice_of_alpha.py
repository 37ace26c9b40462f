"""Compare rules that choose Ridge's α, on real features: bias, regret, spread, failures, cost.

Every rule sees training folds alone. What it chose is scored on the held-out fold, as a user would
see it, and on 2,000 molecules that no draw holds, which stand for all molecules:

    bias      score on held-out folds less score on the other molecules
    regret    the best score that any α of the grid has there, less that of the chosen α
    spread    standard deviation of the score of held-out folds over draws of molecules
    failures  share of folds with R² below −1, and the worst of them

Written in NumPy from the definitions, without cpdjax's kernel. Run it from the project's root:

    python benchmarks/choice_of_alpha.py --out build/alpha
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import cpdjax
from cpdjax.models.zoo import qm9_probe

TARGETS = ("gap", "homo", "lumo", "mu", "alpha", "r2", "zpve", "cv")
ZOO = tuple(
    f"{architecture}-qm9-{objective}"
    for architecture in ("schnet", "dimenet++", "painn", "visnet", "mace")
    for objective in ("gap", "energy")
)
KINDS = {
    "descriptor": ("ani-2x-aev", "coulomb-spectrum"),
    "zoo": ZOO,
    "pretrained": ("so3lr", "chgnet-0.3.0"),
}
#: Composition fixes features of networks never exactly, so float32 serves them.
DTYPES = {"ani-2x-aev": "float64"}
DRAWS = {100: 6, 200: 6, 500: 4, 1000: 3, 2000: 2}
GRID = 10.0 ** (np.arange(-12, 13) / 2)
POOL, OTHERS, FOLDS = 4000, 2000, 5


def main() -> None:
    """Extract what is missing, compare the rules, write two tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("build/alpha"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    molecules = qm9_probe(POOL + OTHERS, seed=1)
    c = cpdjax.composition(molecules)
    y = np.column_stack([molecules.target(name) for name in TARGETS])
    for kind, models in KINDS.items():
        for model in models:
            path = out / f"{model}.csv"
            if not path.exists():
                x = features(model, molecules, out)
                frame = pd.DataFrame(rows(x, c, y)).assign(kind=kind, model=model)
                frame.to_csv(path, index=False)
                print(model, x.shape, flush=True)
    found = pd.concat(map(pd.read_csv, sorted(out.glob("*.csv"))), ignore_index=True)
    print(summary(found, ["kind", "size", "rule"]).to_markdown(index=False, floatfmt=".3f"))


def features(model: str, molecules: cpdjax.Structures, folder: Path) -> np.ndarray:
    """Return all scalars of a model's last interaction layer, computed once."""
    kept = folder / f"{model}.npy"
    if not kept.exists():
        found = cpdjax.extract(model, molecules, dtype=DTYPES.get(model, "float32"))
        layers = [k for k in found if k.startswith("interaction")] or list(found)
        np.save(kept, np.asarray(found.scalars(layers[-1]), np.float64))
    return np.load(kept)


def rows(x: np.ndarray, c: np.ndarray, y: np.ndarray) -> Iterator[dict[str, object]]:
    """Yield a row for every size, draw, fold, target and rule."""
    others = np.arange(POOL, POOL + OTHERS)
    for size, draws in DRAWS.items():
        for draw in range(draws):
            chosen = np.random.default_rng(draw).permutation(POOL)[:size]
            for fold, held in enumerate(np.array_split(chosen, FOLDS)):
                train = np.setdiff1d(chosen, held)
                began = time.process_time()
                errors, scores = fitted(x, c, y, train, (held, others))
                seconds = time.process_time() - began
                for rule, index in rules(errors, y[train]).items():
                    for t, target in enumerate(TARGETS):
                        here, there = scores[:, index[t], t]
                        yield {
                            "size": size, "draw": draw, "fold": fold, "target": target,
                            "rule": rule, "columns": x.shape[1], "alpha": GRID[index[t]],
                            "held_out": here, "others": there,
                            "best": scores[1, :, t].max(), "seconds": seconds,
                        }  # fmt: skip


def fitted(
    x: np.ndarray, c: np.ndarray, y: np.ndarray, train: np.ndarray, held: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return leave-one-out errors (kind, alpha, target) and R² (held, alpha, target) of every α.

    The first kind holds the projection fixed while a molecule is left out, as RidgeCV on residual
    features does. The second fits composition and features anew without the molecule: in closed
    form the leverages of both add up, since the residual is orthogonal to composition.
    """
    ones = np.column_stack([np.ones(len(c)), c])
    z = x - ones @ np.linalg.lstsq(ones[train], x[train], rcond=None)[0]
    # What composition explains of a feature to rounding is no feature, as in cpdjax.
    z = z[:, z[train].std(0) > 1.4e-6 * x[train].std(0)]
    z = (z - z[train].mean(0)) / z[train].std(0)
    centre = y[train].mean(0)
    basis = np.linalg.svd(ones[train], full_matrices=False)
    basis = basis[0][:, basis[1] > 1e-10 * basis[1][0]]
    beside = y[train] - basis @ (basis.T @ y[train])  # what composition leaves of the targets
    u, s, v = np.linalg.svd(z[train], full_matrices=False)
    errors, scores = [], []
    for alpha in GRID:
        shrunk = s / (s**2 + alpha)
        fit = u @ ((s * shrunk)[:, None] * (u.T @ (y[train] - centre)))
        leverage = (u**2) @ (s * shrunk)
        fixed = left_out(y[train] - centre - fit, 1 - 1 / len(train) - leverage)
        refitted = left_out(beside - fit, 1 - (basis**2).sum(1) - leverage)
        errors.append([fixed, refitted])
        weights = v.T @ (shrunk[:, None] * (u.T @ (y[train] - centre)))
        scores.append([r2(y[rows], centre + z[rows] @ weights) for rows in held])
    return np.array(errors).swapaxes(0, 1), np.array(scores).swapaxes(0, 1)


def left_out(residual: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the sums of squared leave-one-out errors of a linear smoother."""
    return ((residual / np.maximum(kept, 1e-15)[:, None]) ** 2).sum(0)


def rules(errors: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Return, for every rule, the place in the grid that it chooses for each target."""
    fixed, refitted = errors
    targets = y.shape[1]
    one = np.full(targets, int(np.argmin(np.abs(np.log(GRID)))))
    joint = np.full(targets, (refitted / refitted.min(0)).sum(1).argmin())
    return {
        "α = 1": one,
        "leave-one-out, projection fixed": fixed.argmin(0),
        "leave-one-out": refitted.argmin(0),
        "joint": joint,
    }


def r2(y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return R² of every target about the mean of its own rows."""
    return 1 - ((y - predicted) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)


def summary(found: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return bias, regret, spread and failures of every group."""
    draws = found.groupby([*by, "model", "target", "draw"], sort=False)
    means = draws[["held_out", "others", "best"]].mean()
    spread = means.groupby([*by, "model", "target"], sort=False)["held_out"].std()
    made = found.groupby(by, sort=False)
    return pd.DataFrame(
        {
            "R² there": made["others"].median(),
            "bias (median)": (found["held_out"] - found["others"]).groupby(
                [found[k] for k in by], sort=False).median(),
            "regret": (found["best"] - found["others"]).groupby(
                [found[k] for k in by], sort=False).median(),
            "regret, mean": (found["best"] - found["others"]).groupby(
                [found[k] for k in by], sort=False).mean(),
            "spread": spread.groupby(by, sort=False).median(),
            "below −1": made["held_out"].agg(lambda r: (r < -1).mean()),
            "worst": made["held_out"].min(),
        }
    ).reset_index()  # fmt: skip


if __name__ == "__main__":
    main()
