"""The pages say what is true: their Python runs, their links lead to files, commands exist."""

import contextlib
import io
import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer

import cpdjax
from cpdjax import checks
from cpdjax.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "notebooks").rglob("*.md"))
WITH_LINKS = [*PAGES, *ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md"]

# A block of Python, what was written just above it, and the block of text below it, if any.
BLOCK = re.compile(
    r"(?P<above><!--[^\n]*-->\n)?```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```)?",
    re.S,
)


def name(path):
    return str(path.relative_to(ROOT))


def blocks(path):
    """The blocks of a page that are run, in order, with what each must print."""
    found = BLOCK.finditer(path.read_text())
    return [(m["code"], m["output"] or "") for m in found if "not run" not in (m["above"] or "")]


def with_python():
    """The pages whose Python is run: the quick start in every run, others in slow ones."""
    for path in PAGES:
        if blocks(path):
            marks = [] if path.stem == "quickstart" else [pytest.mark.slow]
            yield pytest.param(path, id=name(path), marks=marks)


@pytest.mark.parametrize("path", with_python())
def test_python_runs_and_prints_what_it_says(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variables = {}
    for code, output in blocks(path):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, name(path), "exec"), variables)
        assert printed.getvalue() == output


@pytest.mark.parametrize("path", WITH_LINKS, ids=name)
def test_relative_links_lead_to_files(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert (path.parent / unquote(target.partition("#")[0])).exists(), target


def commands():
    """Every line of a shell block that calls cpdjax, with its place."""
    for path in WITH_LINKS:
        for block in re.findall(r"```bash\n(.*?)```", path.read_text(), re.S):
            for line in block.splitlines():
                for part in line.split("&&"):
                    words = shlex.split(part, comments=True)
                    if words[:1] == ["cpdjax"]:
                        yield pytest.param(words[1:], id=f"{path.stem}: {part.strip()}")


@pytest.mark.parametrize("words", [*commands()])
def test_commands_and_their_options_exist(words):
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    known = {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {word for word in words if word.startswith("--")} <= known
    assert not hasattr(command, "commands") or not words, f"no command {words}"


def test_every_public_name_is_in_the_reference():
    text = "\n".join(path.read_text() for path in (ROOT / "notebooks" / "api").glob("*.md"))
    listed = set(re.findall(r"^\.\. (?:auto\w+|module):: (\S+)", text, re.M))
    public = {f"cpdjax.{name}" for name in cpdjax.__all__}
    for module in (cpdjax.models, checks):
        public |= {f"{module.__name__}.{name}" for name in module.__all__}
    assert public <= listed
