"""Controls: models without a coordinate, and models without training."""

import re
from dataclasses import replace

import jax
import numpy as np
import pytest
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

import cpdjax
from cpdjax import Structures, datasets, extract, models
from cpdjax.data.bonds import GROUPS, bond_counts, group_counts
from cpdjax.data.fragments import ENVIRONMENTS, FRAGMENTS, fragment_counts
from cpdjax.errors import InputError, LeftOutWarning, UnknownNameError
from cpdjax.features.store import extract_to, read_features
from cpdjax.models import naming, registry
from cpdjax.models.cards import card_of
from cpdjax.models.training.recipes import trainable

SMILES = ("C", "CO", "C1CC1", "c1ccncc1", "CC(=O)OC", "N#CC=O", "FC(F)(F)C", "[NH3+]CC([O-])=O")


@pytest.fixture(scope="module")
def structures():
    return datasets.qm9(60)


def test_fragments_are_the_counts_of_bonds_rings_and_groups_in_columns_of_their_own(structures):
    found = fragment_counts(structures)
    assert found.shape == (60, len(FRAGMENTS))
    for counts, names in (bond_counts(structures), group_counts(structures)):
        places = [FRAGMENTS.index(name) for name in names]
        np.testing.assert_array_equal(found[:, places], counts)
    own = len(FRAGMENTS) - ENVIRONMENTS
    heavy = [Chem.MolFromSmiles(s).GetNumAtoms() for s in structures.smiles]
    assert (
        found[:, own:].sum(1) <= 2 * np.array(heavy)
    ).all()  # an atom has at most radius 0 and 1
    assert (found[:, own:].sum(1) >= heavy).all()
    assert set(GROUPS) < set(FRAGMENTS)
    assert len(set(FRAGMENTS)) == len(FRAGMENTS)


def test_what_has_no_column_of_its_own_is_counted_together():
    counts = fragment_counts(["C[Si](C)(C)C", "C1CCCCCCCCC1", "C[Se]C"])
    other, larger = FRAGMENTS.index("other bond"), FRAGMENTS.index("larger ring")
    assert counts[:, [other, larger]].tolist() == [[4, 0], [0, 1], [2, 0]]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(SMILES), min_size=1, max_size=6), st.sampled_from(SMILES))
def test_a_row_is_the_same_whatever_other_molecules_there_are(others, smiles):
    [alone] = fragment_counts([smiles])
    np.testing.assert_array_equal(fragment_counts([*others, smiles])[-1], alone)


def test_the_bond_graph_does_not_see_coordinates(structures):
    rng = np.random.default_rng(0)
    shaken = replace(
        structures, positions=structures.positions + rng.normal(0, 0.05, structures.positions.shape)
    )
    ours, theirs = (extract("bond-graph", ds)["graph"] for ds in (structures, shaken))
    assert str(ours.irreps) == f"{len(FRAGMENTS)}x0e"
    np.testing.assert_array_equal(ours.array, theirs.array)
    np.testing.assert_array_equal(ours.array, fragment_counts(structures))
    some = structures.select([7, 3])
    np.testing.assert_array_equal(extract("bond-graph", some)["graph"].array, ours.array[[7, 3]])
    spectra = [extract("coulomb-spectrum", ds)["spectrum"].array for ds in (structures, shaken)]
    assert not np.array_equal(*spectra)  # which a model of coordinates does


def test_structures_without_smiles_are_refused_before_any_model_runs(structures, tmp_path):
    water = Structures.from_atoms([molecule("H2O")])
    with pytest.raises(InputError, match="bond-graph reads SMILES, which 'structures' has not"):
        extract("bond-graph", water)
    bad = structures.select([0, 1, 2])
    bad = replace(bad, smiles=np.array(["C", "no", "C"]))
    with pytest.raises(InputError, match=re.escape(f"'{bad.ids[1]}': cannot read 'no' as SMILES")):
        extract("bond-graph", bad, batch_size=1)


def test_a_store_knows_the_smiles_that_it_was_made_of(structures, tmp_path):
    path = extract_to(tmp_path / "graph.zarr", "bond-graph", structures)
    np.testing.assert_array_equal(read_features(path)["graph"].array, fragment_counts(structures))
    other = replace(structures, smiles=np.roll(structures.smiles, 1))
    with pytest.raises(cpdjax.errors.FileError, match="smiles_hash"):
        extract_to(path, "bond-graph", other)


