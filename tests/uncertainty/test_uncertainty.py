"""Bootstrap intervals, and the uncertainty of a sweep: drawn, kept, adjusted, saved and shown."""

import json

import jax
import numpy as np
import oracle
import pandas as pd
import pytest
import xarray as xr
from helpers import call, one_line, png_size
from matplotlib.figure import Figure

import cpdjax
from cpdjax.errors import ConstantTargetWarning, FileError, InputError
from cpdjax.kernel.scores import Scores
from cpdjax.probes.folds import cross_validation, nested
from cpdjax.reports import score_figures as report
from cpdjax.reports.significance import uncertainty_table
from cpdjax.reports.significance_figures import plot_differences, plot_null
from cpdjax.sweeps import probe_kinds, probing, results, significance
from cpdjax.sweeps import sweep as sweep_module
from cpdjax.sweeps.channels import Channel
from cpdjax.sweeps.settings import Settings
from cpdjax.sweeps.targets import Targets
from cpdjax.uncertainty import bootstrap as bootstrap_module
from cpdjax.uncertainty.bootstrap import Bootstrap, _mean_scores, bootstrap, mirrored, redrawn
from cpdjax.uncertainty.multiplicity import adjust, max_t
from cpdjax.uncertainty.permutation import PermutationTest, permutation_test
from cpdjax.uncertainty.resampling import p_values

PROBE_BATCH = probing._probe_batch

# One shape throughout: sixteen features, as a sweep pads its channels, five folds of twelve.
N, PERMUTATIONS, REPLICATES = 60, 19, 40
RNG = np.random.default_rng(0)
FORMULAS = np.array(["CH4", "C2H6", "H2O", "CO2", "CH4O", "NH3"] * 10)
C = cpdjax.composition(FORMULAS)
X = RNG.normal(size=(N, 16)) + C[:, :1]
WORSE = X + 2 * RNG.normal(size=X.shape)
Y = np.stack([X[:, 0] + 0.5 * RNG.normal(size=N), RNG.normal(size=N)], axis=1)
TABLE = pd.DataFrame({"formula": FORMULAS, "gap": Y[:, 0], "mu": Y[:, 1]})
FEATURES = {"good": {"first": X}, "worse": {"second": WORSE}}
ASKED = {"permutations": PERMUTATIONS, "bootstrap": REPLICATES}


def sweep(out=None, **changes):
    settings = {"targets": TABLE, "sizes": [N], "repeats": 2, "seed": 3, "out": out, "alphas": 1.0}
    settings |= ASKED
    return cpdjax.sweep(**({"features": FEATURES} | settings | changes))


def random_batch(work, shared, batch):
    """Stands in for the probe itself, which other tests look at and which takes time to compile."""
    return {unit: random_scores(work, unit) for unit in batch}


def random_scores(work, unit):
    rng = np.random.default_rng(unit)
    shape = (len(work.layout.sizes), work.settings.folds, 1, len(work.targets.by_name))
    scores = rng.uniform(0.2, 0.8, shape)
    return Scores(scores, scores, scores[..., 0, :], scores[..., 0, 0], scores, scores)


def random_test(X, C, Y, *, permutations, folds, seed, **options):
    """Likewise for permutation tests: numbers that depend on all that they are given."""
    rng = np.random.default_rng([seed, *folds, *np.abs(1e6 * X[:, 0]).astype(int)])
    observed, null = rng.normal(size=(1, Y.shape[1])), rng.normal(size=(permutations, 1, 1)) * Y[:1]
    return PermutationTest(observed, null, p_values(observed, null))


@pytest.fixture(autouse=True)
def _strict_jax():
    """Not here: a sweep's threads do not inherit it, and all would compile twice."""


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probing, "_probe_batch", random_batch)
        patch.setattr(probe_kinds, "permutation_test", random_test)
        patch.setattr(bootstrap_module, "_mean_scores", quickly_compiled(_mean_scores))
        yield


