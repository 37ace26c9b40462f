"""Findings are right on tables whose answer is known; a report is written from two models."""

import numpy as np
import pytest
import xarray as xr
from helpers import results_table
from scipy import stats

from cpdjax.errors import InputError
from cpdjax.reports.findings import save, sections
from cpdjax.studies import check_findings, findings, routing
from cpdjax.studies.reproduction import reproduce
from cpdjax.sweeps.table import last_interaction, layers_of, ranking


def zoo(gap, energy):
    kinds = {"gap": gap, "energy": energy}
    return results_table(
        {(f"painn-qm9-{k}", "interaction_0", "0e", "gap"): v for k, v in kinds.items()}
    )


def test_the_interval_is_the_corrected_t():
    scores = np.random.default_rng(1).normal(size=(4, 5))
    found = findings.estimate(scores)
    error = scores.std(ddof=1) * np.sqrt(1 / 20 + 1 / 4)
    expected = stats.t.interval(0.95, 19, scores.mean(), error)
    np.testing.assert_allclose((found.low, found.high), expected)


@pytest.mark.parametrize(("gap", "energy", "verdict"), [
    (0.5, 0.2, "holds"), (0.2, 0.5, "does not hold"), (0.3, 0.3, "does not hold"),
])  # fmt: skip
def test_alignment_is_read_off(gap, energy, verdict):
    [found] = findings.alignment(zoo(gap, energy))
    assert found.verdict == verdict
    assert float(found.ours.split()[0]) == pytest.approx(gap - energy, abs=0.02)


def test_what_cannot_be_asked_is_not_run():
    only = results_table({("so3lr", "interaction_0", "0e", "gap"): 0.4})
    assert findings.alignment(only)[0].verdict == "not run"
    assert findings.diversity(only, ["so3lr"])[0].verdict == "not run"
    assert findings.efficiency(only)[0].verdict == "not run"


def routed(model, dipole, gap):
    """Make results of a model whose scalars and vectors hold given shares."""
    scores = {(model, "interaction_0", ir, "mu"): v for ir, v in dipole.items()}
    scores |= {(model, "interaction_0", ir, "gap"): v for ir, v in gap.items()}
    return results_table(scores | {(model, "interaction_1", "0e", "gap"): 0.9})


@pytest.mark.parametrize(("model", "dipole", "gap", "verdict"), [
    ("mace-x", {"0e": 0.3, "1o": 0.6}, {"0e": 0.7, "1o": 0.3}, "holds"),
    ("mace-x", {"0e": 0.6, "1o": 0.3}, {"0e": 0.7, "1o": 0.3}, "does not hold"),
    ("mace-x", {"0e": 0.3, "1o": 0.6}, {"0e": 0.3, "1o": 0.7}, "does not hold"),
    ("visnet-x", {"0e": 0.3, "1o": 0.02}, {"0e": 0.7, "1o": 0.3}, "holds"),
    ("visnet-x", {"0e": 0.3, "1o": 0.6}, {"0e": 0.7, "1o": 0.3}, "does not hold"),
    ("so3lr", {"0e": 0.3, "1o": 0.6}, {"0e": 0.7, "1o": 0.3}, "not in the paper"),
])  # fmt: skip
def test_routing_is_read_off(model, dipole, gap, verdict):
    ways = {
        "pool-then-norm": routed(model, dipole, gap),
        "power-spectrum": routed(model, {"0e": 0, "1o": 0.5}, {"0e": 0.5, "1o": 0}),
    }
    lines = routing.routes(model, ways)
    assert [(r.layer, r.irrep) for r in lines] == [("interaction_0", "0e"), ("interaction_0", "1o")]
    found = routing.routing_finding(lines)
    assert found.verdict == verdict
    kept = found.remark.partition("so by ")[2].partition(" of ")[0]
    assert ("power-spectrum" in kept) == (not model.startswith("visnet"))
    assert ("pool-then-norm" in kept) == (verdict != "does not hold")


