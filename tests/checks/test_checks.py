"""The checks pass on honest data and fail on planted faults; their numbers are NumPy's."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import call

import cpdjax
from cpdjax.checks import suite
from cpdjax.checks.compositional import check_compositional, compositional_targets
from cpdjax.checks.isomers import check_isomers, pairs
from cpdjax.checks.leakage import check_leakage
from cpdjax.checks.outcome import all_passed, reported, required
from cpdjax.checks.planted import Representation, check_planted, draw, expectation, truth
from cpdjax.checks.procedures import projection_on_all_rows, projection_per_fold, raw_features
from cpdjax.errors import ConstantTargetWarning, InputError
from cpdjax.probes.folds import group_folds, kfold
from cpdjax.probes.least_squares import residual
from cpdjax.probes.r2 import r2_of_training_mean

N = 240
SYMBOLS = ("H", "C", "O")
FEW = (Representation(0.5, 0.0, 1.0, 8), Representation(0.9, 0.5, 0.0, 8))


@pytest.fixture(scope="module")
def data():
    """Make eighty formulas of three isomers; features of composition, geometry and noise."""
    rng = np.random.default_rng(0)
    C = np.repeat(rng.permutation(list(itertools.product(range(1, 7), repeat=3)))[:80], 3, axis=0)
    C = rng.permutation(C.astype(float))
    geometry = rng.normal(size=(N, 6))
    X = geometry + C @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(N, 6))
    y = geometry[:, 0] + C @ np.array([1.0, -0.5, 2.0])
    formulas = np.array([f"H{int(h)}C{int(c)}O{int(o)}" for h, c, o in C])
    return X, C, formulas, y


def failed(found):
    """Return the quantities whose requirement is missed."""
    return [outcome.quantity for outcome in found.outcomes if outcome.passed is False]


# Isomers


def test_isomer_accuracies_are_counted_pair_by_pair(data):
    X, C, formulas, y = data
    found = check_isomers(X, C, formulas, y)
    ids = group_folds(formulas, 5)
    p = cpdjax.cpd(X, C, y, folds=ids, predictions=True).prediction[0, :, 0]
    right = [
        (p[i] - p[j]) * (y[i] - y[j]) > 0
        for i, j in itertools.combinations(range(N), 2)
        if formulas[i] == formulas[j]
    ]
    assert found.pairs.tolist() == [len(right)]
    assert found.formulas.tolist() == [80]
    assert found.residual.value[0] == pytest.approx(np.mean(right), abs=1e-12)
    assert found.composition.value[0] == 0.5
    assert failed(found) == []
    low, high = found.residual.interval[:, 0]
    assert low < found.residual.value[0] < high


def test_pairs_are_all_pairs_of_one_formula():
    first, second, group = pairs(np.array(list("abacab")))
    found = {tuple(sorted(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    assert found == {(0, 2), (0, 4), (2, 4), (1, 5)}
    assert len(set(group.tolist())) == 2


@pytest.mark.slow
def test_the_interval_is_of_formulas_not_of_pairs():
    """Pairs that copy each other tell nothing new: copies leave the interval as it is."""
    rng = np.random.default_rng(0)
    C = np.repeat(rng.integers(1, 9, (60, 3)).astype(float), 8, axis=0)
    copied = np.repeat(rng.normal(size=(120, 4)), 4, axis=0)  # two kinds of isomer, four of each
    y = copied[:, 0] + np.repeat(rng.normal(size=120), 4)
    formulas = np.array([str(c) for c in C])
    all_copies, once = (
        check_isomers(copied[::step], C[::step], formulas[::step], y[::step]) for step in (1, 4)
    )
    assert all_copies.pairs[0] == 16 * once.pairs[0]
    width = [np.ptp(found.residual.interval) for found in (all_copies, once)]
    assert width[0] == pytest.approx(width[1], rel=0.3)


def test_shuffled_formulas_are_found_out(data):
    X, C, formulas, y = data
    shuffled = np.random.default_rng(1).permutation(formulas)
    assert "target: accuracy from composition" in failed(check_isomers(X, C, shuffled, y))


def test_features_that_hold_the_answer_pass_and_noise_is_at_chance(data):
    _, C, formulas, y = data
    noise = np.random.default_rng(2).normal(size=(N, 6))
    found = check_isomers(noise, C, formulas, y).residual
    assert abs(found.value[0] - 0.5) < 4 * found.error[0]
    answer = np.column_stack([y, noise[:, :5]])
    assert check_isomers(answer, C, formulas, y).residual.value[0] > 0.9


def test_without_isomers_there_is_no_isomer_check(data):
    X, C, _, y = data
    with pytest.raises(InputError, match="equal formula and unequal target"):
        check_isomers(X, C, np.arange(N), y)


# Compositional targets


def test_compositional_targets_are_what_they_are_called():
    C = np.array([[4.0, 1.0, 0.0], [2.0, 0.0, 1.0], [6.0, 2.0, 1.0]])
    made = compositional_targets(C, SYMBOLS)
    np.testing.assert_array_equal(made["heavy atoms"], [1, 1, 3])
    np.testing.assert_array_equal(made["heavy atoms squared"], [1, 1, 9])
    np.testing.assert_array_equal(made["product of counts"], [4, 0, 12])
    p = np.array([2 / 3, 1 / 3])
    assert made["mixing entropy"][1] == pytest.approx(-(p * np.log(p)).sum())
    fit = np.linalg.lstsq(C, made["random linear"], rcond=None)[0]
    np.testing.assert_allclose(C @ fit, made["random linear"], atol=1e-12)


def test_compositional_targets_are_gone_from_the_residual(data):
    X, C, formulas, _ = data
    found = check_compositional(X, C, formulas, SYMBOLS)
    assert failed(found) == []
    assert found.r2_geom.shape == (2, 5, 5)
    np.testing.assert_allclose(found.r2_geom[..., :2], found.r2_mean[..., :2], atol=1e-9)
    np.testing.assert_allclose(found.r2_comp[..., :2], 1, atol=1e-9)
    assert np.median(found.r2_full[..., 0]) > 0.5


@pytest.mark.parametrize("fault", [projection_on_all_rows, raw_features])
def test_a_wrong_projection_fails_on_compositional_targets(data, fault):
    X, C, formulas, _ = data
    found = check_compositional(X, C, formulas, SYMBOLS, procedure=fault)
    assert "heavy atoms, random folds: |R²_geom − R² of the training mean|" in failed(found)


def test_a_nonlinear_feature_shows_what_least_squares_leaves(data):
    """Features that hold the square of the number of heavy atoms keep it, to 1 − R²_comp."""
    X, C, formulas, _ = data
    heavy = C[:, 1:].sum(1)
    found = check_compositional(np.column_stack([X[:, 1:], heavy**2]), C, formulas, SYMBOLS)
    square = found.targets.index("heavy atoms squared")
    left = 1 - np.median(found.r2_comp[0, :, square])
    assert np.median(found.r2_geom[0, :, square]) == pytest.approx(left, abs=0.01)
    assert failed(found) == []


@pytest.mark.slow
def test_a_fold_of_one_formula_has_no_score_and_fails_nothing(data):
    C = np.array([[4.0, 1, 0], [6, 2, 0], [2, 0, 1], [0, 1, 2], [4, 1, 1], [8, 3, 0]] * 40)
    X = data[0] + C @ np.ones((3, 6))
    with pytest.warns(ConstantTargetWarning):
        found = check_compositional(X, C, np.array([str(c) for c in C]), SYMBOLS)
    assert np.isnan(found.r2_geom).any()
    assert [quantity for quantity in failed(found) if quantity.startswith("heavy atoms,")] == []


def test_one_composition_is_refused(data):
    X, _, formulas, _ = data
    with pytest.raises(InputError, match="different composition"):
        check_compositional(X, np.ones((N, 3)), formulas, SYMBOLS)


def test_r2_of_the_training_mean_is_scikit_learns(data):
    from sklearn.metrics import r2_score

    y, ids = data[3][:, None], kfold(N, 4)
    expected = [
        r2_score(y[ids == k], np.full((ids == k).sum(), y[ids != k].mean())) for k in range(4)
    ]
    np.testing.assert_allclose(r2_of_training_mean(y, ids)[:, 0], expected, atol=1e-12)


# Planted truth


def test_the_truth_on_paper_is_that_of_a_large_sample():
    """The population's R² comes from one large draw, by NumPy, from covariances alone."""
    rng = np.random.default_rng(0)
    C = rng.integers(1, 9, (200_000, 3)).astype(float)
    for setting in (*FEW, Representation(0.0, 0.3, 0.7, 4)):
        X, Y = draw(C - C.mean(0), setting, (0.2, 0.8), rng)
        Z = residual(X, C)
        explained = Z @ np.linalg.lstsq(Z, Y, rcond=None)[0]
        np.testing.assert_allclose(Y.var(0), 1, atol=0.02)
        expected = [truth(setting, g) for g in (0.2, 0.8)]
        np.testing.assert_allclose(explained.var(0), expected, atol=0.01)


