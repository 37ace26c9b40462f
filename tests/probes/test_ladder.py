"""The ladder and the counts on its rungs: against scikit-learn and by hand."""

import builtins
from dataclasses import replace

import numpy as np
import pytest
from ase.build import molecule
from helpers import call
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

import cpdjax
from cpdjax.data import bonds, datasets
from cpdjax.data.composition import from_smiles
from cpdjax.errors import InputError
from cpdjax.probes.folds import kfold
from cpdjax.reports.ladder import text_table

N, K = 90, 3


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    C, extra = rng.integers(0, 9, (N, 2)).astype(float), rng.integers(0, 5, (N, 4)).astype(float)
    extra[:, 3] = C[:, 0] + extra[:, 0]  # explained by what is there
    hidden = rng.normal(size=(N, 6))
    X = hidden + C @ rng.normal(size=(2, 6)) + extra @ rng.normal(size=(4, 6))
    y = C[:, 0] + 2 * extra[:, 0] + 3 * hidden[:, 0]
    return (
        X,
        C,
        np.stack([y, C[:, 1] + rng.normal(size=N)], 1),
        {"a": extra[:, :2], "b": extra[:, 2:]},
    )


@pytest.fixture(scope="module")
def found(data):
    return cpdjax.ladder(*data, folds=kfold(N, K), alpha=1.0)


def by_scikit_learn(X, Y, concepts, ids):
    """R² of concepts, of concepts and Ridge from the residual, and of that Ridge alone."""
    folds = []
    for fold in range(K):
        train, test = ids != fold, ids == fold
        to_y = LinearRegression().fit(concepts[train], Y[train])
        to_x = LinearRegression().fit(concepts[train], X[train])
        left = X - to_x.predict(concepts)
        z = StandardScaler().fit(left[train]).transform(left)
        ridge = Ridge(alpha=1.0).fit(z[train], (Y - to_y.predict(concepts))[train])
        of_concepts, of_rest = to_y.predict(concepts[test]), ridge.predict(z[test])
        predicted = (of_concepts, of_concepts + of_rest, of_rest + Y[train].mean(0))
        folds.append([r2_score(Y[test], p, multioutput="raw_values") for p in predicted])
    return np.array(folds).swapaxes(0, 1)


def test_every_rung_equals_scikit_learn(data, found):
    X, C, Y, rungs = data
    assert found.rungs == ("composition", "a", "b", "geometry")
    assert found.columns == (2, 2, 2, 6)
    assert found.r2.shape == (4, K, 2)
    for i in range(3):
        concepts = np.concatenate([C, *list(rungs.values())[:i]], axis=1)
        comp, both, geom = by_scikit_learn(X, Y, concepts, kfold(N, K))
        np.testing.assert_allclose(found.r2[i], comp, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.r2_geom[i], geom, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.r2[3], both, rtol=0, atol=1e-9)


def test_what_is_added_sums_to_the_whole(found):
    np.testing.assert_allclose(found.added.sum(0), found.r2[-1], rtol=0, atol=1e-12)
    composition, a, b, geometry = found.added.mean(1)[:, 0]
    assert composition > 0.1
    assert a > 0.2
    assert abs(b) < 0.05
    assert geometry > 0.2
    assert (found.r2[-1, :, 0] > 0.98).all()


def test_table(found):
    table = text_table(found, ["gap", "mu"], "mine")
    assert [c.head for c in table.columns][:2] == ["target", "rung"]
    assert len(table.rows) == 8


def test_what_is_added_is_the_difference_of_the_column_beside_it(found):
    for sheet in (text_table(found, ["gap", "mu"]), text_table(found, ["gap", "mu"], "mine")):
        for target in range(2):
            rows = sheet.rows[4 * target : 4 * target + 4]
            shown = [float(row[3]) for row in rows]
            added = [float(row[4]) for row in rows]
            np.testing.assert_allclose(added, np.diff(shown, prepend=0), atol=1e-12)
            assert shown == [float(f"{x:.3f}") for x in np.median(found.r2[..., target], axis=1)]
    records = sheet.as_json()["rows"]
    assert sum(record["r2_added"] for record in records[:4]) == pytest.approx(records[3]["r2"])
    assert records[3]["r2_geom_beyond"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rungs": {"geometry": np.ones((N, 1))}}, "call no rung"),
        ({"rungs": {"short": np.ones((5, 1))}}, "rung 'short' must have axes"),
        ({"rungs": {"none": np.ones((N, 0))}}, "rung 'none' must have axes"),
        ({"rungs": {"words": np.full((N, 1), "a")}}, "rung 'words' must hold real numbers"),
        ({"alpha": [1.0, 2.0]}, "alpha must be one number"),
    ],
)
def test_refusals(data, changes, message):
    names = ("X", "C", "Y", "rungs")
    with pytest.raises(InputError, match=message):
        cpdjax.ladder(**(dict(zip(names, data, strict=True)) | changes))


