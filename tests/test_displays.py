"""What notebooks and terminals show of objects: small, escaped, and true."""

import html
import re

import jax
import numpy as np
from ase import Atoms
from ase.build import molecule
from e3nn_jax import IrrepsArray

import cpdjax
from cpdjax.displays import MOST, Shown

RNG = np.random.default_rng(0)
C = RNG.integers(0, 5, (60, 2)).astype(float)
X = RNG.normal(size=(60, 4))
Y = np.stack([X[:, 0] + C[:, 0], RNG.normal(size=60)], axis=1)


def made(r2, alphas):
    """Scores of these numbers throughout."""
    return cpdjax.Scores(r2, r2, r2[..., 0, :], r2[..., 0, 0], alphas, alphas)


def cells(text):
    """The title, the head and the rows of a table in HTML."""
    title = html.unescape(re.search(r"<div>(.*?)</div>", text)[1])
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", text)]
    return title, rows[0], rows[1:]


def test_texts_are_texts_whatever_they_hold():
    shown = Shown("<b>&\x1b[31m", ("<i>",), [("<script>alert('x')</script>\n",)])
    assert not re.search(r"<(b|i|script)>", shown.html)
    assert "\x1b" not in shown.html + shown.text
    assert len(shown.text.splitlines()) == 3


def test_long_tables_say_what_they_leave_out():
    shown = Shown("many", ("n",), [(i,) for i in range(1500)])
    for text in (shown.html, shown.text):
        assert f"… and {1500 - MOST:,} more" in text
    assert len(cells(shown.html)[2]) == MOST


def test_scores_show_mean_and_spread_over_folds():
    scores = cpdjax.cpd(X, C, Y, folds=5, alphas=1.0)
    title, head, rows = cells(scores._repr_html_())
    assert title == "Scores: mean ± standard deviation over 5 folds"
    assert head == ["target", "R²_geom", "R²_full", "R²_comp"]
    for t, row in enumerate(rows):
        arrays = (scores.r2_geom[:, 0, t], scores.r2_full[:, 0, t], scores.r2_comp[:, t])
        assert row == [str(t), *(f"{a.mean():.2f} ± {a.std(ddof=1):.2f}" for a in arrays)]
    lines = repr(scores).splitlines()
    assert lines[0] == title
    assert [line.split()[0] for line in lines[1:]] == ["target", "0", "1"]


def test_scores_of_grids_and_curves_name_every_axis():
    alphas = np.broadcast_to([[0.1], [10.0]], (5, 2, 2))
    grid = made(RNG.normal(size=(5, 2, 2)), alphas)
    _, head, rows = cells(grid._repr_html_())
    assert head[:2] == ["α", "target"]
    assert [row[:2] for row in rows] == [["0.1", "0"], ["0.1", "1"], ["10", "0"], ["10", "1"]]
    curve = made(RNG.normal(size=(3, 2, 5, 1, 2)), np.ones((3, 2, 5, 1, 2)))
    title, head, rows = cells(curve._repr_html_())
    assert title.endswith("5 folds in 3 repeats")
    assert head[:2] == ["size", "target"]
    assert rows[2][2] == f"{curve.r2_geom[:, 1, :, 0, 0].mean():.2f} ± " + (
        f"{curve.r2_geom[:, 1, :, 0, 0].std(ddof=1):.2f}"
    )


def test_scores_without_values_or_with_axes_of_a_callers_own_show_shapes():
    seen = []
    jax.jit(lambda x: seen.append(cpdjax.cpd(x, C, Y)) or x)(X)
    batch = jax.vmap(lambda x: cpdjax.cpd(x, C, Y))(np.stack([X, X]))
    for scores, shape in ((seen[0], "(5, 1, 2)"), (batch, "(2, 5, 1, 2)")):
        assert f"r2_geom: {shape}" in repr(scores)
        assert scores._repr_html_() is None


def test_undefined_scores_and_large_failures_are_told():
    r2 = np.zeros((5, 1, 2))
    r2[0, 0] = [-1e5, np.nan]
    [first, second] = cells(made(r2, np.ones_like(r2))._repr_html_())[2]
    assert first[1] == "-2e+04 ± 4e+04"
    assert second[1] == "undefined"


def test_structures_tell_what_they_hold():
    frames = [molecule("H2O"), molecule("CH4")]
    for frame in frames:
        frame.info["gap"] = 1.0
        frame.arrays["charges<b>"] = np.zeros(len(frame))
    ds = cpdjax.Structures.from_atoms(frames)
    title, head, rows = cells(ds._repr_html_())
    assert title == f"Structures {ds.name}: 2 molecules, 8 atoms of H, C, O, not periodic"
    assert head == ["target", "unit", "components", "of each"]
    assert rows[0] == ["gap", "unknown", "1", "molecule"]
    assert rows[1] == ["charges&lt;b&gt;", "unknown", "1", "atom"]
    crystal = Atoms("Cu", cell=[3, 3, 3], pbc=True)
    assert ", periodic" in cpdjax.Structures.from_atoms([crystal])._repr_html_()


def test_features_tell_layers_and_pooling():
    layer = IrrepsArray("2x0e + 1x1o", RNG.normal(size=(7, 5)))
    mine = cpdjax.Features({"first": layer}, model="<toy>", pool="mean", structures_hash="")
    title, _, rows = cells(mine._repr_html_())
    assert title == "Features of <toy>: 7 molecules, mean over atoms"
    assert rows == [["first", "2x0e+1x1o", "5"]]


def test_models_tell_layers_elements_cutoff_and_licence():
    model = cpdjax.models.load("painn-qm9-gap")
    title, _, rows = cells(model._repr_html_())
    assert title == (
        "Encoder painn-qm9-gap: cutoff 5 Å, elements H C N O F, with periodic cells, "
        "licence Apache-2.0"
    )
    assert rows == [[layer, str(ir), str(ir.dim)] for layer, ir in model.irreps.items()]
    title, _, _ = cells(cpdjax.models.load("coulomb-spectrum")._repr_html_())
    assert "no neighbour list, any element" in title
    title, _, _ = cells(cpdjax.models.load("ani-2x-aev")._repr_html_())
    assert "elements H C N O F S Cl" in title
