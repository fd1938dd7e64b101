"""Lets autodoc read docstrings written in Markdown (code, lists, displayed maths, fences), and shortens types."""

import re

import mutatis

DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
FENCE = re.compile(r"^```\w*\n(.*?)\n\s*```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
ITEM = re.compile(r"\s*- ")
PUBLIC = {name for name in dir(mutatis) if name[0].isupper() or name.startswith(("outer_", "adapt"))}


def to_rest(text: str) -> str:
    """The docstring in reStructuredText."""
    parts: list[str] = []
    end = 0
    for match in re.finditer(f"(?P<fence>{FENCE.pattern})|{DISPLAY.pattern}", text, FENCE.flags):
        parts += [_prose(text[end : match.start()]), _block(match)]
        end = match.end()
    return "".join([*parts, _prose(text[end:])])


def _block(match: re.Match) -> str:
    kind, body = (".. code-block:: python", match[2]) if match["fence"] else (".. math::", match[3])
    indented = "\n".join(f"    {line}".rstrip() for line in body.strip("\n").splitlines())
    return f"\n\n{kind}\n\n{indented}\n\n"


def _prose(text: str) -> str:
    lines: list[str] = []
    for line in text.split("\n"):
        starts_list = ITEM.match(line) and lines and lines[-1].strip() and not ITEM.match(lines[-1])
        if starts_list and not lines[-1].startswith(" "):
            lines.append("")
        lines.append(line)
    # Outside code, what reST would read as a reference or a substitution is meant literally.
    pieces = CODE.split("\n".join(lines))
    plain = [re.sub(r"\|", r"\\|", re.sub(r"(\w)_(?=\W|$)", r"\1\\_", piece)) for piece in pieces[::2]]
    code = [_code(piece) for piece in pieces[1::2]] + [""]
    return "".join(text for pair in zip(plain, code, strict=True) for text in pair)


def _code(name: str) -> str:
    called = name.removesuffix("()")
    # The backslash-space lets a plural or a bracket follow directly.
    return f":py:obj:`{name} <mutatis.{called}>`\\ " if called in PUBLIC else f"``{name}``\\ "


def _process(app, what, name, obj, options, lines: list[str]) -> None:
    del app, what, name, obj, options
    lines[:] = to_rest("\n".join(lines)).split("\n")


def shorter_types(text: str | None) -> str | None:
    """Types as they are written in the source: `Float[Array, "tasks"]`, `Key`."""
    if text is None:
        return None
    text = re.sub(r"~?jaxlib\._jax\.Array|~?jax\.Array", "Array", text)
    text = re.sub(r"~?jaxtyping\.", "", text)
    text = re.sub(r"Key\[Array, ''\]( \| UInt32\[Array, '\d'\])+", "Key", text)
    return re.sub(r"\[Array, '([^']*)'\]", r'[Array, "\1"]', text)


def _shorten(app, what, name, obj, options, signature, returns):
    del app, what, name, obj, options
    return shorter_types(signature), shorter_types(returns)


def _skip(app, what, name, obj, skip, options):
    # Written by scikit-learn, in its own markup, into every estimator.
    del app, what, obj, options
    return True if re.fullmatch(r"set_\w+_request", name) else skip


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _shorten)
    return {"parallel_read_safe": True}