# Bonds and groups


def test_bonds_by_hand():
    counts, names = cpdjax.bond_counts(["C=C", "c1ccncc1", "[H][H]", "C1CC2CC1C2", "O=C=O"])
    assert names == ("H-H", "C-H", "C-C", "C=C", "C:C", "C:N", "C=O", "ring 4", "ring 5", "ring 6")
    expected = {
        "C=C": {"C-H": 4, "C=C": 1},
        "pyridine": {"C-H": 5, "C:C": 4, "C:N": 2, "ring 6": 1},
        "hydrogen": {"H-H": 1},
        "bicycle": {"C-H": 10, "C-C": 7, "ring 4": 1, "ring 5": 2},
        "CO2": {"C=O": 2},
    }
    for row, wanted in zip(counts, expected.values(), strict=True):
        assert {k: v for k, v in zip(names, row, strict=True) if v} == wanted


# One of every group, at least: no SMARTS that matches nothing.
BY_HAND = [
    ("CCO", {"alcohol": 1, "methyl": 1}),
    ("c1ccccc1O", {"phenol or enol": 1}),
    ("COC", {"ether": 1, "methyl": 2}),
    ("CC=O", {"aldehyde": 1, "methyl": 1}),
    ("CC(C)=O", {"ketone": 1, "methyl": 2}),
    ("CC(=O)O", {"carboxylic acid": 1, "methyl": 1}),
    ("CC(=O)OC", {"ester": 1, "methyl": 2}),
    ("CC(N)=O", {"amide": 1, "methyl": 1}),
    ("CN", {"primary amine": 1, "methyl": 1}),
    ("CNC", {"secondary amine": 1, "methyl": 2}),
    ("CN(C)C", {"tertiary amine": 1, "methyl": 3}),
    ("[NH3+]CC([O-])=O", {"ammonium": 1, "carboxylate": 1}),
    ("CC=N", {"imine": 1, "methyl": 1}),
    ("CC#N", {"nitrile": 1, "methyl": 1}),
    ("C[N+](=O)[O-]", {"nitro": 1, "methyl": 1}),
    ("CC=NO", {"imine": 1, "oxime or hydroxylamine": 1, "methyl": 1}),
    ("NN", {"hydrazine or hydrazone": 1}),
    ("C=CC#C", {"alkene": 1, "alkyne": 1}),
    ("C1CO1", {"ether": 1, "epoxide": 1}),
    ("C1CN1", {"secondary amine": 1, "aziridine": 1}),
    ("FC(F)(F)C", {"fluoride": 3, "trifluoromethyl": 1, "methyl": 1}),
    ("c1cnco1", {"aromatic nitrogen": 1, "aromatic oxygen": 1}),
    ("CC(C)(C)C", {"methyl": 4, "quaternary carbon": 1}),
]


@pytest.mark.parametrize(("smiles", "groups"), BY_HAND)
def test_groups_by_hand(smiles, groups):
    counts, names = cpdjax.group_counts([smiles])
    assert dict(zip(names, counts[0].astype(int).tolist(), strict=True)) == groups


def test_structures_that_know_smiles_as_smiles():
    structures = datasets.qm9(n=40)
    counts, names = cpdjax.bond_counts(structures)
    again, same = cpdjax.bond_counts(structures.smiles)
    np.testing.assert_array_equal(counts, again)
    assert names == same
    hydrogen = [name.endswith("-H") for name in names]
    atoms, elements = from_smiles(structures.smiles)
    np.testing.assert_array_equal(counts[:, hydrogen].sum(1), atoms[:, elements.index("H")])


@pytest.mark.parametrize("count", [cpdjax.bond_counts, cpdjax.group_counts])
def test_smiles_that_cannot_be_read(count, monkeypatch):
    structures = cpdjax.Structures.from_atoms([molecule("H2O")])
    for source, message in (
        (["C", "no"], "row 1: cannot read 'no' as SMILES"),
        ("CCO", "expected a list of SMILES"),
        (structures, "knows no SMILES"),
        (replace(structures, smiles=np.array([""])), "row 0: cannot read"),
    ):
        with pytest.raises(InputError, match=message):
            count(source)
    kept = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("rdkit"):
            raise ImportError(name)
        return kept(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="needs RDKit"):
        count(["C"])


def test_every_group_is_found_by_hand():
    assert {name for _, groups in BY_HAND for name in groups} == set(bonds.GROUPS)


# The command


@pytest.mark.slow
def test_command():
    status, out, err = call("ladder", "coulomb-spectrum", "--n", "60", "--targets", "gap,mu")
    assert (status, err) == (0, "")
    for word in (
        "gap (eV)",
        "μ (D)",
        "composition",
        "bonds and rings",
        "functional groups",
        "geometry",
    ):
        assert word in out
    assert call("ladder", "coulomb-spectrum", "--n", "60", "--alpha", "x")[0] == 2
