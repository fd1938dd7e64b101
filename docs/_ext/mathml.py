"""Formulas as MathML, which browsers draw by themselves: pages with maths need no network and no script."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

# What authors write and the converter knows in another form.
OTHER_FORMS = (
    (r"\\dots\b", r"\\ldots"),
    (r"\\[Bb]ig(?=[(\[|])", r"\\Bigl"),
    (r"\\[Bb]ig(?=[)\]])", r"\\Bigr"),
    (r"(\\t?frac)\s*(\w)\s*(\w)", r"\1{\2}{\3}"),
)


def to_mathml(formula: str, *, display: bool) -> str:
    """The formula as a `<math>` element.

    **Raises:** `docutils.utils.math.MathError` for a command that the converter does not know.
    """
    for pattern, form in OTHER_FORMS:
        formula = re.sub(pattern, form, formula)
    return tex2mathml(formula, as_block=display)


def _visit(translator, node) -> None:
    translator.body.append(to_mathml(node.astext(), display=False))
    raise nodes.SkipNode


def _visit_display(translator, node) -> None:
    translator.body.append(f'<div class="math">{to_mathml(node.astext(), display=True)}</div>')
    raise nodes.SkipNode


def setup(app):
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_visit, None), (_visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
