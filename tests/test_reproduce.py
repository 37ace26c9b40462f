"""Findings on tables whose answer is known, and a report from two small sets of features."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from cpdjax import findings, reproduce


def table(scores, sizes=(50, 2000), targets=("gap", "mu")):
    """Results with given R²_geom of (model, layer, irrep, target), growing with size."""
    models, layers, irreps = (list(dict.fromkeys(k[i] for k in scores)) for i in range(3))
    dims = ("model", "layer", "irrep", "repeat", "size", "fold", "alpha", "target")
    shape = (len(models), len(layers), len(irreps), 3, len(sizes), 5, 1, len(targets))
    r2, counts = np.full(shape, np.nan), np.zeros(shape[:3], int)
    noise = np.random.default_rng(0).normal(0, 0.01, shape)
    for (m, layer, ir, t), value in scores.items():
        where = models.index(m), layers.index(layer), irreps.index(ir)
        counts[where] = 8
        for j in range(len(sizes)):
            part = (*where, slice(None), j, slice(None), 0, targets.index(t))
            r2[part] = value * (j + 1) / len(sizes) + noise[part]
    data = {
        "r2_geom": (dims, r2),
        "n_features": (dims[:3], counts),
        "composition_share": (dims[:6], np.full(shape[:6], 0.5)),
    }
    coordinates = dict(zip(dims[:3], (models, layers, irreps), strict=True))
    return xr.Dataset(data, coordinates | {"size": list(sizes), "target": list(targets)})


def zoo(gap, energy):
    kinds = {"gap": gap, "energy": energy}
    return table({(f"painn-qm9-{k}", "interaction_0", "0e", "gap"): v for k, v in kinds.items()})


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
    only = table({("so3lr", "interaction_0", "0e", "gap"): 0.4})
    assert findings.alignment(only)[0].verdict == "not run"
    assert findings.diversity(only, ["so3lr"])[0].verdict == "not run"
    assert findings.efficiency(only)[0].verdict == "not run"


@pytest.mark.parametrize("routed", [True, False])
def test_routing_is_read_off(routed):
    vector, scalar = (0.6, 0.3) if routed else (0.3, 0.6)
    scores = {
        ("m", "interaction_0", "1o", "mu"): vector,
        ("m", "interaction_0", "0e", "mu"): scalar,
    }
    scores |= {("m", "interaction_0", "1o", "gap"): 0.3, ("m", "interaction_0", "0e", "gap"): 0.7}
    [found] = findings.routing({"pool-then-norm": table(scores)})
    assert found.verdict == ("holds" if routed else "does not hold")


def test_ranking_and_efficiency():
    scores = {(f"m{i}", "interaction_0", "0e", "gap"): 0.1 + 0.2 * i for i in range(4)}
    rows = table(scores)
    assert [row[0] for row in findings.ranking(rows, "gap")] == ["m3", "m2", "m1", "m0"]
    rank, best = findings.efficiency(rows)
    assert rank.verdict == best.verdict == "holds"
    assert "ρ 1.000" in rank.ours
    assert findings.gradient(rows)[0].verdict == "holds"


def test_the_last_interaction_is_not_the_readout():
    layers = ("embedding", "interaction_0", "interaction_1", "readout")
    rows = table({("m", layer, "0e", "gap"): 0.1 for layer in layers})
    assert findings.last_interaction(rows, "m") == ("interaction_1", "0e")
    assert findings.depth(rows).sizes == {"model": 1, "layer": 4}


def test_a_report_is_written(tmp_path):
    found = reproduce.reproduce(tmp_path, ["coulomb-spectrum"], n=60, sizes=[60], repeats=2)
    assert {"gradient.png", "depth.png", "report.html"} <= {p.name for p in tmp_path.iterdir()}
    text = (tmp_path / "report.md").read_text()
    assert all(line.name in text for line in found)
    assert "What to use" in text
