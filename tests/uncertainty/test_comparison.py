"""Test differences of scores against SciPy's t-test, and the tables made of them."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import cpdjax
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.studies import measured
from cpdjax.sweeps.differences import differences
from cpdjax.uncertainty.bootstrap import Bootstrap
from cpdjax.uncertainty.comparison import compare, estimate
from cpdjax.uncertainty.multiplicity import adjust
from cpdjax.uncertainty.runs import hierarchical_difference

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_the_corrected_resampled_t(level):
    a, b = RNG.normal(1, 0.2, (3, 5)), RNG.normal(0.9, 0.2, (3, 5))
    d = (a - b).ravel()
    # SciPy's plain t-test takes s²/J for the variance, so the correction shrinks its statistic.
    shrink = np.sqrt((1 / 15) / (1 / 15 + 1 / 4))
    plain = stats.ttest_rel(a.ravel(), b.ravel())
    found = compare(a, b, level)
    assert found.value == pytest.approx(d.mean())
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(plain.statistic) * shrink, 14))
    interval = plain.confidence_interval(level)
    assert found.low == pytest.approx(d.mean() - (d.mean() - interval.low) / shrink)
    assert found.high == pytest.approx(d.mean() + (interval.high - d.mean()) / shrink)


def test_interval_and_p_agree_and_turn_with_the_sign():
    for shift in np.linspace(-1, 1, 21):
        a, b = RNG.normal(shift, 0.5, (2, 5)), RNG.normal(0, 0.5, (2, 5))
        found, turned = compare(a, b), compare(b, a)
        assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)
        assert (turned.value, turned.low, turned.high) == (-found.value, -found.high, -found.low)
        assert turned.p_value == found.p_value


def test_one_repeat_may_come_without_its_axis():
    a, b = RNG.normal(size=(2, 5))
    assert compare(a, b) == compare(a[None], b[None])


def test_without_scatter():
    a = np.full((2, 5), 0.5)
    assert compare(a, a).p_value == 1
    assert compare(a, a - 0.25).p_value == 0
    assert np.isnan(compare(a, np.where(np.eye(2, 5), np.nan, a)).p_value)


def test_the_findings_share_it():
    assert measured.estimate is estimate


@pytest.mark.parametrize(
    ("a", "b", "level", "words"),
    [
        (np.ones((2, 5)), np.ones((2, 4)), 0.95, r"got shapes \(2, 5\) and \(2, 4\)"),
        (np.ones((2, 1)), np.ones((2, 1)), 0.95, "two folds"),
        (np.ones((1, 2, 5)), np.ones((1, 2, 5)), 0.95, "axes"),
        (np.ones(5), np.ones(5), 95, "between 0 and 1, such as 0.95, got 95"),
    ],
)
def test_bad_input(a, b, level, words):
    with pytest.raises(InputError, match=words):
        compare(a, b, level)


# A sweep's models


@pytest.fixture(scope="module")
def table():
    """Return the results of three models; the last has no layer "interaction_1".

    They hold a second α, which must not count.
    """
    dims = ("model", "layer", "irrep", "repeat", "size", "fold", "alpha", "target")
    layers = ["embedding", "interaction_0", "interaction_1"]
    r2 = RNG.uniform(0, 1, (3, 3, 2, 2, 2, 5, 2, 2))
    n_features = np.full((3, 3, 2), 8)
    n_features[2, 2], n_features[:, 0, 1] = 0, 0
    replicates = RNG.uniform(0, 1, (3, 3, 2, 40, 2, 2))
    return xr.Dataset(
        {
            "r2_geom": (dims, r2),
            "n_features": (dims[:3], n_features),
            "replicate_r2_geom": ((*dims[:3], "replicate", *dims[6:]), replicates),
        },
        {
            "model": ["a", "b", "c"], "layer": layers, "irrep": ["all", "0e"], "size": [30, 60],
            "target": ["gap", "mu"],
        },
    )  # fmt: skip


def test_every_pair(table):
    found = differences(table)
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    assert list(zip(found["target"], found["model"], found["reference"], strict=True)) == [
        (t, *pair) for t in ("gap", "mu") for pair in pairs
    ]
    last = {"a": "interaction_1", "b": "interaction_1", "c": "interaction_0"}
    for row in found.itertuples():
        first, second = (
            table.sel(model=m, layer=last[m], irrep="all", target=row.target).isel(alpha=0)
            for m in (row.model, row.reference)
        )
        scores = [one.r2_geom.sel(size=60).to_numpy() for one in (first, second)]
        expected = compare(*scores)
        assert (row.difference, row.low, row.high, row.p_value) == (
            expected.value, expected.low, expected.high, expected.p_value,
        )  # fmt: skip
        pair = [
            Bootstrap(s[0].mean(), one.replicate_r2_geom.to_numpy())
            for s, one in zip(scores, (first, second), strict=True)
        ]
        interval = pair[0].difference(pair[1])
        assert row.bootstrap_low == pytest.approx(interval.low, abs=1e-12)
        assert row.bootstrap_high == pytest.approx(interval.high, abs=1e-12)
    np.testing.assert_array_equal(found["p_adjusted"], adjust(found["p_value"]))


def test_against_a_reference(table):
    assert differences(table, "gap, mu").equals(differences(table, ["gap", "mu"]))
    found = differences(table, "mu", reference="b")
    assert found[["target", "model", "reference"]].values.tolist() == [
        ["mu", "a", "b"], ["mu", "c", "b"],
    ]  # fmt: skip
    assert "bootstrap_low" not in differences(table.drop_vars("replicate_r2_geom"))


def test_training_runs_are_taken_together(table):
    of_runs = table.assign_coords(model=["a", "b", "a-run2"])
    found = differences(of_runs, "gap", runs=True)
    [row] = found.itertuples()
    assert (row.model, row.runs, row.reference, row.reference_runs) == ("a", 2, "b", 1)
    last = {"a": "interaction_1", "b": "interaction_1", "a-run2": "interaction_0"}
    a, b, again = (
        of_runs.r2_geom.sel(model=m, layer=layer, irrep="all", target="gap", size=60)[..., 0]
        for m, layer in last.items()
    )
    expected = hierarchical_difference(np.stack([a, again]), np.stack([b]))
    assert (row.difference, row.low, row.high) == (expected.value, expected.low, expected.high)
    assert row.p_adjusted == expected.p_value
    assert "bootstrap_low" not in found
    turned = differences(of_runs, "gap", reference="a-run2", runs=True)
    assert turned[["model", "reference", "difference"]].values.tolist() == [
        ["b", "a", -row.difference]
    ]
    with pytest.raises(UnknownNameError, match="unknown model 'c'"):
        differences(of_runs, reference="c", runs=True)
    with pytest.raises(InputError, match="needs two models"):
        differences(of_runs.sel(model=["a", "a-run2"]), runs=True)


def test_training_runs_keep_the_interval_of_a_test_set(table):
    one = table.isel(fold=[0]).assign_attrs(settings='{"test": 20}', molecules=140)
    plain = differences(one, "gap")
    together = differences(one, "gap", runs=True)
    np.testing.assert_array_equal(plain[["low", "high"]], together[["low", "high"]])
    assert np.isfinite(plain[["low", "high"]]).all(axis=None)


def test_a_layer_leaves_out_models_without_it(table):
    found = differences(table, layer="interaction_1")
    assert set(found["model"]) | set(found["reference"]) == {"a", "b"}
    scalars = differences(table, "gap", layer="embedding")  # its only irrep has the name "all"
    assert len(scalars) == 3


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"targets": ["gaps"]}, UnknownNameError, "did you mean gap"),
        ({"reference": "d"}, UnknownNameError, "unknown model 'd'"),
        ({"layer": "interaction_9"}, UnknownNameError, "unknown layer 'interaction_9'"),
    ],
)
def test_unknown_names(table, options, error, words):
    with pytest.raises(error, match=words):
        differences(table, **options)


def test_one_model_is_no_comparison(table):
    with pytest.raises(InputError, match="needs two models with layer 'last', the results have a"):
        differences(table.sel(model=["a"]))


# For 400 data sets, four standard errors of a binomial proportion of 0.05 are 0.044.


@pytest.mark.slow
@pytest.mark.parametrize(("repeats", "least"), [(1, 0.2), (5, 0.7)])
def test_level_and_power(repeats, least):
    """Two equally noisy copies of one geometry score alike, and a noisier copy scores worse."""
    n, sets = 100, 400
    rejected = np.empty((sets, 2))
    for i in range(sets):
        c = RNG.poisson(3, (n, 2)).astype(float)
        geometry = RNG.normal(size=(n, 5))
        copies = [geometry + s * RNG.normal(size=(n, 5)) + c[:, :1] for s in (0.5, 0.5, 2.0)]
        y = geometry.sum(1) + RNG.normal(size=n) + c[:, 0]
        scores = [
            cpdjax.learning_curve(x, c, y, sizes=[n], repeats=repeats).r2_geom[:, 0, :, 0, 0]
            for x in copies
        ]
        rejected[i] = [compare(scores[0], other).p_value <= 0.05 for other in scores[1:]]
    level, power = rejected.mean(0)
    # The correction allows for more dependence between folds than there is, so it is conservative.
    assert level < 0.05 + 0.044
    assert power > least
