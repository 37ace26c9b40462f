"""Sphinx: the pages and notebooks of this folder, and the docstrings of the public names.

pip install ".[docs]" && sphinx-build -W --keep-going -b html notebooks build/documentation
"""

import inspect
import re
from importlib import metadata

project = "cpdjax"
author = "The authors of cpdjax"
project_copyright = author
release = version = metadata.version("cpdjax")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["build", "**.ipynb_checkpoints"]
html_theme = "furo"
html_title = f"cpdjax {release}"
html_show_sourcelink = False
html_show_copyright = False

# Notebooks hold their outputs: a build computes nothing and asks nothing of the network.
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
smartquotes = False

autodoc_member_order = "bysource"
default_role = "py:obj"
maximum_signature_line_length = 72
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_param = False  # "X, C, Y: as in `cpd`" stays one entry
napoleon_use_rtype = False


def written_signature(app, what, name, obj, options, signature, returned):
    """Signatures as the source has them: evaluated, jaxtyping's shapes are hard to read."""
    if what not in ("function", "method", "class") or signature is None:
        return None
    if getattr(obj, "_is_protocol", False):
        return None, None
    try:
        found = inspect.signature(obj)
    except (TypeError, ValueError):
        return None
    shown, keyword_only = [], False
    for p in found.parameters.values():
        if p.name in ("self", "cls") and what == "method":
            continue
        if p.kind is p.KEYWORD_ONLY and not keyword_only:
            shown.append("*")
        keyword_only |= p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        annotation = "" if p.annotation is p.empty else f": {_text(p.annotation)}"
        default = "" if p.default is p.empty else f" = {_default(p.default)}"
        shown.append(f"{stars}{p.name}{annotation}{default}")
    result = found.return_annotation
    without = what == "class" or result is found.empty
    return f"({', '.join(shown)})", "" if without else _text(result)


def _text(annotation):
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(value):
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    text = repr(value)
    return "..." if text.startswith("<") else text


_attributes = {}  # name: lines of its docstring


def plain_docstring(app, what, name, obj, options, lines):
    """Docstrings are plain text with code in backticks, and formulas stand as they are.

    An indented paragraph under one that ends with a colon becomes reStructuredText's literal block,
    lines such as `"name": meaning` under such a line become a list, and asterisks and bars, which
    are multiplication and norms here, mark nothing up.
    """
    made, literal, listed = [], None, None
    for i, line in enumerate(lines):
        indent = _indent(line)
        if line and literal is not None and indent <= literal:
            literal = None
        if line and listed is not None and indent < listed:
            made, listed = [*made, ""], None
        if literal is not None or line.lstrip().startswith((">>>", "...")):
            made.append(line)
            continue
        before = lines[i - 1] if i else ""
        if re.match(r'\s*"[\w-]+": ', line):
            if listed is None and before.endswith(":") and _indent(before) < indent:
                made, listed = [*made, ""], indent
            if listed == indent:
                line = f"{' ' * indent}- {line.lstrip()}"
        elif listed is not None and line:
            line = f"{' ' * (listed + 2)}{line.lstrip()}"
        following = next((later for later in lines[i + 1 :] if later), "")
        below = lines[i + 1 : i + 2] == [""] and _indent(following) > indent
        if line.endswith(":") and below and not following.lstrip().startswith(">>>"):
            line, literal = line + ":", indent
        made.append(line if re.match(r"\s*\*{1,2}\w+:", line) else _escaped(line))
    lines[:] = made
    if what in ("attribute", "data", "property"):
        _attributes[name] = list(made)


def attribute_as_written(app, what, name, obj, options, lines):
    """Undo napoleon, which takes what precedes a colon for the attribute's type."""
    lines[:] = _attributes.pop(name, lines)


def _escaped(line):
    parts = line.split("`")
    parts[::2] = [re.sub(r"([*|])", r"\\\1", part) for part in parts[::2]]
    # What is no name, such as a call, is code and no reference.
    parts[1::2] = [p if re.fullmatch(r"[\w.]+", p) else f"`{p}`" for p in parts[1::2]]
    return "`".join(parts)


def _indent(line):
    return len(line) - len(line.lstrip())


def setup(app):
    """Docstrings are mended before napoleon reads them, attributes' after it."""
    app.connect("autodoc-process-signature", written_signature)
    app.connect("autodoc-process-docstring", plain_docstring, priority=400)
    app.connect("autodoc-process-docstring", attribute_as_written, priority=600)
    return {"parallel_read_safe": True}
