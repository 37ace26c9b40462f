"""Pages in a real browser: no error, no request to anywhere, and what is pressed does its work."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from ase.build import molecule
from ase.collections import g2
from matplotlib.figure import Figure

import cpdjax
from cpdjax.files import write_figure
from cpdjax.reports import score_figures
from cpdjax.reports.pages import imprint, page, scatter, sweep
from cpdjax.reports.pages.page import Section
from cpdjax.studies.carriers import carriers

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH"),
]
RNG = np.random.default_rng(0)


#: Requests of pages in files; the browser's own have another key.
REQUEST = re.compile(r'"network_isolation_key":"file:.*"url":"((?!file:|data:)[^"]+)"')
OURS = "Multiple readback"  # the test looks at the pixels of a canvas


def opened(path, script, size="1000,900"):
    """Open a page, run a script in it, and return its result, the console and the requests."""
    text = path.read_text(encoding="utf-8")
    assert text.count("</body>") == 1
    run = f"<script>document.body.dataset.found = JSON.stringify((() => {{{script}}})());</script>"
    copy = path.with_name("opened.html")
    copy.write_text(text.replace("</body>", f"{run}</body>"), encoding="utf-8")
    log = path.with_name("net.json")
    command = [
        *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
        *(f"--user-data-dir={path.with_name('profile')}", f"--log-net-log={log}", "--no-first-run"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=5000"),
        *(f"--window-size={size}", "--dump-dom", copy.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=True)
    lines = done.stderr.splitlines()
    console = [line for line in lines if "CONSOLE" in line and OURS not in line]
    requests = sorted(set(REQUEST.findall(log.read_text(encoding="utf-8"))))
    left = re.search(r'data-found="([^"]*)"', done.stdout)
    return json.loads(left[1].replace("&quot;", '"')) if left else None, console, requests


def test_errors_and_requests_would_be_seen(tmp_path):
    path = tmp_path / "bad.html"
    path.write_text('<body><img src="http://127.0.0.1:9/x.png"></body>', encoding="utf-8")
    left, console, requests = opened(path, "console.error('wrong'); return 1;")
    assert left == 1
    assert any("wrong" in line for line in console)
    assert requests == ["http://127.0.0.1:9/x.png"]
    _, console, _ = opened(path, "nothing.at.all();")
    assert any("nothing is not defined" in line for line in console)


def test_a_report_opens_and_its_tables_sort(tmp_path):
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1])
    written = [write_figure(figure, tmp_path / "one.png")]
    rows = [("b", "1,000", "holds"), ("a10", "-1e+02", "FAIL"), ("a9", "undefined", "not run")]
    sections = [
        Section(title, "text", ("name", "score", "verdict"), rows, "one.png") for title in "AB"
    ]
    _, path = page.save(sections, written, tmp_path, "report", imprint.of_run("mine", 3))
    script = """
        const heads = [...document.querySelectorAll("#section-1 th")], found = [];
        for (const column of [0, 1, 1, 1]) {
          heads[column].querySelector("button").click();
          const rows = [...document.querySelectorAll("#section-1 tbody tr")];
          const names = rows.map((row) => row.cells[0].textContent);
          found.push([heads[column].getAttribute("aria-sort"), ...names]);
        }
        const image = document.querySelector("img");
        return { found, seen: image.complete && image.naturalWidth > 0 };
    """
    left, console, requests = opened(path, script)
    assert (console, requests) == ([], [])
    assert left["seen"]
    assert left["found"] == [
        ["ascending", "a9", "a10", "b"], ["descending", "b", "a10", "a9"],
        ["ascending", "a10", "b", "a9"], [None, "b", "a10", "a9"],
    ]  # fmt: skip


@pytest.mark.parametrize("size", ["1200,900", "500,900"])
def test_the_report_of_a_sweep_opens(tmp_path, size):
    x = RNG.normal(size=(40, 3))
    targets = {"formula": ["CH4", "H2O"] * 20, "gap": x[:, 0], "mu": x[:, 1]}
    settings = {"sizes": [20, 40], "repeats": 1, "alphas": 1.0, "bootstrap": 9}
    table = cpdjax.sweep({"a": x, "b": x**2}, targets=targets, **settings)
    path = sweep.save(table, score_figures.save_figures(table, tmp_path), tmp_path)
    script = "return [document.documentElement.scrollWidth, innerWidth];"
    (width, inner), console, requests = opened(path, script, size)
    assert (console, requests) == ([], [])
    assert width <= inner  # nothing leaves a phone's screen; tables scroll by themselves


CHOOSING = """
const found = [], id = (name) => document.getElementById(name);
const press = (name) => id(name).dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
const inked = (name) => {
  const { width, height } = id(name), pen = id(name).getContext("2d");
  const pixels = pen.getImageData(0, 0, width, height).data;
  return pixels.filter((part, i) => i % 4 === 3 && part > 0).length;
};
const look = (choices) => {
  for (const [name, value] of Object.entries(choices)) {
    id(name).value = value;
    id(name).dispatchEvent(new Event("change"));
  }
  const { left, top } = id("points").getBoundingClientRect(), { u, v } = spot(7);
  const at = { clientX: left + u, clientY: top + v };
  id("points").dispatchEvent(new PointerEvent("pointermove", at));
  const told = id("tip").hidden ? "" : id("tip").textContent;
  id("points").dispatchEvent(new MouseEvent("click", at));
  const before = inked("molecule");
  press("molecule");
  found.push({
    chosen: now.chosen, points: inked("points"), before, after: inked("molecule"),
    id: id("facts").querySelectorAll("dd")[1].textContent, listed: id("carry").rows.length,
    score: id("score").textContent, told,
  });
};
for (const channel of [0, 1]) {
  for (const target of [0, 1]) {
    for (const view of ["scored", "geometry"]) look({ channel, target, view });
  }
}
const beyond = id("beyond").textContent, rank = now.order.indexOf(now.chosen);
press("points");
const next = now.order.indexOf(now.chosen) - rank;
id("search").value = "h2o";
id("search").dispatchEvent(new Event("input"));
const wide = [document.documentElement.scrollWidth, innerWidth];
return { found, beyond, next, marked: now.marked.size, wide };
"""


def test_the_scatter_shows_the_molecule_that_is_chosen(tmp_path):
    frames = [molecule(name) for name in g2.names if len(molecule(name)) > 1][:40]
    for frame in frames:
        frame.info = {"gap": RNG.normal(), "mu": RNG.normal()}
    x = RNG.normal(size=(len(frames), 3))
    x[3] = 1e6  # its prediction lies beyond the axes
    found = carriers({"a": x, "b": x**2}, dataset=frames, folds=3, alpha=1.0)
    path, _ = scatter.save(found, tmp_path)
    left, console, requests = opened(path, CHOOSING)
    assert (console, requests) == ([], [])
    assert len(left["found"]) == 8
    for own in left["found"]:
        near = found.structures.ids[own["chosen"]]
        assert own["id"] == near
        assert min(own["points"], own["before"], own["after"]) > 2000
        assert own["before"] != own["after"]
        assert own["listed"] == 16
        assert own["told"].startswith(found.targets.formulas[own["chosen"]])
    assert 7 in {own["chosen"] for own in left["found"]}
    score = next(iter(found.channels.values())).r2_geom[:, 0].mean()
    shown = re.match(r"R²_geom (\S+)", left["found"][0]["score"])[1].replace("−", "-")
    assert float(shown) == pytest.approx(score, rel=0.01)
    assert re.match(r"▲ \d+ beyond the axes", left["beyond"])
    assert left["next"] == 1
    assert left["marked"] == sum("h2o" in f.lower() for f in found.targets.formulas)
    assert left["wide"][0] <= left["wide"][1]
