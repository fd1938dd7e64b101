"""Where policies go in the episodes of a trial: paths in the plane, or from cell to cell of a grid."""

from collections.abc import Callable, Sequence

import numpy as np

from mutatis.studies._galleries import TrialGallery
from mutatis.studies._numbers import written
from mutatis.studies.page._charts import Style
from mutatis.studies.page._markup import Markup, element, raw, section
from mutatis.studies.page._tabs import tabs
from mutatis.studies.trials._view import TrialView

UNIT = 100
"""Of a drawing, to one of the plane; coordinates are whole numbers then."""
CELL = 24
"""Of a drawing, to a cell of a grid."""

At = Callable[[np.ndarray], np.ndarray]
"""Points, (..., 2), to where they stand in a drawing."""


def trial_pictures(view: TrialView, name: str) -> Markup | None:
    """One tab per method (no script needed), one drawing a trial.

    `name` sets the ids of this section apart from those of other studies on the page.
    """
    galleries = view.results.trials
    if not galleries:
        return None
    panes = [(gallery.method, element("div", _panel(view, gallery))) for gallery in galleries]
    seeds = ", ".join(map(str, sorted({gallery.seed for gallery in galleries})))
    shown = [f"{view.episode} {place + 1}" for place in galleries[0].episodes]
    note = (
        f"Seed {seeds}; one drawing for each of the first test trials. The paths go from pale to full: "
        f"{', '.join(shown)}. A dot is a step; the goal is marked, though never shown to the policy."
    )
    return section("Where they go", tabs(f"{name}-trial", panes, 0), note=note)


def believed_pictures(view: TrialView, name: str) -> Markup | None:
    """Of methods with a belief where they take the goal to be, one tab per method, one drawing a trial."""
    galleries = [gallery for gallery in view.results.trials if gallery.believed is not None]
    if not galleries:
        return None
    panes = [
        (gallery.method, element("div", element("div", _believed(view, gallery), class_="trips")))
        for gallery in galleries
    ]
    shown = [f"{view.episode} {place + 1}" for place in galleries[0].episodes]
    note = (
        "Draws from the belief in the same trials, from pale to full: before "
        f"{', '.join(shown)}. PEARL: where the actor would end the {view.episode} if the draw were true. VariBAD: "
        "where most reward is expected."
    )
    return section("What they believe of the goal", tabs(f"{name}-belief", panes, 0), note=note)


def _believed(view: TrialView, gallery: TrialGallery) -> list[Markup]:
    assert gallery.believed is not None
    style, number = view.styles.get(gallery.method, Style(0)), len(gallery.episodes)
    figures = []
    for place, draws in enumerate(gallery.believed):

        def dots(at: At, draws: np.ndarray = draws) -> list[Markup]:
            each = ["".join(f"M{x:.1f} {y:.1f}h0" for x, y in at(some).tolist()) for some in draws]
            return [
                element("path", d=path, class_="dots", opacity=shade(rank, number)) for rank, path in enumerate(each)
            ]

        said = f"{gallery.method}, trial {place + 1}: {gallery.believed.shape[2]} draws before each {view.episode}"
        figures.append(element("figure", _plane(gallery, place, said, dots), class_=f"trip {style.colour}"))
    return figures


def _panel(view: TrialView, gallery: TrialGallery) -> Markup:
    style = view.styles.get(gallery.method, Style(0))
    draw = _ways if gallery.links is None else _grid
    figures = []
    for place in range(len(gallery.paths)):
        said = ", ".join(
            f"{view.episode} {episode + 1}: {written(float(value))[0]}"
            for episode, value in zip(gallery.episodes, gallery.returns[place], strict=True)
        )
        caption = element("figcaption", _returns(gallery, place))
        drawing = draw(gallery, place, f"{gallery.method}, trial {place + 1}; {said}")
        figures.append(element("figure", drawing, caption, class_=f"trip {style.colour}"))
    return element("div", figures, class_="trips")


def _returns(gallery: TrialGallery, place: int) -> list[Markup]:
    """Under a drawing: what each of its episodes earned, with the shade of its path."""
    number = len(gallery.episodes)
    return [
        element(
            "span", element("i", style=f"opacity:{shade(rank, number):g}"), written(float(value))[0].replace("-", "−")
        )
        for rank, value in enumerate(gallery.returns[place])
    ]


def shade(rank: int, number: int) -> float:
    """Of the path of an episode, the later the fuller."""
    return 1.0 if number == 1 else round(0.28 + 0.72 * rank / (number - 1), 2)


def _ways(gallery: TrialGallery, place: int, said: str) -> Markup:
    """In the plane."""
    paths = gallery.paths[place]
    return _plane(gallery, place, said, lambda at: _paths([at(path) for path in paths], start=gallery.radius > 0))


