"""Recommendations rank over poolings, survey molecules of one's own, and measure costs."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from ase.build import molecule
from ase.io import write
from e3nn_jax import Irreps, IrrepsArray
from helpers import call, results_table

import cpdjax
from cpdjax.errors import InputError, LeftOutWarning, UnknownNameError
from cpdjax.reports.study_tables import recommendation_table
from cpdjax.studies import recommendation
from cpdjax.studies.recommendation import Choice
from cpdjax.sweeps.left_out import left_out_of
from cpdjax.sweeps.table import joined, trained_on

NAMES = ["H2O", "CH4", "NH3", "C2H6", "CH3OH", "H2CO", "CO2", "C2H4"] * 5
RNG = np.random.default_rng(0)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Toy:
    """A model that gives two numbers per atom."""

    name = "toy"
    level = "atom"
    elements = max_atoms = cutoff = None
    periodic, parity = False, True
    irreps = {"first": Irreps("2x0e")}  # noqa: RUF012

    def memory(self, atoms, neighbours):
        return atoms

    def features(self, batch):
        far = jnp.linalg.norm(batch.positions, axis=-1)
        return {"first": IrrepsArray("2x0e", jnp.stack([far, jnp.cos(far)], -1))}


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Trained(Toy):
    """The same, with a record of what it was trained on."""

    target: str = ""
    unit: str = ""


def molecules():
    frames = [molecule(name) for name in NAMES]
    for frame in frames:
        frame.rattle(0.1, rng=RNG)
    return frames


def pooled(scores, pool):
    made = results_table(scores)
    made.attrs["pool"] = json.dumps({"m": pool, "whole": "none"})
    return made


@pytest.fixture(scope="module")
def structures():
    frames = molecules()
    y = [np.linalg.norm(f.positions, axis=1).sum() for f in frames]
    return cpdjax.Structures.from_atoms(frames, targets={"spread": np.array(y)})


@pytest.fixture(scope="module")
def tables(structures, tmp_path_factory):
    features = {"toy": Toy(), "mine": RNG.normal(size=(len(structures), 2))}
    out = tmp_path_factory.mktemp("survey")
    return out, recommendation.survey(features, dataset=structures, repeats=2, out=out)


def test_the_lower_end_leads_over_poolings():
    mean = {("m", "interaction_0", "0e", "gap"): 0.3, ("whole", "spectrum", "0e", "gap"): 0.2}
    sums = {("m", "interaction_0", "0e", "gap"): 0.5}
    found = recommendation.recommend([pooled(mean, "mean"), pooled(sums, "sum")], "gap")
    assert [(c.model, c.pool) for c in found] == [("m", "sum"), ("m", "mean"), ("whole", "none")]
    assert [c.r2_geom.low for c in found] == sorted((c.r2_geom.low for c in found), reverse=True)
    alone = recommendation.recommend(pooled(mean, "mean"), "gap", most=1)
    assert [(c.pool, c.cells[-1]) for c in alone] == [("mean", "–")]
    with pytest.raises(UnknownNameError, match="target"):
        recommendation.recommend(pooled(mean, "mean"), "homo")


def test_models_that_were_trained_on_the_target_are_marked_and_left_out():
    gaps = {"painn-qm9-gap": 0.6, "painn-qm9-energy": 0.3, "mine": 0.5}
    scores = {(m, "interaction_0", "0e", t): v for m, v in gaps.items() for t in ("gap", "mu")}
    table = results_table(scores)
    ranked = recommendation.recommend(table, "gap")
    assert [(c.model, c.trained) for c in ranked] == [("mine", False), ("painn-qm9-energy", False)]
    whole = recommendation.recommend(table, "gap", with_trained=True)
    assert whole[0].trained
    assert whole[0].cells[0] == "painn-qm9-gap (trained on it)"
    assert recommendation.recommend(table, "mu")[0].model == "painn-qm9-gap"
    told = recommendation.with_training(table, {"mine": SimpleNamespace(target="gap")})
    assert [c.model for c in recommendation.recommend(told, "gap")] == ["painn-qm9-energy"]
    table["unit"] = ("target", ["eV", "debye"])
    notes = recommendation_table([table], ["gap"], 3).notes
    assert "Trained on gap, and so not ranked: painn-qm9-gap" in notes[0]
    assert "not ranked" not in recommendation_table([table], ["gap"], 3, True).notes[0]


def test_a_sweep_records_what_models_of_ones_own_were_trained_on():
    frames = molecules()
    for atoms in frames:
        atoms.info.update(gap=float(RNG.normal()), mu=float(RNG.normal()))
    own = {"gap-net": Trained("gap", "eV"), "silent": Toy(), "array": RNG.normal(size=(40, 2))}
    how = {"dataset": frames, "targets": ["gap", "mu"], "repeats": 1, "sizes": [40]}
    table = cpdjax.sweep(own, **how)
    assert json.loads(table.attrs["trained_on"]) == {"gap-net": "gap"}
    assert json.loads(table.attrs["trained_on_unit"]) == {"gap-net": "eV"}
    assert {c.model for c in recommendation.recommend(table, "gap")} == {"silent", "array"}
    assert {c.model for c in recommendation.recommend(table, "mu")} == {*own}

    apart = [cpdjax.sweep({name: source}, **how) for name, source in own.items()]
    assert trained_on(joined(apart[::-1])) == {"gap-net": "gap"}
    assert json.loads(joined(apart).attrs["pool"]) == json.loads(table.attrs["pool"])


def test_no_channel_is_promised_where_none_is_certain():
    nothing = Choice("m", "embedding", "0e", "mean", 8, cpdjax.Estimate(0.1, -0.1, 0.3), np.nan)
    assert "no channel" in recommendation.advice([nothing], "gap")
    better = dataclasses.replace(nothing, r2_geom=cpdjax.Estimate(0.5, 0.4, 0.6), milliseconds=1.0)
    worse = dataclasses.replace(nothing, milliseconds=0.1)
    assert "Cheaper" not in recommendation.advice([better, worse], "gap")


def test_a_survey_is_two_sweeps_at_the_price_of_one(structures, tables):
    out, found = tables
    for table, pool in zip(found, ("mean", "sum"), strict=True):
        expected = cpdjax.sweep(
            {"toy": Toy()}, dataset=structures, pool=pool, sizes=[len(NAMES)], repeats=2
        )
        got = table.r2_geom.sel(model=["toy"], layer=["first"])
        np.testing.assert_allclose(got, expected.r2_geom, rtol=1e-8, atol=1e-8)
    best = recommendation.recommend(found, "spread")[0]
    assert (best.model, best.pool) == ("toy", "sum")  # of which the target is made
    assert best.milliseconds > 0
    others = {c.model: c for c in recommendation.recommend(found, "spread")}
    assert others["mine"].pool == "none"
    assert np.isnan(others["mine"].milliseconds)
    again = recommendation.recommend(recommendation.load(out), "spread")
    assert again[0] == best
    recommendation.save(found[:1], out)
    assert len(recommendation.load(out)) == 1


def test_models_that_do_not_know_an_element_are_left_out(structures):
    frames = [*molecules(), molecule("SiH4")]
    with (
        pytest.warns(UserWarning, match="ani-2x-aev is left out: molecule 'structures_40' has Si"),
        pytest.raises(InputError, match="none of ani-2x-aev can take these molecules"),
    ):
        recommendation.survey(["ani-2x-aev"], dataset=cpdjax.Structures.from_atoms(
            frames, targets={"y": np.arange(41.0)}))  # fmt: skip
    features = {"toy": Toy(), "ani-2x-aev": "ani-2x-aev"}
    several = cpdjax.Structures.from_atoms(frames, targets={"y": RNG.normal(size=41)})
    with pytest.warns(LeftOutWarning, match="ani-2x-aev is left out"):
        [found, _] = recommendation.survey(features, dataset=several, repeats=1)
    assert found.model.values.tolist() == ["toy"]
    assert left_out_of(found)["models"]["ani-2x-aev"].startswith("molecule 'structures_40' has Si")
    with pytest.raises(UnknownNameError):
        recommendation.survey(["painnn"], dataset=structures)
    with pytest.raises(InputError, match="structures"):
        recommendation.survey(
            ["toy"], dataset=None, targets={"formula": ["CH4"] * 9, "y": range(9)}
        )


def test_from_the_shell(tmp_path):
    frames = molecules()
    write(tmp_path / "mine.extxyz", frames)
    y = [frame.get_all_distances().max() for frame in frames]
    pd.DataFrame({"size": y}).to_csv(tmp_path / "mine.csv", index=False)
    arguments = ["--dataset", tmp_path / "mine.extxyz", "--targets", tmp_path / "mine.csv"]
    arguments += ["--models", "coulomb-spectrum", "--repeats", 2, "--out", tmp_path / "out"]
    status, said, complaint = call("recommend", *arguments)
    assert (status, complaint) == (0, "")
    assert "For size" in said
    assert "coulomb-spectrum" in said
    status, again, _ = call("recommend", tmp_path / "out", "--target", "size")
    assert (status, again) == (0, said)
    status, _, complaint = call("recommend", tmp_path / "out", *arguments)
    assert status == 2
    assert "one of them" in complaint
