"""Test projections on composition and further counts, against scikit-learn."""

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

import cpdjax
from cpdjax import datasets
from cpdjax.errors import InputError
from cpdjax.kernel.ridge import LOO_ALPHAS
from cpdjax.probes.folds import kfold, nested
from cpdjax.reports.scores import text_table
from cpdjax.sweeps.table import beyond

N, FOLDS = 90, 4
IDS = kfold(N, FOLDS)


@pytest.fixture(scope="module")
def data():
    """Return features, composition, linearly dependent counts, and two targets.

    The last kind of bond is that of two molecules of fold 0 alone, so that it is held out without
    one to train on.
    """
    rng = np.random.default_rng(0)
    C = rng.integers(0, 6, (N, 3)).astype(float)
    bonds = rng.integers(0, 4, (N, 5)).astype(float)
    bonds[:, 2] = C[:, 0] - bonds[:, 0] + 2 * bonds[:, 1]  # as valences make them
    bonds[:, 4] = 0
    bonds[np.flatnonzero(IDS == 0)[:2], 4] = 1, 2
    hidden = rng.normal(size=(N, 7))
    X = hidden + C @ rng.normal(size=(3, 7)) + bonds @ rng.normal(size=(5, 7))
    Y = np.stack([hidden[:, 0] + bonds[:, 1], C[:, 1] + hidden[:, 1] - bonds[:, 3]], 1)
    return X, C, Y, bonds


def expected(data, ids, alphas, **options):
    """Return the scores of the oracle with both matrices side by side."""
    X, C, Y, bonds = data
    return oracle.cpd(X, np.hstack([C, bonds]), Y, ids, alphas, **options)


@pytest.mark.parametrize("projection", ["ols", "bonds", "groups"])
def test_scores_equal_scikit_learn(data, projection):
    X, C, Y, bonds = data
    found = cpdjax.cpd(
        X, C, Y, folds=IDS, alphas=[0.1, 10.0], concepts=bonds, projection=projection,
        predictions=True,
    )  # fmt: skip
    known = expected(data, IDS, [0.1, 10.0])
    for name in ("r2_geom", "r2_full", "composition_share", "prediction"):
        a, b = getattr(found, name), getattr(known, name)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=name)
    # The score of the counts is that of all columns, and the score of composition its own.
    np.testing.assert_allclose(found.r2_concepts, known.r2_comp, rtol=0, atol=1e-9)
    alone = oracle.cpd(X, C, Y, IDS, [1.0]).r2_comp
    np.testing.assert_allclose(found.r2_comp, alone, rtol=0, atol=1e-9)
    assert found.r2_concepts.mean() > found.r2_comp.mean()
    assert "R²_concepts" in repr(found)
    assert cpdjax.cpd(X, C, Y, folds=IDS, alphas=1.0).r2_concepts is None


@pytest.mark.slow
def test_leave_one_out_and_curves_equal_scikit_learn(data):
    X, C, Y, bonds = data
    found = cpdjax.cpd(X, C, Y, folds=IDS, alphas="loo", concepts=bonds)
    known = expected(data, IDS, LOO_ALPHAS, loo=True)
    np.testing.assert_allclose(found.alpha_geom, known.alpha_geom, rtol=1e-12)
    np.testing.assert_allclose(found.r2_geom, known.r2_geom, rtol=0, atol=1e-8)
    curve = cpdjax.learning_curve(X, C, Y, sizes=[60, N], repeats=1, alphas=1.0, concepts=bonds)
    layout = nested(N, [60, N], 1, 5)
    for i, size in enumerate((60, N)):
        rows, ids = layout.subset(0, size), layout.fold_ids(0, size)
        known = expected([a[rows] for a in data], ids, [1.0])
        np.testing.assert_allclose(curve.r2_geom[0, i], known.r2_geom, rtol=0, atol=1e-9)
        np.testing.assert_allclose(curve.r2_concepts[0, i], known.r2_comp, rtol=0, atol=1e-9)


def test_a_bond_that_no_training_molecule_has_is_taken_for_none(data):
    """Held-out molecules are scored as if they had no such bond, as scikit-learn does."""
    X, C, Y, bonds = data
    without = bonds.copy()
    without[:, 4] = 0
    options = {"folds": IDS, "alphas": 1.0, "predictions": True}
    ours = cpdjax.cpd(X, C, Y, concepts=bonds, **options)
    theirs = cpdjax.cpd(X, C, Y, concepts=without[:, :4], **options)
    np.testing.assert_allclose(ours.r2_geom[0], theirs.r2_geom[0], rtol=0, atol=1e-9)
    held = IDS == 0
    np.testing.assert_allclose(
        ours.prediction[:, held], theirs.prediction[:, held], rtol=0, atol=1e-8
    )
    all_columns = np.hstack([C, bonds])
    fitted = LinearRegression().fit(all_columns[~held], Y[~held])
    assert abs(fitted.coef_[:, -1]).max() < 1e-12
    known = r2_score(Y[held], fitted.predict(all_columns[held]), multioutput="raw_values")
    np.testing.assert_allclose(ours.r2_concepts[0], known, rtol=0, atol=1e-9)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**16))
