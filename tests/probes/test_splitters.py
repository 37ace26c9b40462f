"""Any splitter serves as folds: its scores are those of the same procedure, split by split."""

import numpy as np
import pytest
from helpers import one_line
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.preprocessing import StandardScaler

import cpdjax
from cpdjax.errors import InputError
from cpdjax.probes.splitters import read_folds

N = 60
RNG = np.random.default_rng(0)
C = RNG.integers(0, 6, (N, 2)).astype(float)
X = RNG.normal(size=(N, 5)) + C @ RNG.normal(size=(2, 5))
Y = X[:, 0] + C[:, 1] + RNG.normal(size=N)
GROUPS = np.arange(N) // 7


def by_hand(train, test):
    """R²_geom, R²_full and R²_comp of one split, from scikit-learn's parts."""
    rest = X - LinearRegression().fit(C[train], X[train]).predict(C)
    found = []
    for features in (rest, X):
        z = StandardScaler().fit(features[train]).transform(features)
        found.append(Ridge(1.0).fit(z[train], Y[train]).predict(z[test]))
    found.append(LinearRegression().fit(C[train], Y[train]).predict(C[test]))
    return [r2_score(Y[test], predicted) for predicted in found]


SPLITTERS = {
    "KFold": KFold(5, shuffle=True, random_state=0),
    "ShuffleSplit": ShuffleSplit(4, test_size=0.3, random_state=0),
    "ShuffleSplit of a part": ShuffleSplit(3, test_size=0.2, train_size=0.4, random_state=0),
    "RepeatedKFold": RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
    "TimeSeriesSplit": TimeSeriesSplit(3),
    "PredefinedSplit": PredefinedSplit(np.arange(N) % 4 - 1),  # a quarter is never held out
}


@pytest.mark.parametrize("name", SPLITTERS)
def test_scores_are_those_of_every_split(name):
    splitter = SPLITTERS[name]
    scores = cpdjax.cpd(X, C, Y, folds=splitter, alphas=1.0)
    expected = np.array([by_hand(train, test) for train, test in splitter.split(X)])
    assert scores.r2_geom.shape == (len(expected), 1, 1)
    found = np.stack([scores.r2_geom[:, 0, 0], scores.r2_full[:, 0, 0], scores.r2_comp[:, 0]], 1)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.slow
def test_pairs_serve_where_a_splitter_needs_groups_or_labels():
    labels = (Y > 0).astype(int)
    for splitter, others in (
        (GroupKFold(4), {"groups": GROUPS}),
        (LeaveOneGroupOut(), {"groups": GROUPS}),
        (StratifiedKFold(3), {"y": labels}),
    ):
        pairs = list(splitter.split(X, **{"y": Y, **others}))
        ids = np.empty(N, int)
        for k, (_, test) in enumerate(pairs):
            ids[test] = k
        of_ids = cpdjax.cpd(X, C, Y, folds=ids).r2_geom
        for folds in (pairs, iter(pairs)):
            np.testing.assert_array_equal(cpdjax.cpd(X, C, Y, folds=folds).r2_geom, of_ids)


def test_masks_are_rows_too():
    mask = np.arange(N) < 20
    by_masks = cpdjax.cpd(X, C, Y, folds=[(~mask, mask)]).r2_geom
    by_rows = cpdjax.cpd(X, C, Y, folds=[(np.flatnonzero(~mask), np.flatnonzero(mask))]).r2_geom
    np.testing.assert_array_equal(by_masks, by_rows)


@pytest.mark.slow
def test_every_probe_takes_a_splitter_and_sees_the_same_folds():
    splitter = KFold(3, shuffle=True, random_state=1)
    ids = read_folds(splitter, X)
    calls = {
        "curve": lambda folds: cpdjax.learning_curve(
            X, C, Y, sizes=[30, N], repeats=2, folds=folds
        ).r2_geom,
        "permutations": lambda folds: cpdjax.permutation_test(
            X, C, Y, permutations=5, folds=folds
        ).null,
        "bootstrap": lambda folds: cpdjax.bootstrap(X, C, Y, replicates=5, folds=folds).replicates,
        "ladder": lambda folds: cpdjax.ladder(X, C, Y, {"more": X[:, :1] ** 2}, folds=folds).r2,
        "atoms": lambda folds: cpdjax.atom_cpd(
            np.repeat(X, 2, 0), np.tile([1, 6], N), np.repeat(Y, 2), np.repeat(np.arange(N), 2),
            folds=folds,
        ).r2_geom,
        "tensors": lambda folds: cpdjax.equivariant_cpd(
            X.reshape(20, 5, 3), X.reshape(20, 5, 3)[:, 0], folds=folds
        ).r2_geom,
    }  # fmt: skip
    for name, probe in calls.items():
        rows = 20 if name == "tensors" else N
        own = read_folds(splitter, np.zeros((rows, 1)))
        np.testing.assert_array_equal(probe(splitter), probe(own), err_msg=name)
    assert len(np.unique(ids)) == 3