def quickly_compiled(function):
    """It runs a few times only."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    static = ("mesh", "kernel", "sizes", "bounds", "options")
    return jax.jit(function.__wrapped__, static_argnames=static, compiler_options=options)


def real(patch):
    """Without the stand-ins."""
    patch.setattr(probing, "_probe_batch", PROBE_BATCH)
    patch.setattr(probe_kinds, "permutation_test", permutation_test)
    patch.setattr(bootstrap_module, "_mean_scores", _mean_scores)


# The bootstrap


def test_every_replicate_has_the_kernels_own_score():
    found = bootstrap(X, C, Y, replicates=REPLICATES, seed=3)
    layout = redrawn(cross_validation(N, 5, seed=3), REPLICATES, 3)
    fold = np.repeat(np.arange(5), 12)
    for i, scores in enumerate([found.observed, *found.replicates[:9]]):
        rows = layout.index[i].ravel()
        one = oracle.cpd(X[rows], C[rows], Y[rows], fold, [1.0])
        np.testing.assert_allclose(scores, one.r2_geom.mean(0), atol=1e-10)


def test_a_molecule_never_leaves_its_fold():
    ids = np.array([0] * 7 + [1] * 4 + [2] * 9)
    layout = cross_validation(20, ids)
    drawn = redrawn(layout, 50, seed=0)
    for fold, count in enumerate([7, 4, 9]):
        assert set(drawn.index[1:, fold, :count].ravel()) == set(np.flatnonzero(ids == fold))
    np.testing.assert_array_equal(drawn.index[0], layout.index[0])
    assert (drawn.rank == layout.rank).all()
    assert len(np.unique(drawn.index.reshape(51, -1), axis=0)) == 51
    again, other = redrawn(layout, 50, seed=0), redrawn(layout, 50, seed=1)
    np.testing.assert_array_equal(again.index, drawn.index)
    assert (other.index != drawn.index).any()


def test_a_curve_is_redrawn_at_its_largest_size():
    layout = nested(30, [10, 20], 3, 5, seed=1)
    drawn = redrawn(layout, 4, seed=0)
    assert drawn.sizes == (20,)
    assert set(drawn.index.ravel()) <= set(layout.subset(0, 20))


def test_the_interval_by_hand():
    """Errors 1 − R² of a long lower tail: its mirror image is a long upper one."""
    error = np.array([0.5] * 6 + [1.0] * 8 + [4.0] * 6)
    found = Bootstrap(np.array(0.2), 1 - error)
    low, high = found.interval(0.6)
    assert (low, high) == pytest.approx((1 - 0.8 / 0.5, 1 - 0.8 / 4))
    assert found.interval(0.2) == pytest.approx((0.2, 0.2))
    shifted = Bootstrap(np.array(0.2), 1 - 1.3 * error)  # all replicates worse alike: no matter
    assert shifted.interval(0.6) == pytest.approx((low, high))


def test_a_perfect_score_and_one_that_is_undefined():
    assert mirrored(np.array(1.0), np.array([1.0, 1.0, 0.9])).tolist() == [1, 1, 1]
    low, high = Bootstrap(np.array([0.5, 0.5]), np.array([[0.4, np.nan], [0.6, 0.5]])).interval()
    assert np.isnan([low[1], high[1]]).all()
    assert np.isfinite([low[0], high[0]]).all()


def test_pairs_are_surer_than_scores():
    shared, own = RNG.normal(0, 0.1, (2, 400)), RNG.normal(0, 0.01, 400)
    a = Bootstrap(np.array(0.5), 0.5 + shared[0])
    b = Bootstrap(np.array(0.4), 0.4 + shared[0] + own)
    other = Bootstrap(np.array(0.4), 0.4 + shared[1])
    widths = [np.ptp(a.difference(one)) for one in (b, other)]
    assert widths[0] < 0.3 * widths[1]
    assert a.difference(a) == (0, 0)
    low, high = a.difference(b)
    np.testing.assert_allclose(b.difference(a), (-high, -low), atol=1e-12)
    assert low < 0.1 < high
    without = Bootstrap(np.array(0.1), np.full(400, 0.05))  # no scatter: `interval`, moved
    np.testing.assert_allclose(a.difference(without), np.array(a.interval()) - 0.1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"replicates": 0}, "replicates must be at least 1"),
        ({"alphas": "loo"}, "the bootstrap needs alphas of its own, got 'loo'"),
        ({"folds": 61}, "61 folds need at least as many molecules"),
    ],
)
def test_bad_input(change, words):
    with pytest.raises(InputError, match=words):
        bootstrap(X, C, Y, **change)


def test_bad_level_pairs_and_tracing():
    found = Bootstrap(np.zeros((1, 2)), np.zeros((9, 1, 2)))
    with pytest.raises(InputError, match=r"level must be between 0 and 1, such as 0.95, got 95"):
        found.interval(95)
    with pytest.raises(InputError, match="no pairs: draw both with the same replicates"):
        found.difference(Bootstrap(np.zeros((1, 2)), np.zeros((8, 1, 2))))
    with pytest.raises(InputError, match="cannot be traced"):
        jax.jit(lambda x: bootstrap(x, C, Y).observed)(X)


# The sweep


@pytest.fixture(scope="module")
def table():
    return sweep()


def test_a_channels_draws_are_the_public_functions(table):
    assert_public(table)


def assert_public(table):
    """Every draw is that of `permutation_test` and `bootstrap`, on the first repeat's folds."""
    layout = nested(N, [N], 2, 5, seed=3)
    rows = layout.subset(0, N)
    options = {"folds": layout.fold_ids(0, N), "seed": 3}
    for (model, layers), layer in zip(FEATURES.items(), ("first", "second"), strict=True):
        own = table.sel(model=model, layer=layer, irrep="0e")
        data = (layers[layer][rows], C[rows], Y[rows])
        sample = bootstrap(*data, replicates=REPLICATES, **options)
        np.testing.assert_array_equal(own.replicate_r2_geom, sample.replicates)
        np.testing.assert_array_equal((own.r2_geom_low, own.r2_geom_high), sample.interval())
        test = probe_kinds.permutation_test(*data, permutations=PERMUTATIONS, alphas=1.0, **options)
        np.testing.assert_array_equal(own.null_r2_geom, test.null)
        np.testing.assert_array_equal(own.p_value, test.p_value)
        np.testing.assert_array_equal(own.selectivity, test.observed - test.null.mean(0))


