"""The summary of a study of trials: what each method gets, beside what could be got and what papers report."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mutatis.shift._metrics import Interval
from mutatis.studies._numbers import amount, count, written
from mutatis.studies.page._charts import Style, swatch
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.trials._view import RETURN, SUCCESS, TrialView


def shown_episodes(view: TrialView) -> tuple[int, ...]:
    """Those that have a column, counted from 0: the first, one between, the last."""
    return tuple(sorted({0, (view.episodes - 1) // 2, view.episodes - 1}))


def headings(view: TrialView) -> list[str]:
    """Of the columns of numbers, from left to right."""
    heads = [f"{view.episode.capitalize()} {place + 1}" for place in shown_episodes(view)]
    heads += ["Whole trial"] if view.trial["whole"] else []
    heads += ["Of what can be gained"] if _has_share(view) else []
    heads += ["Success"] if view.has_success else []
    return heads + (["Gain, points"] if view.has_gain else [])


def trial_table(view: TrialView) -> Markup:
    """Methods, then what is computed, then what papers report."""
    heads = [element("th", "Method", scope="col", data_sort="text")]
    heads += [element("th", head, scope="col", data_sort="number") for head in [*headings(view), "Steps"]]
    body = [_row(view, method) for method in view.everyone]
    computed = [_reference_row(view, one) for one in view.references]
    sources = [one["source"] for one in view.published]
    others = [
        _published_row(view, place, one, says_source=sources.index(one["source"]) == place)
        for place, one in enumerate(view.published)
    ]
    table = element(
        "table",
        element("thead", element("tr", heads)),
        element("tbody", body),
        element("tbody", computed, class_="reference") if computed else None,
        element("tbody", others, class_="reference") if others else None,
        class_="summary control trials" + (" three" if len(shown_episodes(view)) == 3 else ""),
    )
    return section("Summary", element("div", table, class_="scroll"), note=_note(view))


def _has_share(view: TrialView) -> bool:
    return math.isfinite(view.share(0.0))


def method_values(view: TrialView, method: str) -> list[Interval | None]:
    """What stands in the columns of a method; the share of what can be gained, success and its gain are in percent."""
    each = view.by_episode(RETURN, method)
    values: list[Interval | None] = [each[place] for place in shown_episodes(view)]
    score = view.score(method)
    values += [score] if view.trial["whole"] else []
    if _has_share(view):
        values.append(None if score is None else _mapped(score, lambda value: 100 * view.share(value)))
    if view.has_success:
        last = view.by_episode(SUCCESS, method)[-1]
        values.append(None if last is None else _mapped(last, lambda value: 100 * value))
    if view.has_gain:
        gain = view.gain(method)
        values.append(None if gain is None else _mapped(gain, lambda value: 100 * value))
    return values


def _mapped(one: Interval, change: Callable[[float], float]) -> Interval:
    return Interval(change(one.mean), change(one.low), change(one.high), one.n)


def reference_values(view: TrialView, one: Mapping[str, Any]) -> list[float]:
    """What stands in the columns of a reference; NaN where nothing does."""
    each = [float(value) for value in one["by_episode"]]
    values = [each[place] if place < len(each) else math.nan for place in shown_episodes(view)]
    values += [one["value"]] if view.trial["whole"] else []
    values += [100 * view.share(one["value"])] if _has_share(view) else []
    return values + [math.nan] * (len(headings(view)) - len(values))


def text_of(view: TrialView, place: int, mean: float, half: float = math.nan) -> tuple[str, str]:
    """A number of a column, and what stands behind its plus-minus sign."""
    if "gained" in headings(view)[place] or "Success" in headings(view)[place]:
        half_said = f"{half:.1f}" if math.isfinite(half) else ""
        return (f"{mean:.1f} %".replace("-", "−"), half_said) if math.isfinite(mean) else ("—", "")
    if "points" in headings(view)[place]:
        return f"{mean:+.1f}".replace("-", "−"), f"{half:.1f}" if math.isfinite(half) else ""
    said, half_said = written(mean, half)
    return said.replace("-", "−"), half_said


def _row(view: TrialView, method: str) -> Markup:
    said = "in training" if method not in view.methods else ""
    if view.seeds > 1 and len(view.scores(method)) == 1:
        said = "one seed: no interval"
    detail = element("span", said, class_="detail") if said else None
    name = element("span", method, class_="method")
    cells = [element("th", swatch(view.styles[method]), name, detail, scope="row")]
    score_column = len(shown_episodes(view)) if view.trial["whole"] else len(shown_episodes(view)) - 1
    for place, one in enumerate(method_values(view, method)):
        cells.append(_cell(view, place, one, best=place == score_column and method in view.best))
    steps = view.environment_steps(method)
    cells.append(element("td", amount(steps) if steps else "—", data_value=steps or "nan"))
    return element("tr", cells, class_="main", data_m=method)


def _cell(view: TrialView, place: int, one: Interval | None, *, best: bool) -> Markup:
    if one is None or not math.isfinite(one.mean):
        return element("td", "—", data_value="nan")
    mean, half = text_of(view, place, one.mean, one.half_width)
    spread = element("span", f"± {half}", class_="spread") if half else None
    value = element("strong" if best else "span", mean)
    return element("td", value, " ", spread, class_="best" if best else None, data_value=f"{one.mean:.6f}")


def _reference_row(view: TrialView, one: Mapping[str, Any]) -> Markup:
    how = element("span", "exact" if one["exact"] else "simulated", class_="detail under")
    name = element("span", one["name"], class_="method")
    cells = [element("th", swatch(view.reference_style(one["name"])), name, how, scope="row")]
    for place, value in enumerate(reference_values(view, one)):
        cells.append(element("td", text_of(view, place, value)[0] if math.isfinite(value) else None))
    return element("tr", cells, element("td"))


def _published_row(view: TrialView, place: int, one: Mapping[str, Any], *, says_source: bool) -> Markup:
    """The first of a source names it."""
    name = element("span", one["method"], class_="method")
    source = element("span", one["source"], class_="detail under") if says_source else None
    cells = [element("th", swatch(Style(-1 - place, hollow=True)), name, source, scope="row")]
    cells += [element("td", text) for text in published_texts(view, one)]
    return element("tr", cells, element("td"), title=one["protocol"])


def published_texts(view: TrialView, one: Mapping[str, Any]) -> Sequence[str]:
    """What stands in the columns of a published number: it is of what counts of a trial."""
    column = len(shown_episodes(view)) - (0 if view.trial["whole"] else 1)
    share = view.share(one["value"])
    texts = [""] * len(headings(view))
    texts[column] = f"{one['value']:g}"
    if _has_share(view):
        texts[column + 1] = f"{100 * share:.0f} %"
    return texts


def _note(view: TrialView) -> str:
    said = [f"Return of each {view.episode}, mean over {count(max(view.trials, default=0), 'test trial')}."]
    if view.trial["whole"]:
        said = [
            f"Returns, mean over {count(max(view.trials, default=0), 'test trial')}: what counts is all of a trial."
        ]
    if view.seeds > 1:
        said.append(f"Means over {count(view.seeds, 'seed')} with their 95 % interval.")
        if view.best:
            said.append(
                "Bold: the highest, and every method whose difference to it has an interval that includes zero."
            )
    else:
        said.append("One seed: no interval, and so no best is marked.")
    if _has_share(view):
        ends = [next(one["name"] for one in view.references if one[role]) for role in ("is_nothing", "is_best")]
        said.append(f"What can be gained goes from “{ends[0]}”, 0 %, to “{ends[1]}”, 100 %.")
    if view.has_gain:
        of_what = "seeds" if view.seeds > 1 else "test trials"
        said.append(f"Gain: success in the last {view.episode} less that in the first, 95 % interval over {of_what}.")
    said.append("Steps are those of one seed in all worlds together.")
    if view.published:
        said.append("At the end: what papers report.")
    return " ".join(said)
