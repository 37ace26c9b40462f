"""Golden of how alike spaces are, by other people's programs; environment_spaces.txt pins them.

Three spaces of 120 rows share hidden factors. They are compared three times: as scalars of
molecules less their mean ("none"; for the errors that of the training rows), less what linear
regression on composition predicts ("ols"), and as vectors, rows being components of molecules, less
nothing ("vectors").

- scikit-matter: the global feature reconstruction error of each fold, a ridge from a to b. Its
  scaler gives the training rows a total variance of 1, and ours gives their columns a mean variance
  of 1, so that our penalty is divided by the number of a's columns.
- netrep: the angles whose cosines are the biased linear CKA, and the normalised nuclear norm of
  Procrustes.
- dcor: debiased linear CKA, since the product of U-centred matrices (Székely and Rizzo, Ann.
  Statist. 42, 2382, 2014) of Gram matrices without their diagonals is the estimator HSIC₁ (Song
  et al., J. Mach. Learn. Res. 13, 1393, 2012); not of vectors, whose mean is zero by symmetry and
  not estimated.
- scikit-learn: canonical correlations, of all columns and of the principal components that hold
  99 % of the variance, as in SVCCA.
- dadapy: information imbalance, the share of common neighbours, and the dimension by TwoNN.

All but the first see all rows: the held-out residuals of all folds, or the features, centred.
"""

import warnings
from functools import partial
from pathlib import Path

import dcor
import numpy as np
from dadapy import Data
from dadapy.metric_comparisons import MetricComparisons
from netrep.metrics import LinearCKA, LinearMetric
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, Ridge
from skmatter.metrics import global_reconstruction_error
from skmatter.preprocessing import StandardFlexibleScaler

ROWS, WIDTHS, FOLDS, ALPHA, NEIGHBOURS = 120, (7, 12, 20), 5, 1.0, 10
PAIRS = [(a, b) for a in range(len(WIDTHS)) for b in range(len(WIDTHS))]


class Zero:
    """Predicts nothing, which is what is taken from vectors."""

    def fit(self, c, x):
        return self

    def predict(self, c):
        return 0


def make(seed):
    """Spaces that see composition, partly bent, and some of eight hidden factors."""
    rng = np.random.default_rng(seed)
    c = rng.binomial(3, [0.3, 0.4, 0.5], (ROWS, 3)).astype(float)
    hidden = np.hstack([c, 0.3 * c**2, rng.normal(size=(ROWS, 8))])
    spaces = []
    for width in WIDTHS:
        seen = hidden @ (rng.normal(size=(14, width)) * (rng.random((14, 1)) < 0.7))
        spaces.append(seen + rng.normal(size=(ROWS, width)) + rng.normal(size=width))
    return spaces, c


def residuals(model, c, x, trained):
    """What a model of composition, fitted on some rows, leaves of all rows."""
    return x - model.fit(c[trained], x[trained]).predict(c)


def reconstruction(x, y, trained, centred):
    """The error of scikit-matter in one fold, with our penalty: our columns have unit variance."""
    scaler = StandardFlexibleScaler(with_mean=centred)
    penalty = ALPHA * np.mean(scaler.fit_transform(x[trained]) ** 2)
    return global_reconstruction_error(
        x,
        y,
        train_idx=np.flatnonzero(trained),
        test_idx=np.flatnonzero(~trained),
        scaler=scaler,
        estimator=Ridge(alpha=penalty, fit_intercept=centred, solver="cholesky"),
    )


def u_centred(x):
    gram = x @ x.T
    np.fill_diagonal(gram, 0)
    return dcor.u_centered(gram)


def debiased(x, y):
    x, y = u_centred(x), u_centred(y)
    return dcor.u_product(x, y) / np.sqrt(dcor.u_product(x, x) * dcor.u_product(y, y))


def canonical(x, y, share=None):
    """The mean squared canonical correlation."""
    if share is not None:
        x, y = (PCA(share, svd_solver="full").fit_transform(a) for a in (x, y))
    number = min(x.shape[1], y.shape[1])
    scores = CCA(number, scale=False, tol=1e-15, max_iter=1_000_000).fit_transform(x, y)
    found = [np.corrcoef(u, v)[0, 1] for u, v in zip(*(s.T for s in scores), strict=True)]
    q = [np.linalg.qr(a - a.mean(0))[0] for a in (x, y)]
    assert np.allclose(found, np.linalg.svd(q[0].T @ q[1])[1], atol=1e-6)  # it converged
    return np.mean(np.square(found))


def imbalance(x, y):
    pair = MetricComparisons(coordinates=x).return_information_imbalace(y, subset_size=len(x))
    return pair[0][0]


def dimension(x):
    return Data(coordinates=x).compute_id_2NN()[0]


def overlap(x, y):
    return MetricComparisons(coordinates=x).return_data_overlap(coordinates=y, k=NEIGHBOURS)


def held_out(spaces, c, fold, model):
    """What is left of every row by the model that has not seen it, and the same of every fold."""
    left = [[residuals(model, c, x, fold != k) for x in spaces] for k in range(FOLDS)]
    if isinstance(model, DummyRegressor):  # nothing but a mean is taken, which is that of all rows
        return spaces, left
    rows = np.arange(ROWS)
    return [np.stack([r[a] for r in left])[fold, rows] for a in range(len(spaces))], left


def compare(spaces, c, fold, model, centred=True):
    """All numbers of one case, each (a, b), a number for every fold of the errors."""
    held, left = held_out(spaces, c, fold, model)
    held = [x - x.mean(0) for x in held] if centred else held
    errors = [
        [reconstruction(r[a], r[b], fold != k, centred) for a, b in PAIRS]
        for k, r in enumerate(left)
    ]
    measures = {
        "cka_angle": LinearCKA(center_columns=centred).score,
        "procrustes_angle": LinearMetric(center_columns=centred).fit_score,
        "imbalance": imbalance,
        "shared_neighbours": overlap,
    }
    if centred:
        svcca = partial(canonical, share=0.99)
        measures |= {"cka_debiased": debiased, "cca": canonical, "svcca": svcca}
    found = {name: [call(held[a], held[b]) for a, b in PAIRS] for name, call in measures.items()}
    square = (len(spaces), len(spaces))
    return {
        "error": np.reshape(errors, (FOLDS, *square)),
        "dimension": np.array([dimension(x) for x in held]),
    } | {name: np.reshape(values, square) for name, values in found.items()}


def main():
    """Make the golden."""
    warnings.simplefilter("ignore", UserWarning)  # dadapy's: all rows are one subset, as wanted
    spaces, c = make(0)
    fold = np.random.default_rng(1).permutation(np.arange(ROWS) % FOLDS)
    molecule = np.repeat(np.arange(ROWS // 3), 3)
    cases = {
        "none": (fold, DummyRegressor(), True),
        "ols": (fold, LinearRegression(), True),
        "vectors": (molecule % FOLDS, Zero(), False),
    }
    arrays = {"x": np.hstack(spaces), "c": c, "owner": np.repeat(range(len(WIDTHS)), WIDTHS)}
    for case, (folds, model, centred) in cases.items():
        found = compare(spaces, c, folds, model, centred)
        arrays |= {f"{case}/fold": folds} | {f"{case}/{name}": v for name, v in found.items()}
        for name, values in found.items():
            print(case, name, np.round(values, 3).tolist())
    np.savez_compressed(Path(__file__).parent / "spaces.npz", **arrays)


if __name__ == "__main__":
    main()
