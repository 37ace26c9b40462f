"""A table of results plots itself and sums itself up, and figures show in a notebook."""

import io

import matplotlib
import matplotlib.image
import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import one_line
from IPython.core.formatters import DisplayFormatter
from nbclient import NotebookClient

import cpdjax
from cpdjax.errors import InputError
from cpdjax.sweeps import results
from cpdjax.uncertainty.comparison import estimate

RNG = np.random.default_rng(0)
N = 60
TARGETS = pd.DataFrame({"formula": ["CH4", "C2H6", "H2O", "CO2"] * 15, "gap": RNG.normal(size=N)})
FEATURES = pd.DataFrame(RNG.normal(size=(N, 4)), columns=list("abcd"))
TARGETS["mu"] = FEATURES["a"] + RNG.normal(size=N)


@pytest.fixture(scope="module")
def table():
    return cpdjax.sweep(
        {"first": FEATURES, "second": FEATURES**2},
        targets=TARGETS,
        sizes=[40, N],
        repeats=2,
        permutations=19,
        alphas=[1.0, 10.0],
    )


def test_the_summary_has_a_row_for_every_score_best_first(table):
    frame = table.cpd.summary()
    assert list(frame) == [
        *("model", "layer", "irrep", "features", "target", "unit", "r2_geom", "low", "high"),
        *("median", "r2_full", "r2_comp", "p_adjusted", "alpha"),
    ]
    assert len(frame) == 2 * 2 * 2
    assert frame.r2_geom.is_monotonic_decreasing
    for row in frame.itertuples():
        own = {"model": row.model, "target": row.target, "alpha": row.alpha}
        one = table.sel(own).isel(layer=0, irrep=0)
        scores = one.r2_geom.isel(size=-1).transpose("repeat", "fold").to_numpy()
        found = estimate(scores)
        np.testing.assert_allclose(
            [row.r2_geom, row.low, row.high, row.median, row.r2_full, row.r2_comp, row.p_adjusted],
            [
                *(found.value, found.low, found.high, np.median(scores)),
                one.r2_full.isel(size=-1).mean(),
                one.r2_comp.isel(size=-1).mean(),
                one.p_adjusted,
            ],
        )
    assert set(table.cpd.summary(target="mu").target) == {"mu"}
    assert set(table.cpd.summary(target="mu,gap").target) == {"mu", "gap"}


@pytest.mark.slow
def test_the_summary_keeps_what_is_undefined_and_leaves_out_what_is_not_there():
    flat = TARGETS.assign(gap=1.0)
    with pytest.warns(cpdjax.ConstantTargetWarning):
        found = cpdjax.sweep(
            {"first": {"a": FEATURES}, "second": {"b": FEATURES}}, targets=flat, sizes=[N]
        )
    frame = found.cpd.summary()
    assert len(frame) == 4  # neither the layer "b" of the first, nor "a" of the second
    assert frame.target.tolist() == ["mu", "mu", "gap", "gap"]
    assert frame.r2_geom.isna().tolist() == [False, False, True, True]
    assert {"alpha", "p_adjusted"}.isdisjoint(frame)


def pixels(figure):
    content, size = figure._repr_png_()
    image = matplotlib.image.imread(io.BytesIO(content))
    return image, size


def test_figures_are_images_and_change_nothing_global(table):
    before = dict(matplotlib.rcParams)
    one = table.sel(model=["first"])
    for shown in (table.cpd.plot(), one.cpd.plot(), one.isel(size=[1]).cpd.plot()):
        image, size = pixels(shown)
        assert image.std() > 0.01
        assert abs(image.shape[1] - 2 * size["width"]) <= 2
    assert dict(matplotlib.rcParams) == before


def test_the_kind_of_figure_is_what_fits(table):
    def texts(figure):
        return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))

    assert texts(table.cpd.plot()) == texts(table.cpd.plot("headline"))
    one = table.sel(model=["first"])
    assert texts(one.cpd.plot()) == texts(one.cpd.plot("curves"))
    assert texts(one.isel(size=[1]).cpd.plot()) == texts(one.cpd.plot("targets"))
    assert "mu" not in texts(table.cpd.plot(target="gap")).replace("number", "")
    assert "μ" not in texts(table.cpd.plot(target="gap"))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: t.cpd.plot("pie"), ["'pie'", "curves, headline, targets"]),
        (lambda t: t.cpd.plot(target="homo"), ["'homo'", "gap, mu"]),
        (lambda t: t.cpd.summary(target=["gap", "homo"]), ["'homo'", "gap, mu"]),
        (lambda t: t.drop_vars("r2_geom").cpd.plot(), ["no results", "cpdjax.sweep"]),
        (lambda t: xr.Dataset().cpd.summary(), ["no results", "cpdjax.sweep"]),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(table, call, words):
    with pytest.raises(InputError) as caught:
        call(table)
    one_line(caught, *words)


def test_results_that_are_loaded_have_it_too(table, tmp_path):
    kept = results.load(results.save(table, tmp_path / "r.zarr"))
    pd.testing.assert_frame_equal(kept.cpd.summary(), table.cpd.summary())


CELLS = [
    """import numpy as np, pandas as pd, cpdjax
rng = np.random.default_rng(0)
df = pd.DataFrame(rng.normal(size=(60, 4)), columns=list("abcd"))
df["formula"], df["gap"] = ["CH4", "C2H6", "H2O"] * 20, df["a"] + rng.normal(size=60)""",
    "table = cpdjax.sweep(df, targets=['gap'], sizes=[60], repeats=2)\ntable.cpd.plot()",
    "table.cpd.summary()",
    "cpdjax.cpd(df[list('abcd')], cpdjax.composition(df['formula']), df['gap'])",
    """from ase.build import molecule
frames = [molecule("H2O"), molecule("CH4")]
for frame in frames:
    frame.info["gap"] = 1.0
ds = cpdjax.Structures.from_atoms(frames)
ds""",
    "cpdjax.models.load('coulomb-spectrum')",
    "cpdjax.extract('coulomb-spectrum', ds)",
    "import matplotlib.pyplot as plt\ntable.cpd.plot('targets')",
]


def test_a_notebook_shows_the_figure_and_not_its_name(table):
    shown, facts = DisplayFormatter().format(table.cpd.plot("targets"))
    assert {"image/png", "text/plain"} == set(shown)
    assert facts["image/png"].keys() == {"width", "height"}


@pytest.mark.slow
def test_everything_shows_in_a_notebook(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    [setup, figure, *others, again] = [cell.outputs for cell in notebook.cells]
    assert not setup
    for shown in (figure, again):  # without pyplot and with it: once
        assert [output.output_type for output in shown] == ["execute_result"]
        assert "image/png" in shown[0].data
    for [output] in others:
        assert "<table" in output.data["text/html"]
        assert output.data["text/plain"].count("\n") < 20
