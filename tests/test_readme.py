"""The README's Python example prints what the README says it prints."""

import contextlib
import io
import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_example_prints_its_output():
    code, output = re.search(r"```python\n(.*?)```\n+```text\n(.*?)```", README, re.S).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue() == output


def test_two_commands():
    block = re.search(r"<!-- two commands -->(.*?)<!-- end -->", README, re.S).group(1)
    assert len(re.findall(r"^pip ", block, re.M)) == 2
