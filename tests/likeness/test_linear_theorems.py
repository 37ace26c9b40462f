"""What linear measures promise by their definitions."""

import likeness_oracle as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from likeness_oracle import measures, residual, stack_of

ROWS = 120
C = np.random.default_rng(9).integers(0, 4, (ROWS, 3)).astype(float)


def noise(width, seed=0, rows=ROWS):
    return np.random.default_rng(seed).normal(size=(rows, width))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**20), scale=st.floats(1e-3, 1e3))
def test_a_space_is_its_rotation_in_any_unit(seed, scale):
    x = noise(8, seed) * np.arange(1, 9)
    turned = x @ np.linalg.qr(noise(8, seed + 1, 8))[0] * scale + 7
    found = measures(stack_of([x, turned], C))
    for name in ("cka", "cka_debiased", "cca"):
        np.testing.assert_allclose(found[name], 1, atol=1e-9, err_msg=name)
    itself = np.broadcast_to(found["r2"][0, 0], (2, 2, 4))
    np.testing.assert_allclose(found["r2"], itself, atol=1e-9)
    assert (itself > 0.99).all()
    for name in ("participation_ratio", "effective_rank"):
        np.testing.assert_allclose(*found[name], rtol=1e-9, err_msg=name)


def test_cka_does_not_see_that_all_columns_are_there_twice():
    x, other = noise(5), noise(5) + noise(5, 1)
    found = measures(stack_of([x, np.hstack([x, x]), other], C))
    for name in ("cka", "cka_debiased", "participation_ratio", "effective_rank"):
        np.testing.assert_allclose(found[name][1], found[name][0], atol=1e-9, err_msg=name)
    np.testing.assert_allclose(found["cka"][0, 1], 1)


def test_cca_without_regularisation_sees_no_invertible_map():
    x, other = noise(5), noise(7) + np.pad(noise(5), ((0, 0), (0, 2)))
    mapped = x @ (noise(5, 3, 5) + 3 * np.eye(5))
    found = measures(stack_of([x, mapped, other], C), alpha=1e-9)
    np.testing.assert_allclose(found["cca"][0, 1], 1, atol=1e-9)
    np.testing.assert_allclose(found["cca"][0, 2], found["cca"][1, 2], atol=1e-9)
    np.testing.assert_allclose(found["r2"][0, 1], 1, atol=1e-9)
    assert found["cka"][0, 1] < 0.99


def test_of_nested_spaces_one_predicts_the_other():
    x = noise(10)
    found = measures(stack_of([x[:, :4], x], C), alpha=1e-6)
    assert (found["r2"][1, 0] > 0.999999).all()
    assert (found["r2"][0, 1] < 0.5).all()
    np.testing.assert_allclose(found["cca"], 1, atol=1e-6)
    assert found["cka"][0, 1] == pytest.approx(found["cka"][1, 0])
    assert found["cka"][0, 1] < 0.8


def test_two_noises_are_alike_by_chance_only():
    rows = 600
    c = np.random.default_rng(4).integers(0, 4, (rows, 3)).astype(float)
    found = measures(stack_of([noise(30, i, rows) for i in range(6)], c))
    different = ~np.eye(6, dtype=bool)
    assert abs(found["cka_debiased"][different].mean()) < 0.004
    assert (abs(found["cka_debiased"][different]) < 0.02).all()
    assert (found["cka"][different] > 0.03).all()  # which is why there is the other
    np.testing.assert_allclose(found["cca"][different], 30 / (rows - 5), rtol=0.25)
    assert (found["r2"][different].mean(-1) < 0).all()
    assert (found["participation_ratio"] > 25).all()
    assert (found["effective_rank"] > 28).all()
    assert (found["effective_rank"] <= 30).all()


def test_regularised_canonical_correlations_stay_within_one():
    # A space of which most is faint, and one in which the same directions are strong.
    x = noise(6)
    faint = x * [1, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4]
    for alpha in (1e-3, 1, 100):
        found = measures(stack_of([x, faint], C), alpha=alpha)["cca"]
        assert found.max() <= 1 + 1e-9
        np.testing.assert_allclose(np.diag(found), 1, atol=1e-9)


def test_what_is_alike_by_composition_alone_is_so_before_the_projection_only():
    x = [C @ noise(6, i, 3) + 0.3 * noise(6, i + 5) for i in range(2)]
    raw, left = (measures(stack_of(x, C), p) for p in ("none", "ols"))
    assert (raw["r2"][0, 1] > 0.8).all()
    assert (left["r2"][0, 1] < 0.05).all()
    assert raw["cka_debiased"][0, 1] > 0.4
    assert abs(left["cka_debiased"][0, 1]) < 0.1


def test_participation_ratio_counts_equal_directions():
    x = np.linalg.qr(noise(7) - noise(7).mean(0))[0]
    stack = stack_of([x, np.hstack([x, x[:, :1]])], C)
    found = measures(stack, "none")
    for i in range(2):
        e = residual(stack, i, "none")
        ratio, rank = oracle.participation_ratio(e), oracle.effective_rank(e)
        assert found["participation_ratio"][i] == pytest.approx(ratio)
        assert found["effective_rank"][i] == pytest.approx(rank)
        assert ratio == pytest.approx((7, 64 / 10)[i], rel=0.02)
