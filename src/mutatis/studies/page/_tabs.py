"""Panes of which one is shown at a time, chosen by tabs, without a script."""

from collections.abc import Iterable, Sequence

from mutatis.studies.page._markup import Markup, element


def tabs(
    name: str, panes: Sequence[tuple[str, Markup]], opened: int, *, rules: Iterable[str] = (), display: str = "block"
) -> Markup:
    """The tabs over their panes.

    - `name`: begins the ids, and sets them apart from those of other tabs on the page.
    - `panes`: the text of each tab, and what it shows.
    - `opened`: the place of the one that is shown first.
    - `rules`: further rules for the style sheet.
    - `display`: of the pane that is shown, as the style sheet calls it.
    """
    inputs, labels, shown = [], [], list(rules)
    for place, (text, _) in enumerate(panes):
        tab = f"{name}{place}"
        inputs.append(element("input", type="radio", name=name, id=tab, checked=place == opened))
        labels.append(element("label", text, for_=tab))
        shown.append(f"#{tab}:checked~.tabs [for={tab}]{{color:var(--ink);border-color:var(--ink)}}")
        shown.append(f"#{tab}:checked~.panes>:nth-child({place + 1}){{display:{display}}}")
    inside = element("div", (pane for _, pane in panes), class_="panes")
    style = element("style", Markup("".join(shown)))
    return Markup(style + element("div", inputs, element("div", labels, class_="tabs"), inside, class_="gallery"))