def test_a_splitter_that_shuffles_anew_gives_every_rung_the_same_folds():
    calls = []

    class Counted(KFold):
        def split(self, *arguments):
            calls.append(1)
            return super().split(*arguments)

    cpdjax.ladder(X, C, Y, {"more": X[:, :1] ** 2}, folds=Counted(3, shuffle=True))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("folds", "words"),
    [
        (GroupKFold(3), ["GroupKFold", "groups", "splitter.split(X, labels, groups)"]),
        (StratifiedKFold(3), ["StratifiedKFold", "continuous"]),
        (KFold(100), ["KFold", "100"]),
        ([([0, 1], [1, 2])], ["split 0", "trains on 1", "row 1"]),
        ([([0, 1], [2, N])], ["held-out rows of split 0", f"0 to {N - 1}"]),
        ([([0, 0], [2])], ["training rows of split 0", "different"]),
        ([([0, 1], [])], ["held-out rows of split 0", "at least one"]),
        ([([0.5, 1], [2])], ["training rows of split 0", "whole numbers"]),
        (iter([]), ["no split"]),
        (iter([3]), ["split 0 must be a pair"]),
        (object(), ["a splitter such as"]),
    ],
)
def test_folds_that_cannot_be_used_are_refused_in_one_line(folds, words):
    with pytest.raises(InputError) as caught:
        cpdjax.cpd(X, C, Y, folds=folds)
    one_line(caught, *words)


@pytest.mark.parametrize(
    ("splitter", "words"),
    [
        (ShuffleSplit(4, random_state=0), ["held out twice"]),
        (TimeSeriesSplit(3), ["on no side of split 0"]),
        (PredefinedSplit(np.arange(N) % 4 - 1), ["never held out"]),
    ],
)
@pytest.mark.parametrize(
    "probe",
    [
        lambda folds: cpdjax.learning_curve(X, C, Y, sizes=[N], folds=folds),
        lambda folds: cpdjax.cpd(X, C, Y, predictions=True, folds=folds),
        lambda folds: cpdjax.permutation_test(X, C, Y, permutations=5, folds=folds),
        lambda folds: cpdjax.bootstrap(X, C, Y, replicates=5, folds=folds),
        lambda folds: cpdjax.sweep(
            {"mine": X}, targets={"formula": ["CH4", "CO"] * 30, "y": Y}, folds=folds
        ),
    ],
)
def test_what_needs_every_molecule_held_out_once_says_which_splitters_do(splitter, words, probe):
    with pytest.raises(InputError) as caught:
        probe(splitter)
    one_line(caught, "KFold, GroupKFold", *words)


def test_a_sweep_keeps_the_folds_of_a_splitter_and_records_them(tmp_path):
    table = {"formula": ["CH4", "CO", "H2O"] * 20, "y": Y}
    call = {"targets": table, "sizes": [N], "repeats": 2, "out": tmp_path}
    splitter = KFold(3, shuffle=True, random_state=2)
    ids = read_folds(splitter, X)
    found = cpdjax.sweep({"mine": X}, folds=splitter, **call)
    assert found.sizes["fold"] == 3
    np.testing.assert_array_equal(found.fold_id, ids)
    expected = cpdjax.cpd(X, cpdjax.composition(table["formula"]), Y, folds=ids).r2_geom
    for repeat in range(2):  # other shuffles, but the same folds
        scores = found.r2_geom.isel(model=0, layer=0, irrep=0, repeat=repeat, size=0)
        np.testing.assert_allclose(scores.to_numpy(), expected, atol=1e-12)
    again = cpdjax.sweep({"mine": X}, folds=ids, **call)
    assert again.identical(found)
    with pytest.raises(InputError) as caught:
        cpdjax.sweep({"mine": X}, folds=(ids + 1) % 3, **call)
    one_line(caught, "fold_id")
    with pytest.raises(InputError) as caught:
        cpdjax.sweep({"mine": X}, folds=ids, group_by="formula", **call)
    one_line(caught, "group_by", "give one")
