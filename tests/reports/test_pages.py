"""Reports are HTML files that need no other file, and hold what Markdown holds."""

import base64
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from helpers import png_size, results_table
from matplotlib.figure import Figure

import cpdjax
from cpdjax.files import write_figure
from cpdjax.reports import score_figures
from cpdjax.reports.pages import imprint, page, sweep
from cpdjax.reports.pages.page import Section, to_html, to_markdown
from cpdjax.reports.scores import summary

HOSTILE = ["</script><script>alert(1)</script>", '"><img src=x onerror=y>', "a\x1b[31m\u202eb"]
VOID = {"meta", "img", "input", "link", "br"}


class Page(HTMLParser):
    """What a page holds: its tags in order, attributes, headings and the cells of its tables."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.rows, self.headings, self.facts = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif re.fullmatch("h[1-6]", tag):
            self.headings.append([int(tag[1]), ""])
        elif tag in ("dt", "dd"):
            self.facts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        inside = self.open[-1] if self.open else ""
        if inside in ("td", "th"):
            self.rows[-1][-1] += text
        elif re.fullmatch("h[1-6]", inside):
            self.headings[-1][1] += text
        elif inside in ("dt", "dd"):
            self.facts[-1] += text

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def check_page(text):
    """Check what holds for every page, and return it parsed."""
    parsed = Page(text)
    assert text.startswith("<!doctype html>")
    assert parsed.of("html") == [{"lang": "en"}]
    levels = [level for level, _ in parsed.headings]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert levels.count(1) == 1
    ids = [own["id"] for _, own in parsed.tags if "id" in own]
    assert len(ids) == len(set(ids))
    for _, own in parsed.tags:
        assert not any(name.startswith("on") for name in own)
        assert own.get("src", "data:").startswith("data:image/png;base64,") or "src" not in own
        assert own.get("href", "#").startswith("#")
    assert all(own["alt"] and own["width"] and own["height"] for own in parsed.of("img"))
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", text)
    [policy] = [own for own in parsed.of("meta") if "http-equiv" in own]
    assert policy["content"].startswith("default-src 'none'")
    return parsed


def figure_in(folder, name="one.png"):
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1])
    return write_figure(figure, folder / name)


def test_a_page_holds_its_figure(tmp_path):
    path = figure_in(tmp_path)
    section = Section("Scores", "Of one model.", figure=path.name, alt="A line.")
    parsed = check_page(to_html([section], folder=tmp_path))
    [image] = parsed.of("img")
    assert base64.b64decode(image["src"].partition(",")[2]) == path.read_bytes()
    width, height = png_size(path)
    assert (int(image["width"]), int(image["height"])) == (
        round(width * 128 / 150),
        round(height * 128 / 150),
    )
    assert image["alt"] == "A line."


def test_a_figure_that_was_not_made_is_in_neither_page(tmp_path):
    sections = [Section("A", "a", figure="one.png"), Section("B", "b", figure="two.png")]
    origin = imprint.of_run("mine", 10)
    paths = page.save(sections, [figure_in(tmp_path)], tmp_path, "report", origin)
    assert [path.name for path in paths] == ["report.md", "report.html"]
    markdown, html = (path.read_text() for path in paths)
    assert "one.png" in markdown
    assert "two.png" not in markdown
    assert len(check_page(html).of("img")) == 1


def test_contents_lead_to_every_section():
    titles = [*HOSTILE, "Last"]
    parsed = check_page(to_html([Section(title, "") for title in titles]))
    assert [own["href"] for own in parsed.of("a")] == ["#section-1", "#section-2", "#section-3"]
    assert {own["id"] for own in parsed.of("section")} == {f"section-{i}" for i in range(4)}


def test_verdicts_have_a_colour_and_keep_their_words():
    verdicts = ["holds", "does not hold", "not run", "pass", "FAIL", "reported"]
    section = Section("F", "", ("verdict", "remark"), [(v, "pass") for v in verdicts])
    text = to_html([section])
    cells = re.findall(r'<td class="(\w+)">([^<]*)</td>', text)
    kinds = ["good", "bad", "open", "good", "bad", "open"]
    assert cells == list(zip(kinds, verdicts, strict=True))


@pytest.mark.parametrize(("cells", "is_number"), [
    (["0.52 (0.49, 0.55)", "-1e+02", "undefined"], True), (["1,000", ""], True),
    ([".5", "−3"], True), (["0e", "1o"], False), (["gap", "0.1"], False), (["", "–"], False),
])  # fmt: skip
def test_columns_of_numbers_are_known(cells, is_number):
    text = to_html([Section("A", "", ("x",), [(cell,) for cell in cells])])
    assert ('<th scope="col" class="number">' in text) == is_number


def test_where_a_page_comes_from(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    origin = imprint.of_run(
        HOSTILE[0], 1234, "cpdjax check '<b>'", {"settings": HOSTILE[1]}, ["x & y"]
    )
    text = to_html([Section("A", "")], origin)
    parsed = check_page(text)
    assert "2026-01-01 00:00 UTC" in text
    assert "1,234 molecules" in text
    assert parsed.facts == ["command", "cpdjax check '<b>'", "settings", HOSTILE[1]]
    assert "x &amp; y" in text
    assert to_html([Section("A", "")], origin) == text


@pytest.fixture(scope="module")
def swept():
    """Results with hostile names, intervals and p-values."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    features = {name: {f"{name} layer": x + i} for i, name in enumerate(HOSTILE)}
    targets = {"formula": ["CH4", "H2O"] * 20, "gap": x[:, 0] + 1, HOSTILE[0]: x[:, 1] ** 2}
    settings = {"sizes": [20, 40], "repeats": 2, "folds": 2, "alphas": 1.0}
    return cpdjax.sweep(features, targets=targets, permutations=9, bootstrap=9, **settings)