def test_composition_alone_leaves_no_column_and_scores_zero(structures):
    found = extract("composition-only", structures)["composition"].array
    counts = cpdjax.composition(structures)
    np.testing.assert_array_equal(found[:, found.any(0)], counts)
    np.testing.assert_array_equal(found.sum(1), structures.sizes)
    y = structures.target("gap")
    for alphas in (1.0, "loo"):
        scores = cpdjax.cpd(found, counts, y, alphas=alphas, predictions=True)
        np.testing.assert_allclose(scores.composition_share, 1, atol=1e-12)
        folds = cpdjax.residual_predictions(found, counts, y, alpha=alphas)
        for fold in range(5):  # what is left predicts the mean of the training rows, exactly
            held = folds.fold == fold
            np.testing.assert_allclose(folds.prediction[held], y[~held].mean(), rtol=1e-12)


def test_every_architecture_that_is_trained_has_an_untrained_twin():
    ours = (a for a in trainable() if registry.ENTRIES[a].path.startswith("cpdjax."))
    assert tuple(ours) == naming.TRAINED_HERE
    assert {f"{name}-untrained" for name in trainable()} <= {*naming.CONTROLS}
    assert {*naming.CONTROLS} <= {*models.names()}
    assert card_of("painn-untrained-run4").data == "none: random weights, seed 4"


def test_twins_of_one_seed_agree_to_the_bit_and_of_different_seeds_differ(structures):
    few = structures.select(np.arange(4))
    named, seeded, other = (
        models.load("painn-untrained-run3"), models.load("painn-untrained", seed=3),
        models.load("painn-untrained"),
    )  # fmt: skip
    assert (named.name, seeded.name, other.name) == (
        *["painn-untrained-run3"] * 2,
        "painn-untrained",
    )
    ours, theirs, others = (extract(model, few) for model in (named, seeded, other))
    for layer, array in ours.items():
        np.testing.assert_array_equal(array.array, theirs[layer].array)
        assert not np.allclose(array.array, others[layer].array)


def test_a_twin_has_the_sizes_of_the_zoo():
    twin, trained = models.load("schnet-untrained"), models.load("cpdjax:schnet-qm9-gap")
    shapes = lambda model: jax.tree.map(np.shape, dict(model.variables))  # noqa: E731
    assert twin.architecture == trained.architecture
    assert shapes(twin) == shapes(trained)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("ani-untrained", {}, UnknownNameError, "unknown architecture to train 'ani'"),
        ("pain-untrained", {}, UnknownNameError, "did you mean painn-untrained"),
        ("painn-untrained", {"seed": -1}, InputError, "seed must be a whole number"),
        ("painn-untrained", {"seed": 1.5}, InputError, "seed must be a whole number"),
        ("painn-untrained-run3", {"seed": 2}, InputError, "has seed 3, and seed=2 is asked for"),
        ("painn-untrained", {"sed": 2}, UnknownNameError, "did you mean seed"),
    ],
)
def test_refusals(name, options, error, message):
    with pytest.raises(error, match=message):
        models.load(name, **options)


def test_what_was_never_trained_predicts_nothing(structures):
    with pytest.raises(InputError, match="never trained, so it predicts nothing"):
        models.load("painn-untrained").predict(structures)


def test_a_sweep_with_controls_names_them_and_leaves_out_what_cannot_be(structures, monkeypatch):
    cheap = ("composition-only", "bond-graph")
    monkeypatch.setattr(naming, "CONTROLS", cheap)
    options = {"targets": ["gap"], "sizes": [60], "repeats": 1, "alphas": 1.0, "controls": True}
    table = cpdjax.sweep("coulomb-spectrum", dataset=structures, layers=["last"], **options)
    assert table.model.values.tolist() == ["coulomb-spectrum", *cheap]
    assert table.n_features.sel(model="bond-graph").max() == len(FRAGMENTS)
    assert float(table.r2_geom.sel(model="composition-only").max()) < 1e-9
    unknown = replace(structures, smiles=None)
    with pytest.warns(LeftOutWarning, match="bond-graph"):
        table = cpdjax.sweep("coulomb-spectrum", dataset=unknown, **options)
    assert table.model.values.tolist() == ["coulomb-spectrum", "composition-only"]