def test_dimensions_and_descriptions(table):
    own = ("model", "layer", "irrep")
    for name in ("p_value", "p_adjusted", "selectivity", "r2_geom_low", "r2_geom_high"):
        assert table[name].dims == (*own, "alpha", "target")
    assert table.null_r2_geom.dims == (*own, "permutation", "alpha", "target")
    assert table.replicate_r2_geom.dims == (*own, "replicate", "alpha", "target")
    assert (table.sizes["permutation"], table.sizes["replicate"]) == (PERMUTATIONS, REPLICATES)
    for name in significance._DESCRIPTIONS:
        assert table[name].attrs["units"] == "1"
        assert table[name].attrs["description"]
        absent = table[name].isnull().all([d for d in table[name].dims if d not in own])
        np.testing.assert_array_equal(absent, table.n_features == 0)
    settings = json.loads(table.attrs["settings"])
    assert {k: settings[k] for k in ASKED} == ASKED
    assert (settings["adjust"], settings["scheme"]) == ("max-t", "residual")


@pytest.mark.parametrize("method", ["holm", "bh", "max-t"])
def test_all_channels_and_targets_at_one_alpha_are_a_family(method):
    found = [Channel(m, "a", "0e", X, 16) for m in ("good", "worse", "third")]
    drawn = {
        significance.Draws(i, "permutation"): {
            "observed": RNG.normal(1, 1, (2, 2)), "drawn": RNG.normal(size=(PERMUTATIONS, 2, 2)),
        }
        for i in range(3)
    }  # fmt: skip
    empty = xr.Dataset(
        coords={"model": ["third", "good", "worse"], "layer": ["a"], "irrep": ["0e"]}
    )
    table = significance.attach(empty, found, Settings(permutations=19, adjust=method), drawn)
    observed, null = (np.stack([d[k] for d in drawn.values()]) for k in ("observed", "drawn"))
    null = null.swapaxes(0, 1)
    p = p_values(observed, null)
    for a in range(2):
        of = {
            "holm": adjust(p[:, a]),
            "bh": adjust(p[:, a], "bh"),
            "max-t": max_t(observed[:, a], null[:, :, a]),
        }[method]
        ours = table.p_adjusted.sel(model=["good", "worse", "third"]).isel(alpha=a)
        np.testing.assert_array_equal(ours.squeeze(), of)


