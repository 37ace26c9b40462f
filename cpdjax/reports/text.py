r"""Numbers, notes and names as tables, pages, figures and files print them.

Names of models, layers and targets are data. For every medium one function here says what becomes
of a character that the medium would obey: markup, line breaks, terminal escapes, formulas. CSV
files have theirs in `cpdjax.characters`.
"""

from __future__ import annotations

import html
import math
import re

from rich.text import Text

from cpdjax.characters import printable, shortened

#: Characters of a name, and of a sentence, that figures and tables on a terminal show. Files hold
#: all of them.
MOST_CHARACTERS, MOST_OF_A_SENTENCE = 80, 1000

#: The verdicts that are coloured, by what they say of a statement; others are left open.
VERDICTS = {"pass": "good", "holds": "good", "FAIL": "bad", "does not hold": "bad"}

# What Markdown would obey: its signs, where an underscore between letters is none; and at the start
# of a paragraph what makes a heading, a list or a line.
_SIGNS = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
_START = re.compile(r"^(\d{0,9})([.)]|[-+#]+)(?= |$)")


def for_terminal(text: object, style: str = "", most: int = MOST_CHARACTERS) -> Text:
    """Return a name for rich, which is neither markup nor an emoji's code.

    Sentences with names in them need another `most`, the largest number of characters.

    >>> for_terminal("[red]:x:")
    <text '[red]:x:' [] ''>
    """
    return Text(shortened(printable(text), most), style)


def for_figure(text: object, most: int = MOST_CHARACTERS) -> str:
    r"""Return a text for Matplotlib, which is no formula, and no label that a legend leaves out.

    >>> print(for_figure("_E$gap$"))
     _E\$gap\$
    """
    shown = shortened(printable(text), most).replace("$", r"\$")
    return f" {shown}" if shown[:1] in ("", "_") else shown


def for_markdown(text: object) -> str:
    r"""Return a text for Markdown, with its signs and those of HTML escaped.

    >>> print(for_markdown("<b> a|b `$x$` R²_geom _x_"))
    &lt;b&gt; a\|b \`\$x\$\` R²_geom \_x\_
    """
    plain = html.escape(printable(text).strip(), quote=False)
    return _START.sub(r"\1\\\2", _SIGNS.sub(r"\\\g<0>", plain))


def for_html(text: object) -> str:
    """Return a text for HTML.

    >>> for_html('<a href="x">')
    '&lt;a href=&quot;x&quot;&gt;'
    """
    return html.escape(printable(text))


def score_text(value: float, digits: int = 2) -> str:
    """Return a score with its digits; far from zero its magnitude alone.

    >>> score_text(0.5), score_text(-0.001), score_text(-12345.0), score_text(math.nan)
    ('0.50', '0.00', '-1e+04', 'undefined')
    """
    if not math.isfinite(value):
        return "undefined"
    # Adding zero makes −0.00 of rounding 0.00.
    return f"{round(value, digits) + 0.0:.{digits}f}" if abs(value) < 10 else f"{value:.0e}"


def bounded_text(value: float) -> str:
    """Return a score with two digits; below −1, where a probe has failed, that it is.

    >>> bounded_text(0.5), bounded_text(-12345.0), bounded_text(math.nan)
    ('0.50', '<-1', 'undefined')
    """
    if not math.isfinite(value):
        return "undefined"
    return f"{round(value, 2) + 0.0:.2f}" if value >= -1 else "<-1"  # and no -0.00


def p_text(value: float) -> str:
    """Return a p-value with two significant digits.

    >>> p_text(0.01234)
    '0.012'
    """
    return f"{value:.2g}"


def penalty_text(alpha: float) -> str:
    """Return how a Ridge penalty was chosen; results have NaN for one that each fold chose.

    >>> penalty_text(1.0), penalty_text(math.nan)
    ('α = 1', 'α by leave-one-out')
    """
    return "α by leave-one-out" if math.isnan(alpha) else f"α = {alpha:g}"


def left_out_text(**left_out: int) -> str:
    """Return a note about what the results hold and a table or figure does not show.

    >>> left_out_text(channels=0, targets=3)
    '3 further targets in the results'
    """
    parts = [f"{count} further {what}" for what, count in left_out.items() if count]
    return f"{', '.join(parts)} in the results" if parts else ""
