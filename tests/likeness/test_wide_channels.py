"""A channel with more columns than rows is turned to fewer ones, and nothing measured changes."""

import likeness_oracle as oracle
import numpy as np
import pytest
from likeness_oracle import measures, stack_of

from cpdjax.likeness import residuals
from cpdjax.likeness.prepared import prepare
from cpdjax.likeness.procrustes import procrustes_row

ROWS = 60
RNG = np.random.default_rng(2)
C = np.column_stack([RNG.integers(0, 3, (ROWS, 3)), np.arange(ROWS) == 5]).astype(float)


def spaces():
    narrow = RNG.normal(size=(ROWS, 5)) + C @ RNG.normal(size=(4, 5))
    wide = narrow @ RNG.normal(size=(5, 90)) + RNG.normal(size=(ROWS, 90))
    wide[:, 7] = 4 * C[:, -1]  # explained on all rows, and by no fold that it is held out of
    wide[:, 8] = 3 * (np.arange(ROWS) == 9)  # constant on the training rows of one fold
    wide[:, 9] = C @ [1, 2, 3, 0]
    return [wide + 3, narrow, 1e3 * np.tanh(wide[:, :70])]


@pytest.mark.parametrize("projection", ["ols", pytest.param("none", marks=pytest.mark.slow)])
def test_all_measures_are_those_of_all_columns(monkeypatch, projection):
    weights = RNG.multinomial(ROWS, np.full(ROWS, 1 / ROWS), 3).astype(float)
    stack = stack_of(spaces(), C)
    other = stack.permuted(RNG.permutation(ROWS))

    def everything():
        prepared = prepare(stack, projection, alpha=0.8, weights=weights)
        distances, drawn = procrustes_row(prepared, prepared, 0, weights)
        kernels = [e @ e.T for e in (prepared.e[:, prepared.stack.columns(i)] for i in range(3))]
        every = {"procrustes": distances[1:], "drawn": drawn[:, 1:], "products": kernels}
        found, replicates = measures(stack, projection, alpha=0.8, weights=weights, other=other)
        return every | found | {f"{name} drawn": values for name, values in replicates.items()}

    turned = everything()
    monkeypatch.setattr(residuals, "_narrowed", lambda x, kept: lambda a: a * kept)
    for name, values in everything().items():
        np.testing.assert_allclose(turned[name], values, rtol=1e-9, atol=1e-9, err_msg=name)


def test_r2_of_a_wide_channel_is_that_of_scikit_learn():
    x = [np.delete(s, [7, 8, 9], axis=1) if s.shape[1] > ROWS else s for s in spaces()]
    stack = stack_of(x, C)
    found = measures(stack, alpha=0.8)["r2"]
    for a, b in ((0, 1), (1, 0), (0, 2)):
        np.testing.assert_allclose(found[a, b], oracle.r2(stack, a, b, "ols", 0.8), atol=1e-9)


@pytest.mark.parametrize("components", [1, 5])
def test_as_many_columns_are_left_as_there_are_rows(components):
    stack = stack_of(spaces(), C if components == 1 else None, components=components)
    prepared = prepare(stack, "ols", alpha=1.0)
    assert np.bincount(prepared.stack.owner).tolist() == [ROWS, 5, ROWS]
    assert [r.shape[-1] for r in prepared.ridges] == [ROWS, 5, ROWS]
    sizes = [(prepared.e[:, prepared.stack.columns(i)] ** 2).sum() for i in range(3)]
    varying = [88, 5, 69] if components == 1 else [90, 5, 70]  # others are composition
    np.testing.assert_allclose(sizes, np.multiply(varying, ROWS))  # one unit for all columns
