"""Uncertainty of equivariant and per-atom probes: their own scores, whole molecules, levels."""

import json

import atom_data as atoms
import numpy as np
import pytest
import tensor_data as tensors

import cpdjax
from cpdjax import InputError, equivariant_bootstrap, equivariant_cpd, equivariant_permutation_test
from cpdjax.probes.folds import cross_validation, group_folds, kfold, nested, of_atoms
from cpdjax.sweeps.probe_kinds import KINDS
from cpdjax.uncertainty.bootstrap import bootstrap, redrawn
from cpdjax.uncertainty.equivariant_resampling import _turned
from cpdjax.uncertainty.permutation import permutation_test
from cpdjax.uncertainty.resampling import orders

N = 40
RNG = np.random.default_rng(0)
FRAMES = np.arange(N) // 4
OPTIONS = {"folds": kfold(N, 4), "alphas": [0.1, 10.0]}


def drawn(width):
    x = RNG.normal(size=(N, 6, width))
    return x, np.stack([x[:, 0], RNG.normal(size=(N, width))], axis=1)


@pytest.mark.parametrize("width", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_every_permuted_tensor_has_the_probes_own_score(width):
    x, y = drawn(width)
    test = equivariant_permutation_test(x, y, permutations=5, seed=3, **OPTIONS)
    order = orders(N, 5, None, 3)
    turned_x, turned_y = _turned(x, y, None, 3)
    assert np.abs(turned_x - x).max() > 0.1
    for i, scores in enumerate([test.observed, *test.null]):
        one = equivariant_cpd(turned_x, turned_y[order[i]], **OPTIONS)
        np.testing.assert_allclose(scores, one.r2_geom.mean(0), atol=1e-12)
    as_given = equivariant_cpd(x, y, **OPTIONS)
    np.testing.assert_allclose(test.observed, as_given.r2_geom.mean(0), atol=1e-12)
    assert test.p_value[0, 0] == 1 / 6


def test_within_a_frame_turning_changes_nothing():
    x, y = drawn(3)
    options = {"permutations": 5, "groups": FRAMES, "frames": FRAMES, **OPTIONS}
    test = equivariant_permutation_test(x, y, **options)
    order = orders(N, 5, FRAMES, 0)
    for i, scores in enumerate(test.null, start=1):
        one = equivariant_cpd(x, y[order[i]], **OPTIONS)
        np.testing.assert_allclose(scores, one.r2_geom.mean(0), atol=1e-12)


@pytest.mark.slow
def test_the_frames_of_storage_are_not_in_the_null():
    """All vectors along z, and so their features: that tells the direction of each molecule's."""
    rng, up = np.random.default_rng(0), np.array([0, 0, 3.0])
    x, y = up + rng.normal(size=(N, 4, 3)), up + rng.normal(size=(N, 1, 3))
    options = {"permutations": 19, "folds": 4}
    test = equivariant_permutation_test(x, y, **options)
    as_stored = equivariant_permutation_test(x, y, frames=np.zeros(N, int), **options)
    np.testing.assert_allclose(test.observed, as_stored.observed, atol=1e-12)
    assert test.null.max() < 0.1 < 0.5 < as_stored.null.min()
    assert test.p_value.item() == 1 / 20


@pytest.mark.parametrize("groups", [None, FRAMES])
def test_every_replicate_has_the_probes_own_score(groups):
    x, y = drawn(3)
    folds = FRAMES % 4
    options = {"alphas": [0.1, 10.0]}
    found = equivariant_bootstrap(x, y, replicates=6, groups=groups, folds=folds, **options)
    layout = redrawn(cross_validation(N, folds), 6, 0, groups)
    for i, scores in enumerate([found.observed, *found.replicates]):
        filled = layout.rank[i] < layout.sizes[0]
        rows, ids = layout.index[i][filled], np.nonzero(filled)[0]
        one = equivariant_cpd(x[rows], y[rows], folds=ids, **options)
        np.testing.assert_allclose(scores, one.r2_geom.mean(0), atol=1e-12)
    np.testing.assert_allclose(
        found.observed, equivariant_cpd(x, y, folds=folds, **options).r2_geom.mean(0), atol=1e-12
    )


def test_groups_are_drawn_whole_and_stay_in_their_fold():
    sizes = [1, 2, 3, 4, 5, 6, 7, 12]
    group = np.repeat(np.arange(8), sizes)
    folds = group_folds(group, 3)
    layout = redrawn(cross_validation(N, folds), 30, 0, group)
    for i in range(31):
        for fold in range(3):
            rows = layout.index[i, fold][layout.rank[i, fold] < layout.sizes[0]]
            copies = np.bincount(rows, minlength=N)
            assert all(len(set(copies[group == g])) == 1 for g in range(8))
            assert (folds[rows] == fold).all()
            drawn_groups = copies[np.unique(group, return_index=True)[1]].sum()
            assert drawn_groups == len(set(group[folds == fold]))
    first = [set(layout.index[0, f][layout.rank[0, f] < layout.sizes[0]]) for f in range(3)]
    assert first == [set(np.flatnonzero(folds == f)) for f in range(3)]
    assert (layout.rank[1:] < layout.sizes[0]).sum((1, 2)).max() > N  # longer than the data


def test_scalars_of_whole_groups():
    x, c = RNG.normal(size=(N, 5)), RNG.integers(0, 4, (N, 2))
    y = x[:, :1] + c[:, :1] + RNG.normal(size=(N, 1))
    found = bootstrap(x, c, y, replicates=5, groups=FRAMES, folds=FRAMES % 4)
    layout = redrawn(cross_validation(N, FRAMES % 4), 5, 0, FRAMES)
    for i, scores in enumerate([found.observed, *found.replicates]):
        filled = layout.rank[i] < layout.sizes[0]
        rows, ids = layout.index[i][filled], np.nonzero(filled)[0]
        one = cpdjax.cpd(x[rows], c[rows], y[rows], folds=ids, alphas=1.0)
        np.testing.assert_allclose(scores, one.r2_geom.mean(0), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, y: equivariant_permutation_test(x, y, permutations=0), "permutations must be"),
        (lambda x, y: equivariant_permutation_test(x, y, groups=["a"]), "one label for each of 40"),
        (lambda x, y: equivariant_permutation_test(x, y, frames=["a"]), "one label for each of 40"),
        (lambda x, y: equivariant_permutation_test(x[:, :, :1], y[:, :, :1]), "use cpd"),
        (lambda x, y: equivariant_bootstrap(x, y, replicates=0), "replicates must be"),
        (lambda x, y: equivariant_bootstrap(x, y, alphas="loo"), "needs alphas of its own"),
        (lambda x, y: equivariant_bootstrap(x, y, groups=FRAMES), "a group lies in two folds"),
        (lambda x, y: bootstrap(x[:, :, 0], y[:, 0], y[:, 0], groups=FRAMES), "in two folds"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(InputError, match=words):
        call(*drawn(3))


# The sweep

CHANNEL = ["model", "layer", "irrep"]
DRAWS = {"permutations": 9, "bootstrap": 7}  # which has no leave-one-out


def assert_public(own, test, sample):
    """A channel's draws are those of the public functions."""
    np.testing.assert_array_equal(own.null_r2_geom, test.null)
    np.testing.assert_array_equal(own.p_value, test.p_value)
    np.testing.assert_array_equal(own.replicate_r2_geom, sample.replicates)
    np.testing.assert_array_equal((own.r2_geom_low, own.r2_geom_high), sample.interval())
    observed = own.r2_geom.isel(repeat=0, size=-1).mean("fold")
    np.testing.assert_allclose(
        own.selectivity, observed - own.null_r2_geom.mean("permutation"), atol=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("of", [None, "atom-equivariant"])
def test_a_sweep_of_tensors(of, tmp_path):
    probe = of or "equivariant"
    feats = tensors.toy(tensors.FEW, rows=of)
    settings = {"dataset": tensors.FEW, "probe": probe, "irreps": "1o", **tensors.SETTINGS, **DRAWS}
    table = cpdjax.sweep(feats, out=tmp_path, **settings)
    for name in ("p_value", "r2_geom_low", "null_r2_geom"):
        assert table[name].isel(target=1).isnull().all()  # no quadrupole of vectors
    molecules = KINDS[probe].targets(tensors.FEW)
    layout = nested(20, tensors.SETTINGS["sizes"], 2, 2, seed=4)
    layout = layout if of is None else of_atoms(layout, tensors.FEW.offsets)
    rows = layout.subset(0, 20)
    x = feats["first"].filter(keep="1o").array.reshape(len(molecules), 4, 3)[rows]
    x = np.pad(x, ((0, 0), (0, 12), (0, 0)))
    y = next(iter(molecules.by_name.values()))[rows]
    options = {"folds": layout.fold_ids(0, 20), "alphas": tensors.SETTINGS["alphas"], "seed": 4}
    owner = molecules.owner[rows]
    own_element = None if of is None else 9 * owner + tensors.FEW.numbers[rows]
    test = equivariant_permutation_test(
        x, y, permutations=9, groups=own_element, frames=owner, **options
    )
    together = None if of is None else owner
    sample = equivariant_bootstrap(x, y, replicates=7, groups=together, **options)
    assert_public(table.squeeze(CHANNEL).isel(target=[0]), test, sample)


@pytest.mark.slow
def test_a_sweep_of_atoms():
    settings = {"dataset": atoms.STRUCTURES, "probe": "atom", **atoms.SETTINGS, **DRAWS}
    table = cpdjax.sweep({"mine": atoms.X}, **settings)
    molecules = KINDS["atom"].targets(atoms.STRUCTURES)
    sizes, seed = atoms.SETTINGS["sizes"], atoms.SETTINGS["seed"]
    n, folds = len(atoms.STRUCTURES), atoms.SETTINGS["folds"]
    layout = nested(n, sizes, atoms.SETTINGS["repeats"], folds, seed=seed)
    layout = of_atoms(layout, atoms.STRUCTURES.offsets)
    rows = layout.subset(0, sizes[-1])
    x = np.pad(atoms.X, ((0, 0), (0, 16 - atoms.X.shape[1])))[rows]
    data = (x, molecules.counts[rows], molecules.y[rows])
    owner = molecules.owner[rows]
    options = {"folds": layout.fold_ids(0, sizes[-1]), "seed": seed}
    options["alphas"] = atoms.SETTINGS["alphas"]
    groups = 99 * owner + atoms.STRUCTURES.numbers[rows]
    test = permutation_test(*data, permutations=9, groups=groups, **options)
    sample = bootstrap(*data, replicates=7, groups=owner, **options)
    assert_public(table.squeeze(CHANNEL), test, sample)


@pytest.mark.slow
def test_a_sweep_within_and_between_formulas():
    rng = np.random.default_rng(1)
    formulas = np.repeat(["CH4", "C2H6", "H2O", "CO2", "CH4O", "H3N", "N2", "O2"], 6)
    x, c = rng.normal(size=(48, 16)), cpdjax.composition(formulas)
    y = x[:, :1] + c[:, :1]
    asked = {"permute_within": "formula", "group_by": "formula", "scheme": "marginal"}
    table = cpdjax.sweep(
        {"mine": x}, targets={"formula": formulas, "gap": y[:, 0]}, folds=4, repeats=1, alphas=1.0,
        **asked, **DRAWS,
    )  # fmt: skip
    assert {k: v for k, v in json.loads(table.attrs["settings"]).items() if k in asked} == asked
    layout = nested(48, [48], 1, group_folds(formulas, 4))
    rows = layout.subset(0, 48)
    data, groups = (x[rows], c[rows], y[rows]), formulas[rows]
    options = {"folds": layout.fold_ids(0, 48), "groups": groups, "alphas": 1.0}
    test = permutation_test(*data, permutations=9, scheme="marginal", **options)
    assert_public(table.squeeze(CHANNEL), test,
                  bootstrap(*data, replicates=7, **options))  # fmt: skip


# Known truth. Of 400 sets, four standard errors of 0.05 are 0.044.


def atoms_of_molecules(rng):
    """Twenty molecules of six atoms; what one shares is in its atoms' features and targets."""
    owner, element = np.repeat(np.arange(20), 6), np.tile([0, 0, 1, 1, 1, 1], 20)
    shared_x, shared_y = rng.normal(size=(20, 3)), rng.normal(size=20)
    x = shared_x[owner] + 0.3 * rng.normal(size=(120, 3))
    y = shared_y[owner] + element + 0.3 * rng.normal(size=120)
    return x, np.eye(2)[element], y, owner, 2 * owner + element


@pytest.mark.slow
def test_atoms_change_places_within_their_molecule():
    """Permuted among all, targets lose what atoms of a molecule share, which probes overfit."""
    rng = np.random.default_rng(0)
    p = {"own": [], "all": []}
    for seed in range(400):
        x, one_hot, y, owner, groups = atoms_of_molecules(rng)
        options = {"folds": (np.arange(20) % 5)[owner], "permutations": 99, "seed": seed}
        p["own"].append(permutation_test(x, one_hot, y, groups=groups, **options).p_value.item())
        p["all"].append(permutation_test(x, one_hot, y, **options).p_value.item())
    assert abs(np.mean(np.array(p["own"]) <= 0.05) - 0.05) < 0.044
    assert np.median(p["all"]) > 0.9


@pytest.mark.slow
def test_tensors_have_their_level_and_power():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5, 3))
    y = rng.normal(size=(60, 400, 3))
    test = equivariant_permutation_test(x, y, permutations=99)
    assert abs((test.p_value <= 0.05).mean() - 0.05) < 0.044
    test = equivariant_permutation_test(x, x[:, :1] + y, permutations=99)
    assert (test.p_value <= 0.05).mean() > 0.9


@pytest.mark.slow
def test_intervals_of_atoms_cover_where_those_of_rows_do_not():
    """Four standard errors of 0.95 in 200 sets are 0.062."""
    rng, covered, scores = np.random.default_rng(0), {"own": [], "all": []}, []

    def molecules():
        owner = np.repeat(np.arange(40), 5)
        shared = rng.normal(size=(40, 2))
        x = shared[owner] + 0.2 * rng.normal(size=(200, 2))
        y = shared[owner, 0] + rng.normal(size=40)[owner] + 0.2 * rng.normal(size=200)
        return x, np.ones((200, 1)), y, owner, (np.arange(40) % 5)[owner]

    for _ in range(500):
        *data, _, folds = molecules()
        scores.append(cpdjax.cpd(*data, folds=folds).r2_geom.mean())
    truth = np.mean(scores)
    for seed in range(200):
        *data, owner, folds = molecules()
        for name, groups in (("own", owner), ("all", None)):
            low, high = bootstrap(*data, folds=folds, groups=groups, seed=seed).interval()
            covered[name].append((low <= truth <= high).item())
    assert np.mean(covered["own"]) > 0.95 - 0.062
    assert np.mean(covered["all"]) < 0.8