def test_scalars_alone_are_not_routed():
    rows = results_table({("m", "interaction_0", "0e", "gap"): 0.7})
    assert routing.routes("m", {"pool-then-norm": rows}) == []


def test_ranking_and_efficiency():
    scores = {(f"m{i}", "interaction_0", "0e", "gap"): 0.1 + 0.2 * i for i in range(4)}
    rows = results_table(scores)
    assert [row[0] for row in ranking(rows, "gap")] == ["m3", "m2", "m1", "m0"]
    rank, stable, best = findings.efficiency(rows)
    assert rank.verdict == stable.verdict == best.verdict == "holds"
    assert "ρ 1.000" in rank.ours
    assert [line.verdict for line in findings.gradient(rows)] == ["holds", "holds"]


def test_the_best_layer_is_the_best_by_the_gap():
    layers = {"interaction_0": 0.6, "interaction_1": 0.2, "readout": 0.4}
    rows = results_table({("m", layer, "0e", "gap"): v for layer, v in layers.items()})
    assert findings.best_layer(rows, "m") == ("interaction_0", "0e")
    assert findings.gap_score(rows, "m").value == pytest.approx(0.2, abs=0.02)
    assert findings.gap_score(rows, "m", "best layer").value == pytest.approx(0.6, abs=0.02)


def test_the_last_interaction_is_not_the_readout():
    layers = ("embedding", "interaction_0", "readout", "interaction_1")  # as a table met them
    rows = results_table({("m", layer, "0e", "gap"): 0.1 for layer in layers})
    assert last_interaction(rows, "m") == ("interaction_1", "0e")
    path = ["embedding", "interaction_0", "interaction_1", "readout"]
    assert findings.depth(rows).layer.values.tolist() == path
    assert list(layers_of(rows, "m")) == path


def test_diversity_is_a_paired_difference():
    gaps = {"painn-qm9-energy": 0.3, "mace-qm9-energy": 0.1, "so3lr": 0.4, "ani-1x": 0.2}
    rows = results_table({(m, "interaction_0", "0e", "gap"): v for m, v in gaps.items()})
    above, below = findings.diversity(rows, ["so3lr", "ani-1x"])
    assert (above.verdict, below.verdict) == ("holds", "does not hold")
    assert "Above 2 of 2" in above.remark
    assert "Above 1 of 2: mace-qm9-energy" in below.remark


@pytest.mark.slow
def test_a_report_is_written(tmp_path, monkeypatch):
    """A model with vectors and one without go from features to the page, and are resumed."""

    def absent(*data, **options):
        raise InputError("scikit-learn is not installed")

    # The check takes minutes, and is tested elsewhere.
    monkeypatch.setattr(check_findings, "check_nonlinear", absent)
    names = ["painn-qm9-gap", "coulomb-spectrum"]
    found = reproduce(tmp_path, names, n=200, sizes=[100, 200], repeats=2)
    saved = save(found, tmp_path)
    assert all(path.exists() for path in saved)
    page, text = ((tmp_path / f"report.{suffix}").read_text() for suffix in ("html", "md"))
    for section in sections(found):
        assert f"# {section.title}" in text
        assert section.rows
        assert all(len(row) == len(section.head) for row in section.rows)
        assert page.count("<tr>") > len(section.rows)
    assert {r.irrep for r in found.routes} == {"0e", "1o"}
    assert all(np.isfinite(r.tensors["dipole_point"].value) for r in found.routes[1:])
    again = reproduce(tmp_path, names, n=200, sizes=[100, 200], repeats=2)
    assert again.findings == found.findings
    assert found.findings[-1].verdict == "not run"
    timed = "milliseconds"  # the cost of a molecule is measured anew
    xr.testing.assert_identical(again.table.drop_vars(timed), found.table.drop_vars(timed))