def test_estimates_scatter_about_their_expectation(data):
    found = check_planted(data[1], grid=FEW, repeats=20)
    assert failed(found) == []
    error = found.spread / np.sqrt(20)
    assert (np.abs(found.estimate - found.expected) < 4 * error + 0.005).all()
    # The first order in 1/n matters: without it the estimates are off.
    noisy = found.shares.index(0.25)
    off = np.abs(found.estimate - found.analytic)[0, noisy]
    assert off > 2 * np.abs(found.estimate - found.expected)[0, noisy]


def test_expectation_tends_to_the_truth():
    setting = Representation(0.5, 0.2, 0.5, 16)
    assert expectation(setting, 0.6, 10**9, 5, 4) == pytest.approx(truth(setting, 0.6), abs=1e-6)


def test_without_projection_planted_truth_is_missed(data):
    assert len(failed(check_planted(data[1], grid=FEW, procedure=raw_features))) == 2


def test_planted_truth_needs_molecules(data):
    with pytest.raises(InputError, match="at least 32 molecules"):
        check_planted(data[1][:20], grid=FEW)


# Leakage


def test_leaks_show_on_a_target_whose_truth_is_known(data):
    X, C, _, y = data
    found = check_leakage(X, C, y, sizes=(50,), repeats=3)
    assert failed(found) == []
    per_fold, on_all_rows, raw = found.bias[:, 0, -1]
    assert abs(per_fold) < 1e-12
    assert on_all_rows < -1e-3
    assert raw > 0.3
    np.testing.assert_array_equal(found.bias[0, :, 0], 0)


