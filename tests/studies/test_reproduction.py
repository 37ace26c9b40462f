"""Findings are right on tables whose answer is known; a report is written from three models."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import one_line, results_table
from scipy import stats

from cpdjax.errors import FileError, InputError
from cpdjax.reports.findings import save, tables
from cpdjax.reports.findings.sections import sections
from cpdjax.reports.findings.summary import CHANGES
from cpdjax.studies import reproduction
from cpdjax.studies.finding import near
from cpdjax.studies.findings import OF_PAPER, answers, of_paper
from cpdjax.studies.findings.depth import depth
from cpdjax.studies.findings.efficiency import correlations
from cpdjax.studies.findings.routing import routing_layer
from cpdjax.studies.groups import ARCHITECTURES, EQUIVARIANT, GRAPH, TEN, named, twin
from cpdjax.studies.measured import Measured, NotMeasuredError, Where
from cpdjax.studies.measuring import Subject
from cpdjax.studies.molecules import bounds_of
from cpdjax.studies.reproduction import Reproduction, reproduce, subjects
from cpdjax.sweeps import results
from cpdjax.sweeps.table import joined, last_interaction, layers_of, ranking
from cpdjax.uncertainty.comparison import Estimate, estimate

LAST = "interaction_1"


def table_of(gaps, targets=("gap", "mu"), sizes=(50, 2000), scatter=0.0):
    """Results of models with two interaction layers, the first of which holds half as much."""
    scores = {
        (model, layer, "0e", target): value * share
        for model, value in gaps.items()
        for layer, share in (("interaction_0", 0.5), (LAST, 1.0))
        for target in targets
    }
    table = results_table(scores, sizes, targets).assign_coords(alpha=[1.0])
    for i, model in enumerate(gaps):
        table.r2_geom.loc[{"model": model}] += scatter * (-1) ** i
    table["r2_full"] = table.r2_geom + 0.3
    shape = [table.sizes[d] for d in ("repeat", "size", "fold", "target")]
    table["r2_comp"] = (("repeat", "size", "fold", "target"), np.full(shape, 0.4))
    return table


def ten(gap=0.5, energy=0.2, **others):
    """R²_geom of the ten models, the same for all of one objective but for those that are named."""
    gaps = {named(a, o): gap if o == "gap" else energy for o in ("gap", "energy") for a in
            ARCHITECTURES}  # fmt: skip
    return gaps | {name.replace("_", "-"): value for name, value in others.items()}


def measured(gaps, elsewhere=None, **more):
    table = table_of(gaps)
    return Measured({"main": table, "draw 1": table_of(elsewhere or gaps), **more})


def found(of, key):
    [line] = [line for line in answers(of) if line.key == key]
    return line


def test_every_statement_of_the_paper_has_a_line_even_where_nothing_can_answer():
    lines = of_paper(answers(measured({"so3lr": 0.4})))
    assert [line.key for line in lines] == list(OF_PAPER)
    assert len(lines) == 17
    assert {line.verdict for line in lines} == {"not run"}
    assert all(line.paper and line.rule and line.remark for line in lines)
    everything = answers(measured(ten()))
    assert len({line.key for line in everything}) == len(everything)
    assert not any("×" in line.ours or "factor" in line.ours for line in everything)


@pytest.mark.parametrize(("gap", "energy", "verdict"), [
    (0.5, 0.2, "holds"), (0.2, 0.5, "does not hold"), (0.5, 0.375, "not decided"),
])  # fmt: skip
def test_alignment_is_held_against_half_of_the_papers_difference(gap, energy, verdict):
    line = found(measured(ten(gap, energy)), "alignment")
    assert line.verdict == verdict
    assert line.estimate.value == pytest.approx(gap - energy, abs=0.02)


@pytest.mark.slow
def test_one_architecture_that_differs_decides_the_range():
    assert found(measured(ten(0.5)), "alignment-range").verdict == "holds"
    lower = ten(0.5) | {"schnet-qm9-gap": 0.2}
    assert found(measured(lower), "alignment-range").verdict == "does not hold"


@pytest.mark.slow
def test_runs_that_scatter_leave_undecided_what_one_run_would_decide():
    gaps = ten(0.3, 0.2)
    assert found(measured(gaps), "alignment-schnet").verdict == "does not hold"  # below 0.125
    runs = {f"schnet-qm9-gap-run{i}": 0.3 + 0.2 * i for i in (1, 2)}
    line = found(measured(gaps | runs), "alignment-schnet")
    assert line.verdict == "not decided"
    assert line.estimate.value == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(("gain", "verdict"), [(0.1, "holds"), (-0.1, "does not hold")])
def test_equivariance_is_an_interaction(gain, verdict):
    """Equivariant models are better by as much with either objective, but for the gain."""
    gaps = ten()
    for a in EQUIVARIANT:
        gaps[named(a, "energy")] += 0.2
        gaps[named(a, "gap")] += 0.2 + gain
    line = found(measured(gaps), "equivariance")
    assert (line.verdict, round(line.estimate.value, 1)) == (verdict, gain)


def test_the_ends_of_the_gradient_are_chosen_on_other_molecules():
    """The extremes of the judged scores are others, and would make it hold."""
    here = ten(0.3, 0.3) | {"painn-qm9-gap": 0.6, "mace-qm9-energy": 0.0}
    there = ten(0.3, 0.3) | {"visnet-qm9-gap": 0.6, "schnet-qm9-energy": 0.0}
    assert found(measured(here), "gradient").verdict == "holds"
    line = found(measured(here, there), "gradient")
    assert line.verdict == "does not hold"
    assert "schnet-qm9-energy" in line.ours


def test_the_best_layer_is_chosen_on_other_molecules():
    scores = {("m", layer, "0e", "gap"): v for layer, v in (("interaction_0", 0.6), (LAST, 0.2))}
    flipped = {("m", layer, "0e", "gap"): v for layer, v in (("interaction_0", 0.2), (LAST, 0.6))}
    of = Measured({"main": results_table(scores), "draw 1": results_table(flipped)})
    assert of.best("m", "gap") == LAST
    assert of.score("m", Where(layer="best")).value == pytest.approx(0.2, abs=0.02)
    assert of.score("m", Where(layer="interaction_0")).value == pytest.approx(0.6, abs=0.02)


def routed(model, dipole, full):
    """Results of a model whose scalars and vectors hold shares of dipole and gap (R²_full)."""
    scores = {(model, LAST, ir, "mu"): v for ir, v in dipole.items()}
    scores |= {(model, LAST, ir, "gap"): 0.1 for ir in full}
    table = results_table(scores | {(model, "readout", "0e", "gap"): 0.9})
    table["r2_full"] = table.r2_geom.copy()
    for irrep, value in full.items():
        table.r2_full.loc[{"irrep": irrep, "layer": LAST, "target": "gap"}] += value - 0.1
    return Measured({"main": table})


@pytest.mark.parametrize(("dipole", "full", "verdicts"), [
    ({"0e": 0.3, "1o": 0.6}, {"0e": 0.76, "1o": 0.34}, ("holds", "holds")),
    ({"0e": 0.6, "1o": 0.3}, {"0e": 0.34, "1o": 0.76}, ("does not hold", "does not hold")),
])  # fmt: skip
def test_routing_of_the_gap_is_judged_by_r2_full(dipole, full, verdicts):
    of = routed("mace-qm9-gap", dipole, full)
    lines = [found(of, f"routing-mace-{target}") for target in ("mu", "gap")]
    assert tuple(line.verdict for line in lines) == verdicts
    assert routing_layer(of.table(), "mace-qm9-gap") == (LAST, ["0e", "1o"])


def test_levels_of_visnet_are_held_against_the_papers():
    of = routed("visnet-qm9-gap", {"0e": 0.3, "1o": 0.02}, {"0e": 0.877, "1o": 0.3})
    assert found(of, "routing-visnet-gap").verdict == "holds"
    assert found(of, "routing-visnet-mu").verdict == "holds"
    with pytest.raises(NotMeasuredError, match="visnet-qm9-energy was not measured"):
        of.score("visnet-qm9-energy")


def curve(gaps, sizes=(50, 500, 2000)):
    """Scores on a fixed test set: one fold, and training molecules drawn from 8,000."""
    table = table_of(gaps, sizes=sizes).isel(fold=[0])
    return table.assign_attrs(settings='{"test": 2000}', molecules=10_000)


@pytest.mark.slow
def test_a_ranking_is_kept_where_its_correlation_is_certain():
    spread = dict(zip(TEN, np.linspace(0.05, 0.95, 10), strict=True))
    of = measured(spread, test=curve(spread))
    assert found(of, "ranking").verdict == found(of, "stable").verdict == "holds"
    few = curve(spread)
    few.r2_geom[:, :, :, :, 0] *= -1
    of = measured(spread, test=few)
    assert found(of, "ranking").verdict == "does not hold"
    assert found(of, "stable").verdict == "holds"


def test_the_interval_of_a_ranking_counts_the_molecules_that_draws_share():
    """Ten draws of 500 out of 8,000 molecules, for which ρ is one number or another."""
    spread = dict(zip(TEN, np.linspace(0.05, 0.95, 10), strict=True))
    few = curve(spread)
    few.r2_geom.loc[{"size": 500, "repeat": few.repeat[::2]}] *= -1
    rho = np.where(np.arange(few.sizes["repeat"]) % 2, 1.0, -1.0)
    error = rho.std(ddof=1) * np.sqrt(1 / len(rho) + (500 / 8000) / (1 - 500 / 8000))
    low, high = stats.t.interval(0.95, len(rho) - 1, rho.mean(), error)
    line = correlations(measured(spread, test=few), "test")[500]
    assert (line.low, line.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.slow
def test_a_ranking_by_other_columns_is_compared_fold_by_fold():
    """Repeats share all molecules, so that their folds need the corrected interval."""
    spread = dict(zip(TEN, np.linspace(0.05, 0.95, 10), strict=True))
    kept, turned = table_of(spread), table_of(spread)
    turned.r2_geom.loc[{"fold": turned.fold[:2]}] *= -1
    rho = np.where(turned.fold < 2, -1.0, 1.0)[None].repeat(turned.sizes["repeat"], 0)
    of = measured(spread, width=kept)
    assert found(of, "widths-width").verdict == "holds"
    of = measured(spread, width=turned)
    line = found(of, "widths-width")
    assert line.verdict == "not decided"  # the mean of ρ is 0.2, the same in every repeat
    expected = estimate(rho)
    assert (line.estimate.low, line.estimate.high) == (expected.low, expected.high)


@pytest.mark.slow
def test_draws_are_held_against_one_training_run():
    """Runs that differ widen the interval of the model, and say nothing of molecules."""
    plain = found(measured(ten()), "sampling-draws").ours
    runs = {f"{model}-run1": 0.9 for model in TEN}
    assert found(measured(ten() | runs), "sampling-draws").ours == plain


@pytest.mark.slow
def test_advice_on_data_is_not_given_without_pretrained_models():
    assert found(measured(ten()), "advice-data-mu").verdict == "not run"
    of = measured(ten() | {"so3lr": 0.9})
    assert found(of, "advice-data-mu").verdict == "holds"


@pytest.mark.slow
def test_an_undecided_linear_probe_leaves_the_line_on_trees_undecided():
    of = dataclasses.replace(measured(ten()), frames=frames())
    assert found(of, "trees-mislead").verdict == "holds"
    of.frames["trees"].loc[of.frames["trees"].probe == "ridge", "high"] = 0.2
    assert found(of, "trees-mislead").verdict == "not decided"


def test_megnet_is_asked_by_what_its_networks_were_trained_on():
    gaps = {"megnet-qm9-gap": 0.4, "megnet-qm9-u0": 0.2, "megnet-qm9-g298": 0.1,
            "megnet-qm9-mu": 0.9}  # fmt: skip
    targets = ("gap", "u0_atom", "g298_atom", "mu")
    trained_on = dict(zip(gaps, targets, strict=True))
    of = dataclasses.replace(measured(gaps), trained_on=trained_on)
    line = found(of, "objectives-gap")
    assert line.estimate.value == pytest.approx(0.25, abs=0.02)


@pytest.mark.slow
def test_painn_at_50_is_asked_by_name():
    of = measured(ten(), test=curve(ten() | {"painn-qm9-gap": 0.9, "schnet-qm9-gap": 0.1}))
    assert found(of, "painn-at-50").verdict == "holds"
    assert found(of, "painn-at-50-energy-energy").verdict == "does not hold"


def frames(accuracy=0.95, r2=0.8):
    isomers = pd.DataFrame([
        {"model": m, "pairs": 9, "composition": 0.5, "accuracy": a, "low": a - 0.01,
         "high": a + 0.01, "rho": 0.9, "law": a, "above 0": a}
        for m, a in ((*((m, accuracy) for m in TEN), (GRAPH, 0.8)))
    ])  # fmt: skip
    trees = pd.DataFrame([
        {"model": m, "probe": p, "target": "atoms", "r2": v, "low": v - 0.02, "high": v + 0.01}
        for m in TEN for p, v in (("trees", r2), ("ridge", 0.0))
    ])  # fmt: skip
    return {"isomers": isomers, "trees": trees}


@pytest.mark.slow
@pytest.mark.parametrize(("accuracy", "r2", "verdict"), [
    (0.95, 0.8, "holds"), (0.85, 0.2, "does not hold"),
])  # fmt: skip
def test_isomers_and_trees_are_read_off(accuracy, r2, verdict):
    of = dataclasses.replace(measured(ten()), frames=frames(accuracy, r2))
    assert [found(of, key).verdict for key in ("isomers", "trees")] == [verdict, verdict]
    assert found(of, "isomers-composition").verdict == "holds"
    assert found(of, "isomers-graph").verdict == "holds"
    assert found(of, "advice-probes").verdict == "holds"


@pytest.mark.slow
def test_controls_are_asked_for():
    gaps = ten() | {twin(a): 0.3 for a in ARCHITECTURES} | {GRAPH: 0.4}
    of = measured(gaps, groups=table_of(ten(0.2, -0.1)))
    verdicts = {key: found(of, f"controls-{key}").verdict for key in (
        "graph-gap", "graph-energy", "untrained-gap-gap", "untrained-energy-gap", "beyond-gap",
        "beyond-energy",
    )}  # fmt: skip
    assert [verdict == "holds" for verdict in verdicts.values()] == [1, 0, 1, 0, 1, 0]
    assert found(of, "controls-composition").verdict == "not run"


def test_an_interval_that_straddles_decides_nothing():
    assert near(Estimate(0.5, 0.2, 0.8), 0.5) == "not decided"
    assert near(Estimate(0.95, 0.94, 0.96), 0.5) == "does not hold"


def test_tables_of_models_are_joined_on_the_path():
    one, other = table_of({"a": 0.3}), table_of({"b": 0.4})
    other = other.assign_coords(layer=["interaction_1", "readout"])
    both = joined([one, other])
    assert both.layer.values.tolist() == ["interaction_0", "interaction_1", "readout"]
    assert layers_of(both, "b") == {"interaction_1": "0e", "readout": "0e"}
    xr.testing.assert_equal(both.r2_comp, one.r2_comp)
    with pytest.raises(InputError, match="'a' is in two tables"):
        joined([one, one])


def test_the_last_interaction_is_not_the_readout():
    layers = ("embedding", "interaction_0", "readout", "interaction_1")  # as a table met them
    rows = results_table({("m", layer, "0e", "gap"): 0.1 for layer in layers})
    assert last_interaction(rows, "m") == ("interaction_1", "0e")
    path = ["embedding", "interaction_0", "interaction_1", "readout"]
    assert depth(Measured({"main": rows})).layer.values.tolist() == path
    assert list(layers_of(rows, "m")) == path


def test_ranking():
    scores = {(f"m{i}", "interaction_0", "0e", "gap"): 0.1 + 0.2 * i for i in range(4)}
    assert [r[0] for r in ranking(results_table(scores), "gap")] == ["m3", "m2", "m1", "m0"]


@pytest.mark.slow
def test_the_report_says_first_what_to_believe(tmp_path):
    gaps = ten() | {twin(a): 0.1 for a in ARCHITECTURES} | {GRAPH: 0.4}
    of = dataclasses.replace(
        measured(gaps, groups=table_of(gaps), test=curve(gaps)), frames=frames(),
        trained_on={named(a, "gap"): "gap" for a in ARCHITECTURES},
    )  # fmt: skip
    made = Reproduction(answers(of), of, [])
    saved = save(made, tmp_path, "cpdjax reproduce")
    text = (tmp_path / "report.md").read_text()
    first = text.splitlines()[:10]
    assert first[0].startswith("# ")
    assert any("17 statements" in line for line in first)
    assert any("0.40 from bonds alone" in line for line in first)
    assert all(point in text.replace("\\", "") for point in CHANGES)
    assert text.rstrip().endswith(sections(made)[-1].points[-1])
    for section in sections(made):
        assert all(len(row) == len(section.head) for row in section.rows)
    assert {path.name for path in saved} >= {"findings.csv", "models.csv", "gradient.png"}
    listed = pd.read_csv(tmp_path / "tables" / "findings.csv")
    assert listed.key.tolist() == [line.key for line in made.findings]
    own = tables.models(of)
    assert {GRAPH, twin("painn")} <= set(own.model)  # controls are among the models
    assert own["median"].notna().all()


def test_folders_of_saved_models_take_part(tmp_path):
    with pytest.raises(FileError, match="holds no folders of saved models"):
        subjects(["so3lr"], tmp_path)
    names = [s.name for s in subjects()]
    assert {*TEN, GRAPH, "painn-untrained", "painn-untrained-run4"} <= {*names}
    assert {s.name: s.is_run for s in subjects()}["painn-untrained-run4"]


def test_a_folder_holds_one_study(tmp_path):
    reproduction._check_record(tmp_path, {"seed": 0})
    reproduction._check_record(tmp_path, {"seed": 0})
    with pytest.raises(FileError, match=r"another study \(different: seed\)"):
        reproduction._check_record(tmp_path, {"seed": 1})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"draws": 1}, "draws must be at least 2"),
        ({"n": 3}, "n must be from 10 to 5,000"),
        ({"n": 6000, "draws": 2}, "n must be from 10 to 5,000"),
        ({"n": 50, "sizes": [20, 60]}, "size 60 is larger"),
        ({"n": 50, "sizes": [3, 50]}, "5 folds need at least as many molecules"),
    ],
)
def test_impossible_numbers_are_refused_before_models_are_opened(given, words, tmp_path):
    with pytest.raises(InputError) as caught:
        reproduce(tmp_path, ["no-such-model"], **given)
    one_line(caught, words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("names", "measured"),
    [
        (TEN, 11.6),
        ([f"megnet-qm9-{i}" for i in range(13)], 8.5),
        ([f"painn-qm9-gap-run{i}" for i in range(1, 54)], 6.1),
        (None, 70),
    ],
)
def test_the_plan_tells_the_time_within_a_factor(names, measured):
    """Minutes on two cores for 2,000 molecules and five draws, other work beside them."""
    found = [Subject(name, name, "-run" in name) for name in names or ()] or subjects()
    minutes = int(reproduction.plan(found, 2000, 5).partition("about ")[2].split()[0])
    assert measured / 1.5 <= minutes <= 1.5 * measured


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_names_stay_whole_where_saved_tables_are_joined(suffix, tmp_path):
    names = ["so3lr", "painn-qm9-gap", "painn-qm9-gap-run1"]
    for name in names:
        results.save(table_of({name: 0.5}), tmp_path / f"{name}{suffix}")
    parts = [results.load(tmp_path / f"{name}{suffix}") for name in names]
    results.save(joined(parts), tmp_path / f"all{suffix}")
    assert results.load(tmp_path / f"all{suffix}").model.values.tolist() == names


def test_draws_share_what_there_is():
    assert bounds_of(10, 2, 20) == (0, 10, 20)
    assert bounds_of(2500, 5) == (0, 2500, 4375, 6250, 8125, 10_000)


@pytest.mark.slow
def test_a_report_is_written(tmp_path):
    """A model with vectors, a descriptor and a control go from features to the page, and resume."""
    names = ["painn-qm9-gap", "coulomb-spectrum", GRAPH]
    options = {"n": 200, "draws": 2, "sizes": [50, 200], "repeats": 2}
    made = reproduce(tmp_path, names, **options)
    assert all(path.exists() for path in save(made, tmp_path))
    again = reproduce(tmp_path, names, **options)
    assert [f.ours for f in again.findings] == [f.ours for f in made.findings]
    xr.testing.assert_identical(again.table, made.table)
