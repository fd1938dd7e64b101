"""HTML and SVG elements from Python values, with every text escaped unless it is markup already."""

import html
from collections.abc import Iterable
from typing import Any

EMPTY = frozenset({"br", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML; everything else is escaped when it becomes a child or an attribute."""


def raw(text: str) -> Markup:
    """Text that is known to be safe as it stands."""
    return Markup(text)


def element(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """`<name attributes>children</name>`.

    Children may be text (escaped), markup, numbers, `None` (left out) and iterables of them. In attribute
    names a trailing underscore is dropped and the others become hyphens (`class_`, `data_value`); `None` and
    `False` leave the attribute out, `True` gives it without a value.
    """
    parts = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(key)
        elif value is not None and value is not False:
            parts.append(f'{key}="{html.escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Markup(opening if name in EMPTY else f"{opening}{join(children)}</{name}>")


def join(children: Iterable[Any]) -> Markup:
    """Children one after the other, escaped where they are not markup."""
    return Markup("".join(map(_text, children)))


def section(title: str, *children: Markup | None, note: Markup | str | None = None) -> Markup:
    """A headed part of the page, with a sentence on how to read it."""
    said = element("p", note, class_="note") if note else None
    return element("section", element("h3", title), said, children)


def _text(child: Any) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return html.escape(child)
    if isinstance(child, Iterable):
        return join(child)
    return html.escape(str(child))