@pytest.mark.filterwarnings("ignore:Glyph")
def test_the_page_of_a_sweep(swept, tmp_path):
    figures = score_figures.save_figures(swept, tmp_path)
    path = sweep.save(swept, figures, tmp_path, "cpdjax sweep --models x")
    text = path.read_text()
    parsed = check_page(text)
    assert len(parsed.of("img")) == len(figures)
    assert path.stat().st_size < 50_000 + 1.4 * sum(figure.stat().st_size for figure in figures)
    assert "alert(1)" in text
    assert len(parsed.of("script")) == 1
    tables = [row for row in parsed.rows if row[0] in ("model", "R²_comp", HOSTILE[0])]
    assert tables[0][:4] == ["model", "layer", "irrep", "features"]
    assert tables[1][0] == "R²_comp"
    median = summary(swept).isel(size=-1)["median"].isel(channel=0).values
    assert [float(cell.split()[0]) for cell in tables[2][4:]] == pytest.approx(median, abs=0.005)
    assert [row for row in parsed.rows if row[3:4] == ["gap"]]  # intervals and p-values
    facts = dict(zip(parsed.facts[::2], parsed.facts[1::2], strict=True))
    assert facts["command"] == "cpdjax sweep --models x"
    assert "repeats 2" in facts["settings"]
    assert facts["dataset hash"] == swept.attrs["dataset_hash"]
    assert {title for _, title in parsed.headings} >= {"How to read the numbers", "How to cite"}


def test_the_page_of_a_sweep_holds_hints(swept, tmp_path):
    assert "Take care:" not in sweep.save(swept, [], tmp_path).read_text()
    failed = swept.copy(deep=True)
    failed["r2_geom"] = failed.r2_geom - 9
    text = sweep.save(failed, [], tmp_path).read_text()
    assert text.count("Take care:") == 1
    assert "R² of a fold is below −1" in text


def test_the_page_of_a_sweep_has_a_table_of_training_runs():
    names = {"painn-qm9-gap": 0.5, "painn-qm9-gap-run1": 0.6, "so3lr": 0.4}
    scores = {(name, "interaction_0", "0e", "gap"): score for name, score in names.items()}
    table = results_table(scores, targets=("gap",))
    table["r2_comp"] = table.r2_geom.isel(model=0, layer=0, irrep=0, alpha=0)
    found = {section.title: section for section in sweep.sections(table, [])}
    assert [row[:3] for row in found["Training runs"].rows] == [["gap", "painn-qm9-gap", "2"]]
    without = sweep.sections(table.isel(model=[0, 2]), [])
    assert "Training runs" not in {section.title for section in without}


def test_a_page_without_figures(swept, tmp_path):
    parsed = check_page(sweep.save(swept, [], tmp_path).read_text())
    assert not parsed.of("img")


def test_a_page_of_many_channels_is_bounded(swept, monkeypatch, tmp_path):
    monkeypatch.setattr(sweep, "MOST_ROWS", 2)
    text = sweep.save(swept, [], tmp_path).read_text()
    assert "1 further channels in the results" in text
    scores = int((swept.n_features > 0).sum()) * swept.sizes["target"]  # each has an interval
    assert f"{scores - 2} further rows in the results" in text


def test_markdown_holds_the_same_rows():
    sections = [Section("A", "text", ("x", "y"), [("1", "|"), ("2", "<b>")])]
    assert check_page(to_html(sections)).rows == [
        ["x", "y"],
        ["1", "|"],
        ["2", "<b>"],
    ]
    assert to_markdown(sections).count("\n| ") == 4
