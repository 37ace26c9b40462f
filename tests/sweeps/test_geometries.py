"""A sweep of geometries of the same molecules: deviations, whole molecules, all kinds of probe."""

import numpy as np
import pytest
from conformer_data import NAMES, geometries, references, use_springs
from helpers import one_line
from scipy.spatial.transform import Rotation

import cpdjax
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.features.features import Features
from cpdjax.models.zoo import split
from cpdjax.sweeps import inputs
from cpdjax.sweeps.probe_kinds import KINDS
from cpdjax.sweeps.settings import Settings

SHAKEN = geometries()
SETTINGS = {"projection": "within", "alphas": [1.0], "folds": 2, "repeats": 2, "sizes": [8]}


def sweep(features, structures=SHAKEN, **changes):
    return cpdjax.sweep(features, dataset=structures, **(SETTINGS | changes))


def of_atoms(structures, columns):
    irreps = {"own": f"{columns.shape[1]}x0e"}
    return Features.from_atoms(
        {"own": columns}, structures, irreps=irreps, model="own", pool="atom"
    )


@pytest.fixture(scope="module")
def features():
    """Features that tell of the spread, and as many that say nothing."""
    noise = np.random.default_rng(1).normal(size=(len(SHAKEN), 7))
    return np.column_stack([SHAKEN.targets["spread"] + 0.01 * noise[:, 0], noise])


def test_a_sweep_gives_the_scores_of_deviations(features):
    table = sweep(features, targets=["spread"])
    assert dict(table.sizes)["size"] == 1
    assert table.attrs["molecules"] == len(NAMES)
    assert table.attrs["rows"] == len(SHAKEN)
    counts = cpdjax.composition(SHAKEN)
    expected = cpdjax.learning_curve(
        features, counts, SHAKEN.targets["spread"], groups=SHAKEN.group, projection="within",
        sizes=[8], repeats=2, folds=2, alphas=1.0,
    )  # fmt: skip
    assert np.allclose(table.r2_geom.to_numpy().ravel(), expected.r2_geom.ravel(), atol=1e-9)
    assert not table.r2_comp.any()
    assert np.array_equal(table.r2_full, table.r2_geom)


def test_composition_and_the_graph_of_bonds_score_exactly_nothing():
    counts = {"composition": cpdjax.composition(SHAKEN), "bonds": cpdjax.bond_counts(SHAKEN)[0]}
    table = sweep(counts, targets=["spread"], repeats=1)
    assert np.abs(table.r2_geom).max() < 1e-12


def test_permutations_stay_in_their_molecule_and_molecules_are_drawn_whole(features):
    table = sweep(features, targets=["spread"], repeats=1, permutations=19, bootstrap=19)
    p_value, low = (table[name].to_numpy().item() for name in ("p_value", "r2_geom_low"))
    assert p_value == 0.05
    assert low < table.r2_geom.mean("fold").item()
    settings = Settings(projection="within")
    targets = KINDS["ridge"].targets(SHAKEN, ["spread"])
    for labels in (KINDS["ridge"].rows.exchangeable(targets, settings),
                   KINDS["ridge"].rows.drawn_together(targets, settings)):  # fmt: skip
        assert np.array_equal(np.unique(SHAKEN.group)[labels], SHAKEN.group)


def test_atoms_are_compared_with_themselves_in_other_geometries():
    reach = SHAKEN.atom_targets["reach"]
    owner = np.repeat(np.arange(len(SHAKEN)), SHAKEN.sizes)
    place = np.arange(len(reach)) - SHAKEN.offsets[owner]
    same = np.array([f"{SHAKEN.group[i]} {k}" for i, k in zip(owner, place, strict=True)])
    noise = np.random.default_rng(2).normal(size=(len(reach), 3))
    x = np.column_stack([reach + 0.05 * noise[:, 0], noise])
    table = sweep(of_atoms(SHAKEN, x), probe="atom", targets=["reach"])
    dx, dy = cpdjax.deviations(x, same), cpdjax.deviations(reach, same)
    folds = table.sizes["fold"]
    assert folds == 2
    fitted = np.linalg.lstsq(dx, dy, rcond=None)[0]
    whole = 1 - ((dy - dx @ fitted) ** 2).sum() / (dy**2).sum()
    assert table.r2_geom.mean().item() == pytest.approx(whole, abs=0.05)
    element = of_atoms(SHAKEN, SHAKEN.numbers[:, None] * 1.0)
    assert not sweep(element, probe="atom", targets=["reach"], repeats=1).r2_geom.any()


