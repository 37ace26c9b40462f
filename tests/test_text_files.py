"""Text files are UTF-8 whatever the locale: every call that opens one says so."""

import ast

import pytest
from helpers import ROOT

METHODS = {"open", "read_text", "write_text", "fdopen", "NamedTemporaryFile", "TextIOWrapper"}
#: Whose `open` opens no text, or takes no encoding.
OTHERS = {"os", "tarfile", "np", "h5py", "zarr", "zipfile", "archive", "xr", "zip"}
FILES = sorted(
    path for top in ("cpdjax", "models", "benchmarks") for path in (ROOT / top).rglob("*.py")
)


def opens_text_without_encoding(call):
    name = getattr(call.func, "attr", getattr(call.func, "id", None))
    owner = getattr(call.func, "value", None)
    owner = getattr(owner, "id", getattr(owner, "attr", None))
    if name not in METHODS or owner in OTHERS or any(k.arg == "encoding" for k in call.keywords):
        return False
    given = [*call.args, *(k.value for k in call.keywords if k.arg == "mode")]
    modes = [a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    binary = any("b" in mode and len(mode) <= 3 for mode in modes)
    return not binary and not (name == "NamedTemporaryFile" and not modes)


@pytest.mark.parametrize("top", ["cpdjax", "models", "benchmarks"])
def test_every_text_file_is_opened_as_utf8(top):
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        if path.is_relative_to(ROOT / top)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and opens_text_without_encoding(node)
    ]
    assert not wrong