@pytest.mark.parametrize("fault", [projection_on_all_rows, raw_features])
def test_a_leaking_procedure_fails(data, fault):
    X, C, _, y = data
    assert failed(check_leakage(X, C, y, sizes=(50,), repeats=3, procedure=fault))


def test_leakage_needs_the_smallest_size(data):
    X, C, _, y = data
    with pytest.raises(InputError, match="needs at least 50 molecules, got 20"):
        check_leakage(X[:20], C[:20], y[:20])


@pytest.mark.slow
def test_a_projection_on_all_rows_is_scikit_learns(data):
    from sklearn.linear_model import LinearRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, C, _, y = data
    ids = kfold(N, 5)
    left = X - LinearRegression().fit(C, X).predict(C)
    expected = []
    for k in range(5):
        model = make_pipeline(StandardScaler(), Ridge()).fit(left[ids != k], y[ids != k])
        expected.append(model.score(left[ids == k], y[ids == k]))
    found = projection_on_all_rows(X, C, y[:, None], ids, 1.0)[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.abs(projection_per_fold(X, C, y[:, None], ids, 1.0)[:, 0] - expected).max() > 1e-4


# The page


@pytest.fixture(scope="module")
def files(data, tmp_path_factory):
    X, _, formulas, y = data
    folder = tmp_path_factory.mktemp("checks")
    np.savez(folder / "mine.npz", first=X[:, :2], last=X)
    np.savez(folder / "flat.npz", last=np.ones((N, 2)))
    pd.DataFrame({"formula": formulas, "gap": y}).to_csv(folder / "mine.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def finished(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "out"
    said = call(
        "check", "--features", files / "mine.npz", "--targets", files / "mine.csv", "--out", out
    )
    return out, said


@pytest.mark.slow
def test_the_page_says_pass_and_the_status_is_zero(finished):
    out, (status, printed, errors) = finished
    assert (status, errors) == (0, "")
    assert "all checks pass" in printed
    assert "FAIL" not in printed
    assert "mine / last / 0e" in printed  # the last layer
    assert "first" not in printed
    pngs = {"isomers.png", "planted.png", "compositional.png", "leakage.png"}
    pages = {"checks.md", "checks.html", "checks.csv"}
    assert {p.name for p in out.iterdir()} == {"SHA256SUMS"} | pages | pngs
    for name in pages | pngs:
        assert f"saved {out / name}" in printed
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in pngs)
    text = (out / "checks.md").read_text()
    assert "# All checks pass" in text
    assert "![Structural isomers](isomers.png)" in text
    html = (out / "checks.html").read_text()
    assert html.count('class="good">pass</td>') == text.count("| pass |") > 0
    assert html.count("data:image/png;base64,") == len(pngs)
    assert "folds 5, alpha 1.0, seed 0" in html


@pytest.mark.slow
def test_the_table_of_the_page_is_what_the_checks_say(finished, data):
    out, _ = finished
    X, _, formulas, y = data
    long = pd.read_csv(out / "checks.csv").set_index("quantity")
    found = check_isomers(X, cpdjax.composition(formulas), formulas, y)
    row = long.loc["gap: accuracy from the residual"]
    assert row["value"] == pytest.approx(found.residual.value[0], abs=1e-12)
    assert row["verdict"] == "reported"
    assert set(long.verdict) == {"pass", "reported"}


@pytest.mark.slow
def test_a_failed_check_has_status_one(finished, files, monkeypatch, tmp_path):
    honest = suite.check_isomers

    def dishonest(*args, **options):
        found = honest(*args, **options)
        return replace(found, composition=replace(found.composition, value=np.array([0.7])))

    monkeypatch.setattr(suite, "check_isomers", dishonest)
    monkeypatch.setattr(
        suite,
        "check_planted",
        lambda *_, **__: check_planted(
            np.random.default_rng(0).integers(1, 9, (64, 3)).astype(float), grid=FEW[:1], repeats=1
        ),
    )
    status, printed, _ = call(
        "check", "--features", files / "mine.npz", "--targets", files / "mine.csv",
        "--layers", "first,last", "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 1
    assert "A CHECK FAILS" in printed
    assert "FAIL" in printed
    assert "mine / first / 0e" in printed
    assert (tmp_path / "out" / "checks.md").read_text().startswith("# A check fails")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--alpha", "many"], "--alpha must be a number from 0 to"),
        (["--layers", "lost"], "unknown layer 'lost'"),
        (["--features", "flat.npz"], "every feature is constant"),
    ],
)
def test_what_cannot_be_checked_is_one_line_and_status_two(files, tmp_path, options, said):
    options = [files / o if o == "flat.npz" else o for o in options]
    features = [] if "--features" in options else ["--features", files / "mine.npz"]
    status, printed, errors = call(
        "check", *features, "--targets", files / "mine.csv", *options, "--out", tmp_path / "o"
    )
    assert (status, printed) == (2, "")
    assert said in errors
    assert len(errors.splitlines()) == 1


def test_nan_fails_and_what_is_reported_does_not():
    assert required("c", "q", np.nan, (0, 1), "r").passed is False
    assert all_passed([reported("c", "q", np.nan)])
    assert not all_passed([required("c", "q", 2, (0, 1), "r")])