def test_without_asking_nothing_changes(table, tmp_path):
    plain = sweep(tmp_path, permutations=0, bootstrap=0, adjust="bh")
    assert set(plain) == {"r2_geom", "r2_full", "r2_comp", "composition_share", "n_features"}
    for name in plain:
        np.testing.assert_array_equal(plain[name], table[name])
    assert not set(ASKED) & set(json.loads(plain.attrs["settings"]))
    kept = json.loads((tmp_path / "sweep.json").read_text())["settings"]
    assert not {"adjust", "scheme", "permute_within"} & set(kept)
    assert uncertainty_table(plain) is None


def test_interrupted_it_goes_on_to_the_same_bits(table, tmp_path, monkeypatch):
    computed = []
    save = sweep_module.Checkpoint.save

    def counting(self, name, arrays):
        computed.append(name)
        save(self, name, arrays)

    def interrupted(self, name, arrays):
        if computed:
            raise KeyboardInterrupt
        counting(self, name, arrays)

    monkeypatch.setattr(sweep_module.Checkpoint, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path)
    assert len(computed) == 1
    monkeypatch.setattr(sweep_module.Checkpoint, "save", counting)
    for _ in range(2):
        xr.testing.assert_identical(sweep(tmp_path), table)
        assert len(set(computed)) == len(computed) == 4
    with pytest.raises(FileError, match=r"settings\.permutations"):
        sweep(tmp_path, permutations=20)


@pytest.mark.parametrize("name", ["results.zarr", "results.nc"])
def test_saved_results_are_identical(table, name, tmp_path):
    results.save(table, tmp_path / name)
    xr.testing.assert_identical(results.load(tmp_path), table)


def test_the_long_csv_has_uncertainty_where_it_applies(table, tmp_path):
    long = pd.read_csv(results.save(table, tmp_path / "long.csv"), keep_default_na=False)
    long[list(results._UNCERTAIN)] = long[list(results._UNCERTAIN)].apply(pd.to_numeric)
    plain = table.drop_vars([*results._UNCERTAIN, "null_r2_geom", "replicate_r2_geom"])
    without = results.to_long(plain)
    kept = long[without.columns]
    pd.testing.assert_frame_equal(kept, without, check_dtype=False)
    applies = long["repeat"] == 0
    for name in results._UNCERTAIN:
        assert long.loc[~applies, name].isna().all()
    for row in long[applies].itertuples():
        own = table.sel(model=row.model, layer=row.layer, irrep=row.irrep, target=row.target)
        for name in results._UNCERTAIN:
            assert getattr(row, name) == own[name].item()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"permutations": -1}, "permutations: Input should be greater than or equal to 0"),
        ({"bootstrap": 1.5}, "bootstrap: "),
        ({"adjust": "bonferroni"}, "adjust: Input should be 'holm', 'bh' or 'max-t'"),
        ({"alphas": "loo"}, "bootstrap needs alphas of its own, got 'loo'"),
        ({"scheme": "residuals"}, "scheme: Input should be 'residual' or 'marginal'"),
        ({"permute_within": "element"}, "permute_within: Input should be 'formula'"),
    ],
)
def test_bad_settings_are_one_clear_line(change, words, tmp_path):
    with pytest.raises(InputError) as caught:
        sweep(tmp_path / "out", **change)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "permutations", "features", "words"),
    [
        ("holm", 19, FEATURES, ("2 scores (more with several channels)", "0.1 at", "max-t")),
        ("holm", 39, FEATURES, ("39 permutations and 4 scores give", "0.1 at", "take 79 perm")),
        ("bh", 9, FEATURES, ("0.1 at least when adjusted by bh", "take 19 permutations")),
    ],
)
def test_too_few_permutations_are_refused_before_any_probe(
    method, permutations, features, words, monkeypatch
):
    monkeypatch.setattr(probing, "_probe_batch", lambda *_: pytest.fail("probed"))
    with pytest.raises(InputError) as caught:
        sweep(features=features, adjust=method, permutations=permutations, bootstrap=0)
    one_line(caught, *words)


