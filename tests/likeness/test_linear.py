"""Linear measures equal plain NumPy and scikit-learn, written fold by fold and row by row."""

import likeness_oracle as oracle
import numpy as np
import pytest
from likeness_oracle import measures, residual, stack_of

from cpdjax.likeness.prepared import prepare

ROWS = 90


def spaces(seed=0, rows=ROWS):
    """Three spaces that share a part, and composition of which one column is rare."""
    rng = np.random.default_rng(seed)
    c = rng.integers(0, 3, (rows, 4)).astype(float)
    c[:, 3] = np.arange(rows) == 5  # absent from the training rows of one fold
    c = np.column_stack([c, c.sum(1)])  # and one that depends on the others
    hidden = rng.normal(size=(rows, 4))
    found = [
        hidden @ rng.normal(size=(4, width)) + c @ rng.normal(size=(5, width)) + noise
        for width, noise in ((3, 2.0), (18, 0.3 * rng.normal(size=(rows, 18))), (6, -5.0))
    ]
    found[1][:, 7] = found[1][:, 2]
    return found, c


@pytest.mark.parametrize("projection", ["none", "ols", "formula"])
def test_measures_are_those_of_plain_numpy_and_scikit_learn(projection):
    x, c = spaces()
    stack = stack_of(x, c)
    found = measures(stack, projection, alpha=0.7)
    e = [residual(stack, i, projection) for i in range(3)]
    k = [oracle.gram(one) for one in e]
    for a in range(3):
        for b in range(3):
            at = pytest.approx
            assert found["r2"][a, b] == at(oracle.r2(stack, a, b, projection, 0.7), abs=1e-9)
            assert found["cka"][a, b] == at(oracle.cka(k[a], k[b]), abs=1e-10)
            assert found["cka_debiased"][a, b] == at(oracle.cka_debiased(k[a], k[b]), abs=1e-10)
            assert found["cca"][a, b] == at(oracle.cca(e[a], e[b], 0.7), abs=1e-9)
        assert found["participation_ratio"][a] == at(oracle.participation_ratio(e[a]))
        assert found["effective_rank"][a] == at(oracle.effective_rank(e[a]))


def test_wide_channels_equal_scikit_learn():
    """256 columns, padding included, come out with R² above 1 if XLA compiles as it likes."""
    rng = np.random.default_rng(3)
    hidden, c = rng.normal(size=(300, 40)), rng.integers(1, 4, (300, 3)).astype(float)
    x = [np.tanh(hidden @ rng.normal(size=(40, width)) / 5) for width in (64, 200)]
    stack = stack_of(x, c)
    found = measures(stack, "ols", alpha=1.0)["r2"]
    for a, b in ((0, 1), (1, 0), (1, 1)):
        assert found[a, b] == pytest.approx(oracle.r2(stack, a, b, "ols", 1.0), abs=1e-9)


def test_leading_components_alone_are_compared_where_a_share_of_variance_is_asked_for():
    x, c = spaces()
    stack = stack_of(x, c)
    found = measures(stack, variance=0.9)["cca"]
    e = [residual(stack, i, "ols") for i in range(3)]
    expected = [[oracle.cca(a, b, variance=0.9) for b in e] for a in e]
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_permuted_rows_are_compared_with_rows_in_their_place():
    x, c = spaces()
    order = np.random.default_rng(1).permutation(ROWS)
    stack = stack_of(x, c)
    found = measures(stack, other=stack.permuted(order))
    # The same as the pairs across in one stack that has both.
    both = measures(stack_of([*x, *(s[order] for s in x)], c))
    for name in ("r2", "cka", "cka_debiased", "cca"):
        np.testing.assert_allclose(found[name], both[name][:3, 3:], atol=1e-10, err_msg=name)


def test_atoms_are_rows_whose_molecules_folds_keep_whole():
    x, c = spaces()
    unit = np.sort(np.random.default_rng(2).integers(0, 20, ROWS))
    unit = np.unique(unit, return_inverse=True)[1]
    stack = stack_of(x, c, unit=unit)
    found = measures(stack, alpha=2.0)["r2"]
    np.testing.assert_allclose(found[0, 2], oracle.r2(stack, 0, 2, "ols", 2.0), atol=1e-10)


def test_nothing_is_taken_from_vectors():
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(ROWS, 4)) + 1, rng.normal(size=(ROWS, 7))]
    stack = stack_of(x, components=3)
    found = measures(stack)
    e = [residual(stack, i, "ols") for i in range(2)]
    np.testing.assert_allclose(found["r2"][0, 1], oracle.r2(stack, 0, 1, "ols", 1.0), atol=1e-10)
    k, other = (one @ one.T for one in e)
    np.testing.assert_allclose(found["cka"][0, 1], oracle.cka(k, other), atol=1e-12)
    # Debiased: pairs of different molecules alone.
    different = np.kron(1 - np.eye(ROWS // 3), np.ones((3, 3)))
    expected = oracle.cka(different * k, different * other)
    np.testing.assert_allclose(found["cka_debiased"][0, 1], expected, atol=1e-12)


def test_measures_do_not_change_when_every_molecule_is_turned_by_itself():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(ROWS // 3, 3, 5))
    x = [(hidden @ rng.normal(size=(5, n))).reshape(ROWS, n) for n in (4, 7)]
    turns = np.linalg.qr(rng.normal(size=(ROWS // 3, 3, 3)))[0]
    turned = [(turns @ s.reshape(-1, 3, s.shape[1])).reshape(s.shape) for s in x]
    first, second = (measures(stack_of(s, components=3)) for s in (x, turned))
    for name, values in first.items():
        np.testing.assert_allclose(second[name], values, atol=1e-10, err_msg=name)


def test_residuals_are_held_out_and_each_channel_has_one_unit():
    x, c = spaces()
    x[0][:, 1] = c @ [1, 2, 3, 0, 0]  # composition explains this column
    x[0][:, 2] *= 100
    e = prepare(stack_of(x[:2], c), "ols", alpha=1.0).e
    np.testing.assert_array_equal(e[:, 1], 0)
    kept = [x[0][:, [0, 2]], x[1]]
    expected = [residual(stack_of(kept, c), i, "ols") for i in range(2)]
    np.testing.assert_allclose(np.delete(e, 1, axis=1), np.hstack(expected), atol=1e-9)
    assert (e[:, 2] ** 2).mean() == pytest.approx(2, rel=1e-2)


def test_whitened_columns_have_shares_of_directions_as_squares():
    x, c = spaces()
    stack = stack_of(x, c)
    prepared = prepare(stack, "ols", alpha=2.0)
    for channel in range(3):
        white = prepared.e[:, stack.columns(channel)] @ prepared.whitening[channel]
        values = np.linalg.svd(residual(stack, channel, "ols"), compute_uv=False) ** 2
        np.testing.assert_allclose(white.T @ white, np.diag(values / (values + 2)), atol=1e-9)


def test_a_large_mean_costs_few_digits():
    x, c = spaces()
    plain, far = measures(stack_of(x, c)), measures(stack_of([s + 1e6 for s in x], c))
    for name in ("r2", "cka", "cka_debiased", "cca"):
        np.testing.assert_allclose(far[name], plain[name], atol=1e-7, err_msg=name)
