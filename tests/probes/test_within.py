"""Deviations within groups: held against pandas and scikit-learn, exact where nothing is left."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pandas as pd
import pytest
from helpers import one_line
from scipy.spatial.transform import Rotation

import cpdjax
from cpdjax.errors import InputError
from cpdjax.kernel.ridge import LOO_ALPHAS
from cpdjax.probes.folds import nested, of_groups

GROUPS, ROWS, D = 24, 100, 6


@pytest.fixture(scope="module")
def data():
    """Rows of groups of unequal sizes, in no order: what differs between groups is far larger."""
    rng = np.random.default_rng(0)
    group = rng.permutation(np.concatenate([np.arange(GROUPS), rng.integers(0, GROUPS, ROWS - 24)]))
    C = rng.integers(0, 5, (GROUPS, 3))[group].astype(float)
    X = rng.normal(size=(ROWS, D)) + 30 * rng.normal(size=(GROUPS, D))[group]
    own = X - pd.DataFrame(X).groupby(group).transform("mean").to_numpy()
    Y = np.stack([own[:, 0] + rng.normal(size=ROWS), rng.normal(size=ROWS)], axis=1)
    return X, C, Y + 1e3 * C[:, :2], np.array([f"m{g}" for g in group])


def by_pandas(values, group):
    return values - pd.DataFrame(values).groupby(group).transform("mean").to_numpy()


def test_deviations_are_those_of_pandas(data):
    X, _, _, group = data
    assert np.allclose(cpdjax.deviations(X, group), by_pandas(X, group), rtol=0, atol=1e-12)
    tensors = X.reshape(ROWS, 2, 3)
    assert np.array_equal(
        cpdjax.deviations(tensors, group).reshape(ROWS, D), cpdjax.deviations(X, group)
    )


def test_what_is_constant_in_every_group_is_exactly_zero_whatever_its_rounding(data):
    X, _, _, group = data
    constant = np.unique(group, return_inverse=True)[1] * 0.1 + 1 / 3
    assert not cpdjax.deviations(constant[:, None], group).any()
    rng = np.random.default_rng(1)
    rounded = constant * (1 + np.finfo(float).eps * rng.integers(-3, 4, ROWS))
    assert not cpdjax.deviations(rounded[:, None], group).any()
    assert cpdjax.deviations((constant + 1e-12 * X[:, 0])[:, None], group).any()


@pytest.mark.parametrize("alphas", [[0.1, 10.0], "loo"])
def test_scores_are_those_of_scikit_learn_on_deviations(data, alphas):
    X, C, Y, group = data
    found = cpdjax.cpd(X, C, Y, groups=group, projection="within", alphas=alphas)
    ids = cpdjax.group_folds(np.unique(group, return_inverse=True)[1])
    x, y = by_pandas(X, group), by_pandas(Y, group)
    loo = alphas == "loo"
    expected = oracle.cpd(
        x, np.zeros((ROWS, 1)), y, ids, LOO_ALPHAS if loo else alphas, loo=loo,
        project=lambda x, c, train: x, concepts=lambda x, c, left: x[:, :0],
    )  # fmt: skip
    assert np.allclose(found.r2_geom, expected.r2_geom, rtol=0, atol=1e-9)
    assert np.array_equal(found.r2_full, found.r2_geom)
    assert np.abs(found.r2_comp).max() < 1e-12
    assert np.allclose(found.alpha_geom, expected.alpha_geom)


def test_composition_and_whatever_is_constant_in_a_molecule_score_nothing(data):
    _, C, Y, group = data
    graph = np.random.default_rng(2).normal(size=(GROUPS, 9))
    graph = graph[np.unique(group, return_inverse=True)[1]]
    for features in (C, C / C.sum(1, keepdims=True).clip(1), graph):
        scores = cpdjax.cpd(features, C, Y, groups=group, projection="within", alphas=[1e-6, 1.0])
        assert np.abs(scores.r2_geom).max() < 1e-12


def test_a_learning_curve_draws_whole_groups(data):
    X, C, Y, group = data
    numbers = np.unique(group, return_inverse=True)[1]
    found = cpdjax.learning_curve(
        X, C, Y, groups=group, projection="within", sizes=[12, GROUPS], repeats=2, alphas=1.0
    )
    layout = of_groups(nested(GROUPS, [12, GROUPS], 2, 5), numbers)
    x, y = by_pandas(X, group), by_pandas(Y, group)
    for repeat in range(2):
        rows = layout.subset(repeat, 12)
        assert len(np.unique(group[rows])) == 12
        assert len(rows) == np.isin(group, group[rows]).sum()
        expected = oracle.cpd(
            x[rows], np.zeros((len(rows), 1)), y[rows], layout.fold_ids(repeat, 12), [1.0],
            project=lambda x, c, train: x,
        )  # fmt: skip
        assert np.allclose(found.r2_geom[repeat, 0], expected.r2_geom, rtol=0, atol=1e-9)


def test_deviations_change_places_within_their_molecule_and_molecules_are_drawn_whole(data):
    X, C, Y, group = data
    chosen = {"groups": group, "projection": "within", "alphas": 1.0}
    scores = cpdjax.cpd(X, C, Y, **chosen)
    test = cpdjax.permutation_test(X, C, Y, permutations=99, **chosen)
    assert np.allclose(test.observed, scores.r2_geom.mean(0))
    assert test.p_value[0, 0] == 0.01
    assert test.p_value[0, 1] > 0.05
    drawn = cpdjax.bootstrap(X, C, Y, replicates=99, **chosen)
    assert np.allclose(drawn.observed, test.observed)
    low, high = drawn.interval()
    assert low[0, 0] < test.observed[0, 0] < high[0, 0]


def test_a_vector_scores_the_same_however_every_molecule_is_turned():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(12), 5)
    X = rng.normal(size=(60, 4, 3)) + 5 * rng.normal(size=(12, 4, 3))[group]
    Y = X[:, 0] - X[:, 1] + rng.normal(size=(60, 3)) + 9 * rng.normal(size=(12, 3))[group]
    ids = cpdjax.group_folds(group)

    def score(x, y):
        x, y = cpdjax.deviations(x, group), cpdjax.deviations(y, group)
        return cpdjax.equivariant_cpd(x, y, folds=ids, alphas=[1.0]).r2_geom

    turn = Rotation.random(12, random_state=4).as_matrix()[group]
    turned = [np.einsum("nij,n...j->n...i", turn, a) for a in (X, Y)]
    assert np.allclose(score(*turned), score(X, Y), rtol=0, atol=1e-10)
    assert score(X, Y).min() > 0.2


def test_predictions_are_of_deviations_and_sum_to_the_score(data):
    X, C, Y, group = data
    found = cpdjax.residual_predictions(X, C, Y, groups=group, projection="within", alpha=1.0)
    assert np.allclose(found.target, by_pandas(Y, group), atol=1e-9)
    assert np.allclose(found.contribution.sum(0), found.r2_geom.mean(0))


def test_the_score_can_be_differentiated_in_the_features(data):
    X, C, Y, group = data
    ids = cpdjax.group_folds(group)

    def score(x):
        chosen = {"groups": group, "projection": "within", "alphas": 1.0, "folds": ids}
        return jnp.asarray(cpdjax.cpd(x, C, Y, **chosen).r2_geom).mean()

    step = np.zeros_like(X)
    step[3, 0] = 1e-5
    slope = jax.grad(score)(jnp.asarray(X))[3, 0]
    assert np.isclose(slope, (score(X + step) - score(X - step)) / 2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": None}, ["needs groups"]),
        ({"groups": np.arange(7)}, ["one label for each of 100 rows"]),
        ({"projection": "ols"}, ["within", "group_folds"]),
        ({"folds": np.arange(ROWS) % 5}, ["keep groups whole"]),
        ({"C": np.arange(ROWS)[:, None] * 1.0}, ["differs in composition", "one molecule"]),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(data, changes, words):
    X, C, Y, group = data
    given = {"C": C, "groups": group, "projection": "within", "alphas": 1.0} | changes
    with pytest.raises(InputError) as caught:
        cpdjax.cpd(X, Y=Y, **given)
    one_line(caught, *words)
