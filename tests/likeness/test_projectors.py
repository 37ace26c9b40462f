"""Projections as maps of rows leave what those of the kernel leave."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import one_line
from hypothesis import given, settings
from hypothesis import strategies as st

from cpdjax.errors import UnknownNameError
from cpdjax.kernel.moments import merge, moments
from cpdjax.kernel.projection import concepts, regression
from cpdjax.kernel.residual import Residual, Rows
from cpdjax.likeness.projectors import PROJECTIONS, Concepts

ROWS, TRAIN = 60, 45


@partial(jax.jit, static_argnames=("projection", "elements"))
def _left(c, x, held_out, *, projection, elements):
    train = jnp.ones((1, x.shape[0]))
    blocks = moments(c.T[None], x.T[None], jnp.zeros((1, 1, len(x))), train)
    merged = merge(blocks, jnp.ones(1), regression(projection, blocks, jnp.ones(1), elements))
    variance = ((x - x.mean(0, keepdims=True)) ** 2).mean(0)
    return Residual.of(merged, variance, standardize=False).features(held_out).T


def of_the_kernel(c, x, train, projection, elements):
    """What the kernel leaves of held-out rows, whose projection it fits on training rows."""
    if projection == "none":
        return x[~train] - x[train].mean(0)
    c = np.asarray(concepts(c if projection != "formula" else c[:, :elements], projection))
    held_out = Rows(c[~train].T, x[~train].T, None, np.ones(sum(~train)))
    return _left(c[train], x[train], held_out, projection=projection, elements=elements)


def data(seed, rare=True):
    """Composition with an element that training lacks, a sum of columns, and one of bonds."""
    rng = np.random.default_rng(seed)
    c = rng.integers(0, 3, (ROWS, 4)).astype(float)
    c[:, 3] = rare * (np.arange(ROWS) > ROWS - 4)
    c = np.column_stack([c, c.sum(1), rng.integers(0, 5, ROWS)])
    return c, rng.normal(size=(ROWS, 6)) + c @ rng.normal(size=(6, 6)) + 3


@pytest.mark.slow
@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("rare", [False, True])
def test_held_out_rows_keep_what_they_keep_in_the_kernel(projection, rare):
    c, x = data(0, rare)
    elements = 5 if projection in ("bonds", "groups", "formula") else 6
    train = np.arange(ROWS) < TRAIN
    fit = Concepts.of(c, elements, projection).projector(train, ~train)
    expected = of_the_kernel(c, x, train, projection, elements)
    np.testing.assert_allclose(x[~train] - fit.h @ (fit.q.T @ x[train]), expected, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), projection=st.sampled_from(PROJECTIONS))
def test_a_projector_is_orthogonal_and_takes_all_concepts(seed, projection):
    c, _ = data(seed)
    train = np.random.default_rng(seed).permutation(ROWS) < TRAIN
    of = Concepts.of(c, 5, projection)
    q, h = of.projector(train, ~train)
    np.testing.assert_allclose(q.T @ q, np.eye(q.shape[1]), atol=1e-10)
    taken = (
        np.ones((ROWS, 1)) if projection == "none" else c[:, : 5 if of.formula is not None else 6]
    )
    np.testing.assert_allclose(q @ (q.T @ taken[train]), taken[train], atol=1e-9)
    np.testing.assert_allclose(h @ (q.T @ np.ones(TRAIN)), 1, atol=1e-9)
    # Whatever it predicts lies in the span of what it can predict.
    span = of.span(~train)
    np.testing.assert_allclose(span.T @ span, np.eye(span.shape[1]), atol=1e-12)
    np.testing.assert_allclose(span @ (span.T @ h), h, atol=1e-9)


def test_nothing_is_taken_from_vectors():
    train = np.arange(ROWS) < TRAIN
    of = Concepts.of(None, 0, "ols")
    q, h = of.projector(train, ~train)
    assert q.shape == (TRAIN, 0)
    assert h.shape == (ROWS - TRAIN, 0)
    assert of.span(train).shape[1] == 0


def test_a_projection_that_is_not_linear_in_the_features_is_refused():
    with pytest.raises(UnknownNameError) as caught:
        Concepts.of(np.ones((3, 1)), 1, "leace")
    one_line(caught, "projection", "leace")
