"""The scatter holds the predictions and molecules that it was made from, and obeys no name."""

import base64
import gzip
import json

import numpy as np
import pandas as pd
import pytest
from ase.build import molecule
from ase.collections import g2
from test_pages import HOSTILE, check_page

from cpdjax import Structures
from cpdjax.reports.pages import chemiscope, scatter
from cpdjax.studies.carriers import carriers

RNG = np.random.default_rng(0)
KINDS = {"f8": "<f8", "u1": "u1", "i2": "<i2"}


def structures(names, copies=1):
    frames = [molecule(name) for name in names] * copies
    for i, frame in enumerate(frames):
        frame.info |= {"id": f"{i} {HOSTILE[i % 3]}", "smiles": HOSTILE[0]}
        frame.info |= {HOSTILE[1]: RNG.normal(), "gap": RNG.normal()}
    return Structures.from_atoms(frames, HOSTILE[0], units={"gap": "eV"})


@pytest.fixture(scope="module")
def found():
    ds = structures([n for n in g2.names if len(molecule(n)) > 1][:30])
    x = RNG.normal(size=(len(ds), 3))
    features = {HOSTILE[2]: {"first": x, HOSTILE[1]: x**2}, "mine": x[:, :2]}
    return carriers(
        features, dataset=ds, folds=3, alpha=1.0, layers=["first", HOSTILE[1], "features"]
    )


def data_of(text):
    """What the page's script reads."""
    start = text.index('<script type="application/json" id="data">')
    body = text[start:].partition(">")[2]
    return json.loads(body[: body.index("</script>")])


def unpacked(text, kind="f8"):
    return np.frombuffer(base64.b64decode(text), KINDS[kind])


def test_the_page_holds_every_prediction(found, tmp_path):
    path, _ = scatter.save(found, tmp_path, "cpdjax scatter")
    text = path.read_text()
    parsed = check_page(text)
    assert len(parsed.of("script")) == 2  # the data and the page's own
    data = data_of(text)
    assert len(data["channels"]) == len(found.channels) == 3
    for channel, own in zip(data["channels"], found.channels.values(), strict=True):
        for t, score in enumerate(channel["scores"]):
            np.testing.assert_array_equal(unpacked(score["prediction"]), own.prediction[:, t])
            np.testing.assert_array_equal(unpacked(score["contribution"]), own.contribution[:, t])
            assert score["r2_geom"] == pytest.approx(own.r2_geom[:, t].mean())
            ranked = np.sort(own.contribution[:, t])
            assert score["few"] == 1
            assert (score["taken"], score["added"]) == (ranked[0], ranked[-1])
    for t, (name, target) in enumerate(zip(found.targets.by_name, data["targets"], strict=True)):
        assert target["name"] == ("gap (eV)" if name == "gap" else name)
        np.testing.assert_array_equal(unpacked(target["value"]), found.targets.y[:, t])
        np.testing.assert_array_equal(unpacked(target["composition"]), found.composition[:, t])
    assert data["molecules"]["formula"] == found.targets.formulas.tolist()
    assert data["molecules"]["smiles"] == [HOSTILE[0]] * len(found.targets)


def test_both_together_are_composition_and_residual(found, tmp_path):
    data = data_of(scatter.save(found, tmp_path)[0].read_text())
    own = found.channels["mine", "features"]
    y, fold = own.target[:, 0], own.fold
    train = np.array([y[fold != k].mean() for k in fold])
    together = own.prediction[:, 0] - train + found.composition[:, 0]
    expected = [
        1
        - ((y - together)[fold == k] ** 2).sum() / ((y[fold == k] - y[fold == k].mean()) ** 2).sum()
        for k in range(3)
    ]
    assert data["channels"][-1]["scores"][0]["r2_both"] == pytest.approx(np.mean(expected))
    np.testing.assert_allclose(unpacked(data["targets"][0]["mean"]), train)