def test_a_vector_scores_the_same_however_every_molecule_is_turned():
    group = np.unique(SHAKEN.group, return_inverse=True)[1]
    turn = Rotation.random(len(NAMES), random_state=3).as_matrix()[group]

    def score(turn):
        owner = np.repeat(np.arange(len(SHAKEN)), SHAKEN.sizes)
        positions = np.einsum("aij,aj->ai", turn[owner], SHAKEN.positions)
        dipole = np.einsum("nij,nj->ni", turn, SHAKEN.targets["dipole"])
        turned = Structures(
            "turned", SHAKEN.numbers, positions, SHAKEN.offsets, targets={"dipole": dipole},
            group=SHAKEN.group,
        )  # fmt: skip
        centred = (
            positions
            - (np.add.reduceat(positions, SHAKEN.offsets[:-1]) / SHAKEN.sizes[:, None])[owner]
        )
        x = np.column_stack([centred * (SHAKEN.numbers[:, None] == z) for z in (1, 6, 7, 8)])
        own = Features.from_atoms({"own": x}, turned, irreps={"own": "4x1o"}, model="own")
        return sweep(own, turned, probe="equivariant", targets=["dipole"], repeats=1).r2_geom

    still = score(np.broadcast_to(np.eye(3), turn.shape))
    assert np.allclose(score(turn), still, rtol=0, atol=1e-9)
    assert still.min() > 0.3


def test_structures_that_name_no_molecule_are_refused_in_one_line(features):
    plain = Structures("plain", SHAKEN.numbers, SHAKEN.positions, SHAKEN.offsets,
                       targets={"spread": SHAKEN.targets["spread"]})  # fmt: skip
    for changes in ({}, {"projection": "ols", "group_by": "molecule"}):
        with pytest.raises(InputError) as caught:
            sweep(features, plain, **changes)
        one_line(caught, "info['group']", "conformers")


def test_folds_of_ones_own_keep_molecules_whole(features):
    group = np.unique(SHAKEN.group, return_inverse=True)[1]
    table = sweep(features, targets=["spread"], folds=group % 2, repeats=1)
    assert table.sizes["fold"] == 2
    with pytest.raises(InputError, match="keep groups whole"):
        sweep(features, targets=["spread"], folds=np.arange(len(SHAKEN)) % 2, repeats=1)


def test_the_dataset_conformers_is_made_of_molecules_that_no_model_has_seen(monkeypatch, tmp_path):
    use_springs(monkeypatch)
    monkeypatch.setenv("CPDJAX_CACHE", str(tmp_path))
    monkeypatch.setitem(inputs._QM9, "qm9-probe", lambda n, seed: references().select(range(n)))
    structures, targets = inputs.load("conformers", None, 3, Settings(projection="within"))
    assert len(np.unique(structures.group)) == 3
    assert list(targets.by_name) == ["gap", "energy", "mu"]
    assert targets.molecules(by_group=True) == 3


def test_conformers_of_trained_molecules_are_refused():
    known = split("painn-qm9-gap")
    seen = Structures(
        "qm9-conformers", np.array([1, 1]), np.eye(2, 3), np.array([0, 2]), group=known.train[:1]
    )
    with pytest.raises(InputError, match="was trained on 1 of these 1"):
        known.check_unseen("painn-qm9-gap", seen)
    unseen = Structures(
        "qm9-conformers", np.array([1, 1]), np.eye(2, 3), np.array([0, 2]), group=known.held_out[:1]
    )
    known.check_unseen("painn-qm9-gap", unseen)