@pytest.mark.parametrize(("method", "permutations"), [("holm", 79), ("bh", 19), ("max-t", 9)])
def test_enough_permutations_are_not_refused(method, permutations):
    found = [Channel(m, "a", "0e", X, 16) for m in ("good", "worse")]
    chosen = Settings(permutations=permutations, adjust=method)
    targets = Targets.from_table(TABLE)
    significance.check_attainable(chosen, targets)
    significance.check_attainable(chosen, targets, found)


def test_the_table_says_the_smallest_p_and_where_it_is_too_large(table):
    assert "max-T for 4 scores, 0.05 the smallest possible" in uncertainty_table(table).title
    assert uncertainty_table(table).notes == ()
    settings = json.loads(table.attrs["settings"]) | {"adjust": "holm"}
    holm = table.assign_attrs(settings=json.dumps(settings))
    assert "Holm for 4 scores, 0.2 the smallest possible" in uncertainty_table(holm).title
    [note] = uncertainty_table(holm).notes
    assert "No p can reach 0.05 here: it takes 79 permutations" in note


# Shown


def test_figures(table):
    panels = plot_null(table).axes
    assert len(panels) == 4
    score = table.r2_geom.sel(model="good", layer="first", target="mu")[0, 0, -1].mean()
    assert panels[1].lines[0].get_xdata()[0] == pytest.approx(score.item())
    assert sum(p.get_height() for p in panels[1].patches) == PERMUTATIONS
    found = cpdjax.differences(table, reference="good")
    first, second = plot_differences(found).axes
    assert [first.get_title(), second.get_title()] == ["gap", "mu"]
    assert first.lines[1].get_xdata() == [found["difference"][0]]
    segments = [c.get_segments()[0][:, 0].tolist() for c in first.collections]
    assert segments == [
        found.loc[0, ["low", "high"]].tolist(),
        found.loc[0, ["bootstrap_low", "bootstrap_high"]].tolist(),
    ]


def test_an_undefined_target_is_shown_as_such(table):
    spoiled = table.copy(deep=True)
    for name in ("r2_geom", "r2_comp", *significance._DESCRIPTIONS):
        spoiled[name].loc[{"target": "mu"}] = np.nan
    assert plot_null(spoiled).axes[1].get_title().endswith("undefined")
    assert [row[-1] for row in uncertainty_table(spoiled).rows] == ["undefined"] * 2
    found = cpdjax.differences(spoiled)
    assert found["p_adjusted"].isna().tolist() == [False, True]
    assert len(plot_differences(found).axes) == 2


def test_the_command_line(table, tmp_path, monkeypatch):
    for name in ("plot_targets", "plot_curves"):  # looked at elsewhere, and slow to save
        monkeypatch.setattr(report, name, lambda table: Figure())
    np.savez(tmp_path / "good.npz", first=X)
    np.savez(tmp_path / "worse.npz", second=WORSE)
    TABLE.to_csv(tmp_path / "table.csv", index=False)
    out = tmp_path / "out"
    status, printed, errors = call(
        "sweep", "--features", tmp_path / "good.npz", "--features", tmp_path / "worse.npz",
        "--targets", tmp_path / "table.csv", "--sizes", N, "--repeats", 2, "--seed", 3,
        "--permutations", PERMUTATIONS, "--bootstrap", REPLICATES, "--adjust", "max-t",
        "--alphas", 1, "--out", out,
    )  # fmt: skip
    assert (status, errors) == (0, "")
    said = " ".join(printed.split())
    assert "N = 60, α = 1: 95 % interval of 40 bootstrap replicates; p of 19 permutations" in said
    assert "max-T for 4 scores, 0.05 the smallest possible" in said
    where = {"model": "good", "layer": "first", "irrep": "0e", "target": "gap"}
    own = results.load(out).sel(where)
    low, high, p = (own[k].item() for k in ("r2_geom_low", "r2_geom_high", "p_adjusted"))
    assert f"{low:.2f} to {high:.2f}, p {p:.2g}" in printed
    np.testing.assert_array_equal(own.replicate_r2_geom, table.replicate_r2_geom.sel(where))
    for name in ("null.png", "differences.png"):
        assert f"saved {out / name}" in printed
        assert min(png_size(out / name)) > 200
    status, printed, errors = call("compare", out, "--target", "gap", "--reference", "worse")
    assert (status, errors) == (0, "")
    [row] = cpdjax.differences(results.load(out), "gap", reference="worse").itertuples()
    assert f"{row.difference:+.3f} ({row.low:+.3f}, {row.high:+.3f})" in printed
    assert f"({row.bootstrap_low:+.3f}, {row.bootstrap_high:+.3f})" in printed
    assert f"saved {out / 'differences.png'}" in printed
    for option, words in {
        "--target=gaps": "did you mean gap",
        "--reference=bad": "unknown model 'bad'",
        "--layer=first": "a comparison needs two models with layer 'first'",
    }.items():
        status, _, errors = call("compare", out, option)
        assert (status, errors.count("\n")) == (2, 1)
        assert words in errors