def _plane(gallery: TrialGallery, place: int, said: str, drawn: Callable[[At], list[Markup]]) -> Markup:
    """The ground, the goal and what is drawn between them; `drawn` takes coordinates of the plane to the drawing's."""
    low, high = plane_extent(gallery)
    at = lambda points: UNIT * (np.asarray(points) * (1, -1) - (low[0], -high[1]))
    width, height = (UNIT * (high - low)).round().astype(int).tolist()
    (x, y), parts = at(gallery.goals[place]).round(1).tolist(), []
    if gallery.radius:
        (left, level), (right, _) = at([[-1, 0], [1, 0]]).round(1).tolist()
        parts.append(element("path", d=f"M{left} {level}A{UNIT} {UNIT} 0 0 1 {right} {level}", class_="ground"))
        parts.append(element("circle", cx=x, cy=y, r=round(UNIT * gallery.radius, 1), class_="pays"))
    else:
        (left, top), (right, bottom) = at([[-1, 1], [1, -1]]).round(1).tolist()
        sides = {"width": round(right - left, 1), "height": round(bottom - top, 1)}
        parts.append(element("rect", x=left, y=top, **sides, class_="ground"))
    parts += drawn(at)
    parts.append(element("path", d=f"M{x - 5} {y}h10M{x} {y - 5}v10", class_="goal"))
    return _drawing(width, height, parts, said)


def plane_extent(gallery: TrialGallery) -> tuple[np.ndarray, np.ndarray]:
    """The lower left and the upper right corner that all drawings of a method share: the ground, and all paths."""
    ground = np.array([[-1.0, -0.1 if gallery.radius else -1.0], [1.0, 1.0]])
    shown = (gallery.paths, gallery.goals, *(() if gallery.believed is None else (gallery.believed,)))
    everything = np.concatenate([ground, *(points.reshape(-1, 2) for points in shown)])
    margin = 0.06 + gallery.radius
    return np.maximum(everything.min(axis=0), -1.6) - margin, np.minimum(everything.max(axis=0), 1.6) + margin


def _grid(gallery: TrialGallery, place: int, said: str) -> Markup:
    links = gallery.links
    assert links is not None
    side = int(max(gallery.paths.max(), links.max(), gallery.goals.max())) + 1
    at = lambda cells: CELL * (np.asarray(cells) * (1, -1) + (0.5, side - 0.5))
    size = CELL * side
    parts = [
        element("path", d="".join(f"M0 {k * CELL}h{size}M{k * CELL} 0v{size}" for k in range(side + 1)), class_="lines")
    ]
    for near, far in at(links[place]):
        parts.append(element("path", d=_bow(near, far), class_="link"))
    shift = np.linspace(-0.16, 0.16, len(gallery.episodes)) if len(gallery.episodes) > 1 else [0.0]
    paths = [at(path + offset) for path, offset in zip(gallery.paths[place], shift, strict=True)]
    parts += _paths(paths, start=True, jumps=1.5 * CELL)
    goals = np.unique(at(np.broadcast_to(gallery.goals[place], (len(paths), 2))), axis=0)
    parts += [element("path", d=f"M{x - 6} {y}h12M{x} {y - 6}v12", class_="goal") for x, y in goals.round(1).tolist()]
    return _drawing(size, size, parts, said)


def _bow(near: np.ndarray, far: np.ndarray) -> str:
    """A curve between two cells, bent a little so that several can be told apart."""
    across = np.array([far[1] - near[1], near[0] - far[0]]) * 0.12
    (a, b), (c, d), (e, f) = (
        near.round(1).tolist(),
        ((near + far) / 2 + across).round(1).tolist(),
        far.round(1).tolist(),
    )
    return f"M{a} {b}Q{c} {d} {e} {f}"


def _paths(paths: Sequence[np.ndarray], *, start: bool, jumps: float = np.inf) -> list[Markup]:
    """Lines with a dot at each step, and a ring where they begin; a step longer than `jumps` is a ride, and dashed."""
    parts = []
    for rank, path in enumerate(paths):
        steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
        walked = "".join(
            f"{'L' if k and steps[k - 1] <= jumps else 'M'}{x:.1f} {y:.1f}" for k, (x, y) in enumerate(path.tolist())
        )
        ridden = "".join(
            "M{:.1f} {:.1f}L{:.1f} {:.1f}".format(*path[k], *path[k + 1]) for k in np.flatnonzero(steps > jumps)
        )
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in path.tolist())
        lines = [element("path", d=walked, class_="way"), element("path", d=dots, class_="dots")]
        lines += [element("path", d=ridden, class_="way ride")] if ridden else []
        x, y = path[0].round(1).tolist()
        ring = element("circle", cx=x, cy=y, r=3.6, class_="begin") if not start or rank == 0 else None
        parts.append(element("g", lines, ring, opacity=shade(rank, len(paths))))
    return parts


def _drawing(width: int, height: int, parts: Sequence[Markup], said: str) -> Markup:
    title = element("title", said)
    return element("svg", title, parts, viewBox=raw(f"0 0 {width} {height}"), role="img", aria_label=said)
