"""Test every measure against other people's programs; `make_spaces.py` says which and how."""

import numpy as np
import oracle
import pytest
from helpers import GOLDENS

from cpdjax.likeness.dimension import two_nn
from cpdjax.likeness.formulas import linear_measures
from cpdjax.likeness.linear import LinearRow, linear_row
from cpdjax.likeness.neighbours import nearest, ranks, shared
from cpdjax.likeness.prepared import prepare
from cpdjax.likeness.procrustes import procrustes_row
from cpdjax.likeness.stack import Stack

ALPHA, NEIGHBOURS, FOLDS = 1.0, 10, 5
CASES = ("none", "ols", "vectors")


@pytest.fixture(scope="module")
def golden():
    """Return the arrays of the golden by name."""
    with np.load(GOLDENS / "spaces.npz") as file:
        return dict(file)


def stack_of(golden, case):
    """Return the golden's spaces side by side, with what folds and projections need."""
    rows = np.arange(len(golden["x"]))
    vectors = case == "vectors"
    return Stack(
        golden["x"],
        golden["owner"],
        unit=rows // 3 if vectors else rows,
        fold=golden[f"{case}/fold"],
        concepts=None if vectors else golden["c"],
        elements=golden["c"].shape[1],
        components=3 if vectors else 1,
    )


def prepared(golden, case, alpha=ALPHA, **more):
    return prepare(stack_of(golden, case), "ols" if case == "ols" else "none", alpha=alpha, **more)


def linear(golden, case, **more):
    """Return the linear measures of all pairs by name."""
    p = prepared(golden, case, **more)
    rows = [linear_row(p, p, a)[0] for a in range(p.stack.channels)]
    stacked = LinearRow(*(np.stack(parts) for parts in zip(*rows, strict=True)))
    return linear_measures(stacked, p.own, p.own, p.rows)


def residual(golden, case, trained):
    """Return what is left of all rows by what is fitted on some, by scikit-learn."""
    x, c = golden["x"], golden["c"]
    if case == "ols":
        return oracle.ols(x, c, trained)
    return x - x[trained].mean(0) if case == "none" else x


def unit(golden, case):
    """Return the ratio of 1 − R² and of scikit-matter's error squared: (fold, channel).

    Their error is the mean squared distance of a held-out row, where the training rows have a total
    variance of 1. R² refers to the held-out rows' own variance, about their own mean.
    """
    ratios = []
    for k in range(FOLDS):
        held = golden[f"{case}/fold"] == k
        left = residual(golden, case, ~held)
        about = 0 if case == "vectors" else left[held].mean(0)
        of_column = held.sum() * left[~held].var(0), ((left[held] - about) ** 2).sum(0)
        trained, tested = (np.bincount(golden["owner"], v) for v in of_column)
        ratios.append(trained / tested)
    return np.stack(ratios)


@pytest.mark.parametrize("case", CASES)
def test_r2_is_scikit_matters_reconstruction_error(golden, case):
    found = linear(golden, case)["r2"]  # (a, b, fold)
    errors = golden[f"{case}/error"] ** 2 * unit(golden, case)[:, None]  # (fold, a, b)
    np.testing.assert_allclose(found, 1 - np.moveaxis(errors, 0, -1), atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_cka_is_the_cosine_of_netreps_angle(golden, case):
    found = linear(golden, case)["cka"]
    np.testing.assert_allclose(found, np.cos(golden[f"{case}/cka_angle"]), atol=1e-12)


@pytest.mark.parametrize("case", ["none", "ols"])
def test_debiased_cka_is_dcors(golden, case):
    found = linear(golden, case)["cka_debiased"]
    np.testing.assert_allclose(found, golden[f"{case}/cka_debiased"], atol=1e-12)


@pytest.mark.parametrize("case", ["none", "ols"])
def test_cca_without_penalty_is_scikit_learns(golden, case):
    found = linear(golden, case, alpha=1e-9)["cca"]
    np.testing.assert_allclose(found, golden[f"{case}/cca"], atol=1e-7)


@pytest.mark.parametrize("case", ["none", "ols"])
def test_svcca_is_scikit_learns_of_principal_components(golden, case):
    found = linear(golden, case, variance=0.99)["cca"]
    np.testing.assert_allclose(found, golden[f"{case}/svcca"], atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_procrustes_is_the_chord_of_netreps_angle(golden, case):
    p = prepared(golden, case)
    found = np.stack([procrustes_row(p, p, a)[0] for a in range(p.stack.channels)])
    chord = 2 * np.sin(golden[f"{case}/procrustes_angle"] / 2)  # √(2 − 2 cos)
    upper = np.triu_indices(len(found))
    np.testing.assert_allclose(found[upper], chord[upper], atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_neighbours_are_dadapys(golden, case):
    p = prepared(golden, case)
    spaces = [p.e[:, p.stack.columns(a)] for a in range(p.stack.channels)]
    found = [nearest(e, NEIGHBOURS) for e in spaces]
    first = np.stack([near.index[:, 0] for near in found])
    of_b = np.stack([np.asarray(ranks(e, first)) for e in spaces])  # (b, a, row)
    imbalance = 2 * of_b.mean(-1).T / len(p.e)
    np.testing.assert_allclose(imbalance, golden[f"{case}/imbalance"], atol=1e-12)
    every = np.stack([near.index for near in found])
    common = np.stack([np.asarray(shared(index, every)).mean(-1) for index in every])
    np.testing.assert_allclose(common, golden[f"{case}/shared_neighbours"], atol=1e-12)
    dimensions = [two_nn(near.distance[:, :2]) for near in found]
    np.testing.assert_allclose(dimensions, golden[f"{case}/dimension"], rtol=1e-6)