# Known truth


def data_set(rng):
    """Two models of one geometry, the second noisier; targets with a high and a low R²."""
    c = rng.poisson(3, (100, 2)).astype(float)
    geometry = rng.normal(size=(100, 5))
    x = [geometry + noise * rng.normal(size=(100, 5)) + c[:, :1] for noise in (0.5, 1.0)]
    signal = geometry.sum(1, keepdims=True) / np.sqrt(5)
    return x, c, signal + rng.normal(size=(100, 2)) * [0.1, 1.0] + 0.3 * c[:, :1]


@pytest.mark.slow
def test_intervals_cover_the_truth(monkeypatch):
    """The truth: the mean score over fresh data sets. Four standard errors of 0.95 in 200 sets are
    0.062. Where R² is low the interval is known to be wide: it must not be less than nominal."""
    real(monkeypatch)
    rng, folds = np.random.default_rng(1), cpdjax.kfold(100)
    scores = []
    for _ in range(500):
        x, c, y = data_set(rng)
        scores.append([cpdjax.cpd(one, c, y, folds=folds).r2_geom[:, 0].mean(0) for one in x])
    truth = np.mean(scores, axis=0)
    covered, different = [], []
    for seed in range(200):
        x, c, y = data_set(rng)
        pair = [bootstrap(one, c, y, folds=folds, seed=seed) for one in x]
        low, high = np.array([b.interval() for b in pair])[:, :, 0].swapaxes(0, 1)
        covered.append((low <= truth) & (truth <= high))
        low, high = pair[0].difference(pair[1])
        different.append((low[0] <= truth[0] - truth[1]) & (truth[0] - truth[1] <= high[0]))
    covered, different = np.mean(covered, axis=0), np.mean(different, axis=0)
    assert abs(truth[0, 0] - 0.54) < 0.02
    assert (covered > 0.95 - 0.062).all()
    assert (different > 0.95 - 0.062).all()
    assert abs(covered[0, 0] - 0.95) < 0.05


@pytest.mark.slow
def test_the_whole_way(monkeypatch):
    """Without the stand-in: the uncertainty is of the very scores of the sweep."""
    real(monkeypatch)
    table = sweep()
    assert_public(table)
    for model, layer in (("good", "first"), ("worse", "second")):
        own = table.sel(model=model, layer=layer, irrep="0e")
        observed = own.r2_geom.isel(repeat=0, size=-1).mean("fold")
        np.testing.assert_allclose(own.selectivity, observed - own.null_r2_geom.mean("permutation"))
        assert ((own.r2_geom_low < observed) & (observed < own.r2_geom_high)).all()


@pytest.mark.slow
def test_a_constant_target_is_undefined(monkeypatch):
    real(monkeypatch)
    with pytest.warns(ConstantTargetWarning):
        table = sweep(targets=TABLE.assign(mu=2.0))
    for name in significance._DESCRIPTIONS:
        assert table[name].sel(target="mu").isnull().all()
        assert table[name].sel(model="good", layer="first", target="gap").notnull().all()