def test_columns_that_others_explain_change_nothing(seed):
    rng = np.random.default_rng(seed)
    C, bonds = rng.integers(0, 5, (40, 2)).astype(float), rng.integers(0, 4, (40, 3)).astype(float)
    X, Y = rng.normal(size=(40, 4)) + C @ rng.normal(size=(2, 4)), rng.normal(size=40)
    more = np.hstack(
        [bonds, (bonds @ rng.integers(-2, 3, 3) + C @ rng.integers(-2, 3, 2))[:, None]]
    )
    options = {"folds": 4, "alphas": 1.0}
    few, many = (
        cpdjax.cpd(X, C, Y, concepts=k, **options) for k in (np.pad(bonds, ((0, 0), (0, 1))), more)
    )
    np.testing.assert_allclose(few.r2_geom, many.r2_geom, rtol=0, atol=1e-8)


def test_permutations_keep_what_the_counts_explain(data):
    """A target that the counts decide has no score beyond them, and no small p-value."""
    X, C, Y, bonds = data
    decided = bonds[:, 1] + C[:, 0]
    y = np.column_stack([Y[:, 0], decided])
    options = {"permutations": 39, "folds": FOLDS, "alphas": 1.0}
    test = cpdjax.permutation_test(X, C, y, concepts=bonds, projection="bonds", **options)
    assert test.p_value[0, 0] == pytest.approx(1 / 40)
    assert test.p_value[0, 1] > 0.05
    # A copy keeps the part of the counts: it has the variance of the target, and not less.
    assert abs(test.null[:, 0, 0]).max() < 0.5 < test.observed[0, 0] + 0.5


def test_replicates_and_predictions_are_those_of_the_projection(data):
    X, C, Y, bonds = data
    options = {"folds": IDS, "alphas": 1.0, "concepts": bonds, "projection": "bonds"}
    scores = cpdjax.cpd(X, C, Y, folds=IDS, alphas=1.0, concepts=bonds)
    drawn = cpdjax.bootstrap(X, C, Y, replicates=5, **options)
    mean = np.asarray(scores.r2_geom).mean(0)
    np.testing.assert_allclose(drawn.observed, mean, rtol=0, atol=1e-9)
    assert np.isfinite(drawn.replicates).all()
    found = cpdjax.residual_predictions(X, C, Y, folds=IDS, alpha=1.0, concepts=bonds)
    np.testing.assert_allclose(found.r2_geom, scores.r2_geom[:, 0], rtol=0, atol=1e-12)


def test_refusals(data):
    X, C, Y, bonds = data
    for options, message in (
        ({"projection": "bonds"}, "projection 'bonds' needs concepts"),
        ({"projection": "leace", "concepts": bonds}, "not by projection 'leace'"),
        ({"concepts": bonds[:5]}, "concepts must have axes .* with 90 molecules"),
        ({"concepts": bonds[:, 0]}, "concepts must have axes"),
        ({"concepts": np.where(bonds > 3, np.nan, bonds) + np.nan}, "concepts has .* NaN"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            cpdjax.cpd(X, C, Y, **options)
        assert "\n" not in str(caught.value)


# In a sweep


@pytest.mark.parametrize("projection", [pytest.param("bonds", marks=pytest.mark.slow), "groups"])
def test_a_sweep_counts_what_its_projection_takes(projection):
    structures = datasets.qm9(120)
    X = np.random.default_rng(0).normal(size=(120, 3))
    options = {"sizes": [120], "repeats": 1, "alphas": 1.0, "permutations": 9, "bootstrap": 5}
    table = cpdjax.sweep(
        {"mine": X}, dataset=structures, targets=["gap"], projection=projection, **options
    )
    counts = [cpdjax.bond_counts(structures)[0], cpdjax.group_counts(structures)[0]]
    concepts = np.hstack(counts if projection == "groups" else counts[:1])
    C, y = cpdjax.composition(structures), structures.target("gap")
    known = cpdjax.learning_curve(X, C, y, sizes=[120], repeats=1, alphas=1.0, concepts=concepts)
    for name in ("r2_geom", "r2_comp", "r2_concepts"):
        ours, theirs = table[name].to_numpy().ravel(), np.ravel(getattr(known, name))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9, err_msg=name)
    assert np.isfinite(table.p_value).all()
    assert np.isfinite(table.r2_geom_low).all()
    assert beyond(table) in text_table(table).title
    assert "bonds" in text_table(table).rows[1][0]


def test_what_a_sweep_refuses():
    structures = datasets.qm9(20)
    for options, message in (
        ({"probe": "atom"}, "counts what molecules have, and probe 'atom' has a row an atom"),
        ({"probe": "equivariant"}, "projection 'bonds' is for scalars"),
    ):
        with pytest.raises(InputError, match=message):
            cpdjax.sweep({"x": np.ones((20, 2))}, dataset=structures, projection="bonds", **options)
    table = {"formula": ["CH4", "C2H6"] * 10, "gap": np.arange(20.0) % 7}
    with pytest.raises(InputError, match=r"counts bonds from SMILES, which .* has not"):
        cpdjax.sweep({"x": np.ones((20, 2))}, targets=table, projection="bonds")
    smiles = {
        "smiles": ["C", "CC", "CO", "C=O"] * 10,
        "gap": np.random.default_rng(0).normal(size=40),
    }
    X = np.random.default_rng(1).normal(size=(40, 2))
    found = cpdjax.sweep({"x": X}, targets=smiles, projection="bonds", sizes=[40], repeats=1)
    assert "r2_concepts" in found
