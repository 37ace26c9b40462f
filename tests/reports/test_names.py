"""Names are data: whatever a model, layer or target is called, every medium shows it as it is."""

import csv
import io
import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from helpers import png_size, results_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from rich.console import Console

import cpdjax
from cpdjax.characters import for_csv, printable, shortened, stand_in
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.files import write_csv
from cpdjax.reports import score_figures, scores, significance
from cpdjax.reports.pages.page import Section, to_html, to_markdown
from cpdjax.reports.text import MOST_CHARACTERS, for_figure, for_markdown
from cpdjax.sweeps import results

NAMES = [
    "<script>alert(1)</script>", '"><img src=x onerror=y>', "&lt;b&gt;", "a|b", "a\nb",
    "a\r\n\r\nb",
    "$x^2$", r"$\frac{$", "$", r"\$a\$", "`rm -rf`", "```", "[red]x[/red]", "[/]", "[link=x]y",
    "\\",
    "[a](javascript:b)", "![i](x)", "**b**", "_i_", "__init__", "~~s~~", "# h", "- item", "1. item",
    ":smile:", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m", "a\tb", "\u202egnp", "\u2028",
    "=1+1", "+x", "-x", "@x", "'=1", "=cmd|' /C calc'!A0", "\t=1", ",", '"', "a;b", "_hidden", "",
    " ", "..", "../x", "a/b", "%s", "{x}", "x" * 3000, "é²α分😀", "NaN", "0", "http://a.b", "a  b",
]  # fmt: skip
ANY = st.one_of(
    st.sampled_from(NAMES),
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=30),
    st.text("<>&|$`[]()*_\\#=+-@'\"\n\x1b ~!:", max_size=12),
)


def shown(*tables):
    text = io.StringIO()
    for table in tables:
        Console(file=text, width=400, force_terminal=True, color_system=None).print(table)
    return text.getvalue()


def is_safe(text):
    return all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("name", NAMES)
def test_terminals_show_names_and_obey_none(name):
    other = f"{name}2"
    table = results_table({(name, other, "0e", "gap"): 0.5, ("m", other, "0e", "gap"): 0.4})
    table = table.assign_coords(target=[name, other], unit=("target", ["eV", name]))
    table["r2_comp"] = table.composition_share.isel(model=0, layer=0, irrep=0).expand_dims(
        target=table.target
    )
    text = shown(scores.text_table(table))
    assert is_safe(text)
    wanted = shortened(printable(name), MOST_CHARACTERS).split(" / ")[0]
    assert wanted.strip() in text
    found = pd.DataFrame(
        {"target": [name], "model": other, "reference": name, "difference": 0.1, "low": 0.0,
         "high": 0.2, "p_value": 0.5, "p_adjusted": 0.5}
    )  # fmt: skip
    assert is_safe(shown(significance.differences_table(found)))


@pytest.mark.parametrize("name", NAMES)
def test_figures_draw_names_and_typeset_none(name):
    figure = Figure()
    axes = figure.subplots()
    line = axes.plot([0, 1], [0, 1], label=for_figure(name))[0]
    axes.set_title(for_figure(name))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="(?!Glyph)")
        axes.legend()
        figure.savefig(io.BytesIO())
    _, is_formula = axes.title._preprocess_math(axes.title.get_text())
    assert not is_formula
    legend = [t.get_text() for t in axes.get_legend().texts]
    assert legend == [line.get_label()]


@settings(max_examples=100, deadline=None)
@given(st.lists(ANY, min_size=2, max_size=4))
def test_pages_hold_names_and_no_markup(names):
    page = [Section("Scores", "Of names.", ("name", "score"), [(n, "0.5") for n in names])]
    tokens = (
        MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(to_markdown(page))
    )
    cells = [t for t in tokens if t.type == "inline"][4:]
    assert len(cells) == 2 * len(names)
    for cell, name in zip(cells[::2], names, strict=True):
        assert {child.type for child in cell.children} <= {"text", "text_special"}
        assert "".join(child.content for child in cell.children) == printable(name).strip()
    parser = Cells()
    parser.feed(to_html(page))
    assert parser.cells == ["name", "score", *(c for n in names for c in (printable(n), "0.5"))]
    assert parser.tags == {
        *("html", "head", "meta", "title", "style", "body", "header", "h1", "p", "main", "section"),
        *("div", "table", "thead", "tbody", "tr", "td", "th", "script"),
    }


class Cells(HTMLParser):
    """The texts in the cells of a page's tables, and all its tags."""

    def __init__(self):
        super().__init__()
        self.cells, self.tags, self.inside = [], set(), False

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.inside = tag in ("td", "th")
        if self.inside:
            self.cells.append("")

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data

    def handle_endtag(self, tag):
        self.inside = False


@settings(max_examples=100, deadline=None)
@given(ANY)
def test_a_paragraph_is_a_paragraph(text):
    parsed = MarkdownIt("commonmark").parse(for_markdown(text))
    assert [t.type for t in parsed] in ([], ["paragraph_open", "inline", "paragraph_close"])


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(ANY, min_size=1, max_size=5, unique=True))
def test_csv_holds_one_line_for_a_row_and_no_formula(tmp_path, names):
    frame = pd.DataFrame({"name": names, "score": -0.5})
    lines = write_csv(frame, tmp_path / "x.csv").read_bytes().decode("utf-8").split("\n")
    assert len(lines) == len(names) + 2
    assert all(line.isprintable() for line in lines)
    [_, *rows] = csv.reader(lines[:-1])
    assert [row[1] for row in rows] == ["-0.5"] * len(names)
    assert not [row for row in rows if row[0][:1] in tuple("=+-@\t\r")]
    for (cell, _), name in zip(rows, names, strict=True):
        assert re.sub(r"^'('*[=+\-@＝＋－＠])", r"\1", cell) == printable(name)


def test_two_names_do_not_become_one_in_csv():
    names = ["=x", "'=x", "''=x", "x", "'x"]
    assert len({for_csv(name) for name in names}) == len(names)


@given(ANY)
def test_errors_are_one_line_whatever_is_named_in_them(name):
    for error in (InputError(f"no {name}"), UnknownNameError("target", name, [name, f"{name}2"])):
        assert str(error).isprintable()


@given(st.text())
def test_stand_ins_are_ascii(text):
    assert stand_in(text).isascii()
    assert printable(text).isprintable()


@pytest.mark.slow
def test_a_sweep_of_strange_names_comes_back_whole(tmp_path):
    rng = np.random.default_rng(0)
    strange = [n for n in NAMES if n and "x" * 9 not in n][:12]
    features = {n: {f"{n}l": rng.normal(size=(30, 2))} for n in strange}
    targets = {"formula": ["CH4", "H2O"] * 15, **{n: rng.normal(size=30) for n in strange}}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        table = cpdjax.sweep(features, targets=targets, sizes=[30], repeats=1, folds=2)
        for path in score_figures.save_figures(table, tmp_path):
            assert png_size(path)[0] > 100
    for name in ("x.zarr", "x.nc"):
        back = results.load(results.save(table, tmp_path / name))
        assert back.model.values.tolist() == strange
        assert set(back.target.values) == set(strange)


@pytest.mark.parametrize("name", ["a\0", "a\0b", "\udcff"])
def test_a_name_that_no_file_holds_is_refused(name):
    table = {"formula": ["CH4", "H2O"] * 10, "gap": np.arange(20.0)}
    with pytest.raises(InputError, match=r"channel .* holds NUL or bytes that are no text"):
        cpdjax.sweep({name: np.arange(20.0)[:, None]}, targets=table, sizes=[20], repeats=1)