def test_molecules_are_turned_and_not_bent_or_mirrored(found, tmp_path):
    ds, data = found.structures, data_of(scatter.save(found, tmp_path)[0].read_text())["molecules"]
    places = data["scale"] * unpacked(data["positions"], "i2").reshape(-1, 3)
    assert data["offsets"] == ds.offsets.tolist()
    np.testing.assert_array_equal(unpacked(data["numbers"], "u1"), ds.numbers)
    for first, end in zip(ds.offsets[:-1], ds.offsets[1:], strict=True):
        shown, true = (a[first:end] - a[first:end].mean(0) for a in (places, ds.positions))
        np.testing.assert_allclose(shown @ shown.T, true @ true.T, atol=0.01)
        u, spread, v = np.linalg.svd(true.T @ shown)
        if spread[2] > 0.1:  # flat molecules are their own mirror images
            assert np.linalg.det(u @ v) == pytest.approx(1)
    carbon = data["elements"]["6"]
    assert (carbon["symbol"], carbon["radius"], carbon["colour"]) == ("C", 0.76, "#909090")


def test_a_large_set_is_bounded_and_keeps_who_leads(found, monkeypatch, tmp_path):
    monkeypatch.setattr(scatter, "MOST_MOLECULES", 20)
    monkeypatch.setattr(scatter, "MOST_ATOMS", 50)
    monkeypatch.setattr(scatter, "_LEADING", 1)
    path, other = scatter.save(found, tmp_path)
    text = path.read_text()
    data = data_of(text)["molecules"]
    assert "20 of 30 molecules are shown" in text
    assert len(data["formula"]) == 20
    assert 40 < data["offsets"][-1] <= 50
    shares = np.hstack([own.contribution for own in found.channels.values()])
    leading = {*shares.argmax(0).tolist(), *shares.argmin(0).tolist()}
    assert {found.structures.ids[i].split()[0] for i in leading} <= {
        i.split()[0] for i in data["id"]
    }
    drawn = json.loads(gzip.decompress(other.read_bytes()))["structures"]
    assert len(drawn) == np.count_nonzero(np.diff(data["offsets"]))


def test_formulas_alone_have_no_drawings(tmp_path):
    table = pd.DataFrame({"formula": ["CH4", "H2O", "NH3"] * 8, "gap": RNG.normal(size=24)})
    found = carriers({"mine": RNG.normal(size=(24, 2))}, targets=table, folds=2)
    [path] = scatter.save(found, tmp_path)
    check_page(path.read_text())
    assert data_of(path.read_text())["molecules"]["offsets"] == [0] * 25


@pytest.mark.filterwarnings("ignore:R² is undefined")
def test_a_constant_target_has_no_score(tmp_path):
    table = pd.DataFrame({"formula": ["CH4", "H2O", "NH3"] * 8, "gap": np.full(24, 0.5)})
    found = carriers({"mine": RNG.normal(size=(24, 2))}, targets=table, folds=2)
    [path] = scatter.save(found, tmp_path)
    [[score]] = [channel["scores"] for channel in data_of(path.read_text())["channels"]]
    assert score["r2_geom"] is None
    assert len(scatter.text_table(found).rows) == 1


def test_the_file_for_chemiscope_has_its_format(found, tmp_path):
    path = scatter.save(found, tmp_path)[1]
    data = json.loads(gzip.decompress(path.read_bytes()))
    assert set(data) == {"meta", "structures", "properties", "settings"}
    first, atoms = data["structures"][0], found.structures.atoms(0)
    assert first["size"] == len(first["names"]) == len(atoms)
    np.testing.assert_allclose(np.transpose([first[k] for k in "xyz"]), atoms.positions, atol=1e-4)
    for one in data["properties"].values():
        assert one["target"] == "structure"
        assert len(one["values"]) == len(data["structures"])
        assert len({type(value) for value in one["values"]}) == 1
    assert data["properties"]["gap"]["units"] == "eV"
    for axis in ("x", "y", "color"):
        assert data["settings"]["map"][axis]["property"] in data["properties"]
    again = chemiscope.save(found, np.arange(len(found.targets)), tmp_path / "again.json.gz")
    assert again.read_bytes() == path.read_bytes()


def test_crystals_keep_their_cells():
    from ase.build import bulk

    made = chemiscope._structure(bulk("NaCl", "rocksalt", a=5.64))
    assert len(made["cell"]) == 9
    assert made["pbc"] == [True, True, True]
