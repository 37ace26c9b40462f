"""What the kernel cannot honestly compute gets one clear line, never a silent NaN."""

import warnings

import jax
import numpy as np
import pytest

import cpdjax
from cpdjax.errors import ConstantTargetWarning, InputError
from cpdjax.validation import check_finite

N, D, Q, T = 20, 4, 2, 2


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return {
        "X": rng.normal(size=(N, D)),
        "C": rng.integers(0, 5, (N, Q)).astype(float),
        "Y": rng.normal(size=(N, T)),
    }


def with_value(name, row, column, value):
    def change(data):
        array = data[name].copy()
        array[row, column] = value
        return {name: array}

    return change


def refused(call, *parts):
    """The one line of an InputError, which holds all of `parts`."""
    with pytest.raises(InputError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    for part in parts:
        assert part in line
    return line


BAD_ARRAYS = {
    "fewer rows in C": (lambda d: {"C": d["C"][:-1]}, ["C has 19 molecules", "X has 20"]),
    "fewer rows in Y": (lambda d: {"Y": d["Y"][:-3, 0]}, ["Y has 17 molecules", "X has 20"]),
    "a vector for X": (lambda d: {"X": d["X"][:, 0]}, ["X must have axes", "(20,)"]),
    "a number for X": (lambda d: {"X": 3.0}, ["X must have axes", "()"]),
    "a vector for C": (lambda d: {"C": d["C"][:, 0]}, ["C must have axes", "(20,)"]),
    "three axes of Y": (lambda d: {"Y": d["Y"][:, :, None]}, ["Y must have axes", "(20, 2, 1)"]),
    "no features": (lambda d: {"X": d["X"][:, :0]}, ["X has no columns", "(20, 0)"]),
    "no targets": (lambda d: {"Y": d["Y"][:, :0]}, ["Y has no columns", "(20, 0)"]),
    "text": (lambda d: {"X": d["X"].astype(str)}, ["X must hold real numbers", "<U"]),
    "objects": (lambda d: {"Y": d["Y"].astype(object)}, ["Y must hold real numbers", "object"]),
    "complex": (lambda d: {"X": d["X"] + 1j}, ["X must hold real numbers", "complex128"]),
    "durations": (
        lambda d: {"X": d["X"].astype("timedelta64[s]")},
        ["X must hold real numbers", "timedelta64"],
    ),
    "masked values": (
        lambda d: {"X": np.ma.masked_greater(d["X"], 1)},
        ["X holds masked values", "fill them"],
    ),
    "rows of different lengths": (
        lambda d: {"C": [[1.0, 2.0]] * (N - 1) + [[1.0]]},
        ["C must be an array", "different lengths"],
    ),
    "NaN in X": (with_value("X", 7, 2, np.nan), ["X has 1 NaN", "molecule 7", "column 2"]),
    "infinity in C": (with_value("C", 3, 1, np.inf), ["C has 1 NaN", "molecule 3", "column 1"]),
    "-infinity in Y": (with_value("Y", 0, 1, -np.inf), ["Y has 1 NaN", "molecule 0", "column 1"]),
    "NaN in one target": (
        lambda d: {"Y": np.where(np.arange(N) < 18, 1.0, np.nan)},
        ["Y has 2 NaN", "molecule 18", "column 0"],
    ),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(data, case):
    change, parts = BAD_ARRAYS[case]
    data |= change(data)
    refused(lambda: cpdjax.cpd(**data), *parts)
    refused(lambda: cpdjax.learning_curve(**data, sizes=[10, N]), *parts[:1])


def test_no_molecules(data):
    data = {name: array[:0] for name, array in data.items()}
    refused(lambda: cpdjax.cpd(**data), "5 folds", "got 0")
    refused(lambda: cpdjax.learning_curve(**data, sizes=[10]), "size 10", "0 molecules")


def test_bad_jax_arrays_as_bad_numpy_arrays(data):
    data["X"] = jax.numpy.asarray(data["X"]).at[7, 2].set(np.nan)
    refused(lambda: cpdjax.cpd(**data), "X has 1 NaN", "molecule 7", "column 2")


def test_labels_name_the_column():
    array = np.array([[1.0, 2.0], [3.0, np.nan]])
    with pytest.raises(InputError, match="molecule 1, column gap"):
        check_finite("Y", array, labels=["mu", "gap"])
    check_finite("Y", np.full((2, 1), 1e308))  # whose sum is infinite, but no value


BAD_OPTIONS = {
    "a negative α": ({"alphas": -1.0}, ["alphas", "not negative", "-1.0"]),
    "a negative α in a grid": ({"alphas": [1.0, 1e-3, -2.0]}, ["not negative", "-2.0"]),
    "α that is no number": ({"alphas": np.nan}, ["alphas must be finite", "nan"]),
    "infinite α": ({"alphas": [1.0, np.inf]}, ["alphas must be finite", "inf"]),
    "an unknown rule for α": ({"alphas": "gcv"}, ["alphas", '"loo"', "'gcv'"]),
    "no α": ({"alphas": []}, ["alphas must be a number or a sequence"]),
    "α in a table": ({"alphas": [[1.0, 2.0]]}, ["alphas must be a number or a sequence"]),
    "nothing for α": ({"alphas": None}, ["alphas must be a number or a sequence", "None"]),
    "more folds than molecules": ({"folds": 21}, ["21 folds", "got 20"]),
    "one fold": ({"folds": 1}, ["folds must be at least 2", "got 1"]),
    "no fold": ({"folds": 0}, ["folds must be at least 2", "got 0"]),
    "fold ids of other data": ({"folds": np.arange(19) % 5}, ["each of 20 molecules", "(19,)"]),
    "fractional fold ids": ({"folds": np.arange(20) % 5 / 2}, ["one integer", "float64"]),
    "negative fold ids": ({"folds": np.arange(20) % 5 - 1}, ["count from 0", "-1"]),
    "an empty fold": ({"folds": np.arange(20) % 3 * 2}, ["fold 1 has no molecule", "renumber"]),
    "no training rows": ({"folds": np.zeros(20, int)}, ["fold 0", "no training rows", "all 20"]),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options(data, case):
    options, parts = BAD_OPTIONS[case]
    refused(lambda: cpdjax.cpd(**data, **options), *parts)
    refused(lambda: cpdjax.learning_curve(**data, **({"sizes": [N]} | options)), parts[0])


BAD_SIZES = {
    "larger than the data": ({"sizes": [10, 21]}, ["size 21", "larger than the data: 20"]),
    "not increasing": ({"sizes": [10, 10]}, ["sizes must be increasing", "[10, 10]"]),
    "none": ({"sizes": []}, ["sizes must be increasing and not empty"]),
    "no list": ({"sizes": 10}, ["sizes must be increasing", "10"]),
    "no whole numbers": ({"sizes": [10.7, 20]}, ["sizes must be whole numbers", "10.7"]),
    "half a repeat": ({"sizes": [10], "repeats": 1.5}, ["repeats must be", "whole", "1.5"]),
    "one molecule": ({"sizes": [1, 10], "folds": 2}, ["sizes must be at least 2", "got 1"]),
    "fewer than folds": ({"sizes": [4, 10]}, ["5 folds", "got 4"]),
    "no repeat": ({"sizes": [10], "repeats": 0}, ["repeats must be at least 1", "got 0"]),
    "a fold not in the smallest": (
        {"sizes": [5, N], "folds": np.arange(N) // 19},
        ["fold 1", "first 5", "larger size"],
    ),
}


@pytest.mark.parametrize("case", BAD_SIZES)
def test_bad_sizes(data, case):
    options, parts = BAD_SIZES[case]
    refused(lambda: cpdjax.learning_curve(**data, **options), *parts)


# Undefined scores


def cpd(data, **options):
    return cpdjax.cpd(**data, predictions=True, **options)


def test_a_constant_target_is_nan_with_a_warning(data):
    data["Y"][:, 1] = 0.1
    with pytest.warns(ConstantTargetWarning, match=r"target columns \[1\]") as caught:
        scores = cpdjax.cpd(**data, predictions=True)
    assert len(caught) == 1
    assert caught[0].filename == __file__  # it points at the caller
    assert "\n" not in str(caught[0].message)
    for name in ("r2_geom", "r2_full", "r2_comp"):
        undefined = np.isnan(getattr(scores, name))
        assert undefined[..., 1].all()
        assert not undefined[..., 0].any()


def test_a_learning_curve_warns_of_a_constant_target(data):
    data["Y"][:, 0] = -7
    with pytest.warns(ConstantTargetWarning, match=r"target columns \[0\]") as caught:
        curve = cpdjax.learning_curve(**data, sizes=[N], repeats=1)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(np.isnan(curve.r2_comp).all((0, 1, 2)), [True, False])


def test_only_the_fold_whose_held_out_target_is_constant_is_undefined(data):
    ids = np.arange(N) % 5
    data["Y"][ids == 3] = 7
    with pytest.warns(ConstantTargetWarning, match=r"\[0, 1\]"):
        scores = cpd(data, folds=ids)
    np.testing.assert_array_equal(np.isnan(scores.r2_geom).all((1, 2)), np.arange(5) == 3)
    assert np.isfinite(scores.prediction).all()


def test_a_target_constant_in_training_only_is_defined(data):
    ids = np.arange(N) // 4
    data["Y"][ids != 0] = 7
    with pytest.warns(ConstantTargetWarning):
        scores = cpd(data, folds=ids)
    assert np.isfinite(scores.r2_geom[0]).all()
    np.testing.assert_allclose(scores.prediction[0, ids == 0], 7, rtol=1e-12)


def test_one_molecule_held_out_has_no_r2(data):
    with pytest.warns(ConstantTargetWarning):
        scores = cpd(data, folds=N)
    assert np.isnan(scores.r2_geom).all()
    assert np.isfinite(scores.prediction).all()


def test_sound_input_warns_of_nothing(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = cpd(data)
    assert np.isfinite(scores.r2_geom).all()


def test_features_without_variance_predict_the_mean(data):
    """Nothing to regress on: R² is that of the training mean, not NaN."""
    data["X"] = np.full((N, D), 0.1)
    scores = cpd(data)
    ids = cpdjax.kfold(N)
    for fold in range(5):
        mean = data["Y"][ids != fold].mean(0)
        np.testing.assert_allclose(scores.prediction[0, ids == fold], [mean] * 4, rtol=1e-12)
    assert (np.asarray(scores.r2_geom) <= 0).all()
    np.testing.assert_array_equal(scores.r2_geom, scores.r2_full)
    assert np.isnan(scores.composition_share).all()


@pytest.mark.parametrize(
    ("change", "options"),
    [
        pytest.param(lambda X: np.tile(X, 2), {"alphas": 0.0}),
        pytest.param(
            lambda X: np.tile(X, 2) * 1e5,
            {"alphas": 1e-6, "standardize": False},
        ),
        pytest.param(
            lambda X: np.tile(X, 2),
            {"alphas": 1e-6, "dtype": np.float32},
        ),
        pytest.param(lambda X: X * 1e200, {}),
    ],
    ids=["α = 0", "unstandardised", "float32", "overflow"],
)
def test_no_silent_nan(data, change, options):
    """A finite score, or one clear line."""
    data["X"] = change(data["X"])
    try:
        scores = cpd(data, **options)
    except InputError:
        return
    assert np.isfinite(scores.r2_geom).all()
    assert np.isfinite(scores.r2_full).all()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        pytest.param({"folds": 2.7}, "folds"),
        pytest.param({"folds": "five"}, "folds"),
        pytest.param({"dtype": int}, "dtype"),
        pytest.param({"alphas": 1j}, "alphas"),
        pytest.param({"seed": -1}, "seed"),
    ],
)
def test_nonsense_options(data, options, part):
    refused(lambda: cpdjax.cpd(**data, **options), part)
