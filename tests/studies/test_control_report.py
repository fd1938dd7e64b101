"""The page of a study of control says what its rows and lines say, in numbers, words and pictures."""

import base64
import html
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from control_runs import (
    ALONE,
    BUDGET,
    EPISODES,
    METHODS,
    PROTOCOL,
    PUBLISHED,
    STEPS,
    TASKS,
    make_control_run,
    small_film,
)
from hypothesis import given
from hypothesis import strategies as st
from run_directories import make_run
from scipy import stats
from test_report import read_page
from test_report_browser import BROWSER, measure

from mutatis.__main__ import main
from mutatis.studies import Job
from mutatis.studies._markdown import markdown_table
from mutatis.studies._numbers import amount
from mutatis.studies._report import write_report
from mutatis.studies._results import read_results
from mutatis.studies.control._course import by_step, conflict_share, length_ratio, measured
from mutatis.studies.control._curves import steps_axis
from mutatis.studies.control._page import control_sentences
from mutatis.studies.control._stratified import (
    highest,
    interquartile_mean,
    mean,
    stratified_difference,
    stratified_interval,
)
from mutatis.studies.control._view import IQM, MEAN, ControlView
from mutatis.studies.page._charts import HEIGHT
from mutatis.studies.page._film_tabs import SIZE, film_size
from mutatis.studies.page._matrices import SHADES, colour, signed, small_matrix

SEEDS = (0, 1, 2)
NAMES = list(TASKS)
JOINT = [method for method in METHODS if method != ALONE]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("control") / "run"
    rows = make_control_run(directory)
    return directory, rows, write_report([directory], directory.parent / "report.html")


def page_of(tmp_path, **changes):
    make_control_run(tmp_path / "run", **changes)
    page = write_report([tmp_path / "run"], tmp_path / "r.html")
    return page.read_text(), read_page(page)[1]


def view_of(directory):
    (results,) = read_results([directory])
    return ControlView(results, {})


def sentences_of(tmp_path, **changes):
    make_control_run(tmp_path / "run", **changes)
    return control_sentences(view_of(tmp_path / "run"))


def scores(rows, method, metric="success", seeds=SEEDS):
    """(seeds, tasks)."""
    values = {(r["seed"], r["group"]): r["value"] for r in rows if (r["method"], r["metric"]) == (method, metric)}
    return np.array([[values[seed, task] for task in NAMES] for seed in seeds])


def lines_of(directory, name):
    lines = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["method"] == name and "success" in line]


def table(text):
    """Method to the cells of the summary: text, and whether it is marked as best."""
    body = text.split('class="summary control"')[1].split("</table>")[0]
    found = {}
    for line in body.split("<tr")[2:]:
        cells = re.findall(r"<td([^>]*)>(.*?)</td>", line)
        texts = [" ".join(re.sub(r"<[^>]*>", " ", inside).split()) for _, inside in cells]
        name = re.search(r'class="method">([^<]*)<', line)
        assert name is not None
        found[html.unescape(name[1])] = [
            (text, "best" in attributes) for text, (attributes, _) in zip(texts, cells, strict=True)
        ]
    return found


def charts(text):
    """Title to the chart."""
    found = {}
    for chart in text.split('<div class="chart">')[1:]:
        title = re.search(r'chart-title">(?:<span>([^<]*)</span>)?', chart)
        assert title is not None
        found[title[1]] = chart
    return found


def curve(chart, method):
    """The points of a method's curve, in pixels from the top, and in thousandths of the width."""
    drawn = chart.split(f"<title>{html.escape(method)}</title>")[1].split("</svg>")[0]
    path = re.search(r'd="M([^"z]*)" class="curve', drawn)
    assert path is not None
    return np.array([[float(value) for value in point.split()] for point in path[1].split("L")])


class Balanced(HTMLParser):
    """Every element is closed where it should be."""

    EMPTY = frozenset({"br", "img", "input", "link", "meta"})

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# Means and intervals.


def drawn_by_hand(values, statistic, resamples, seed):
    """The stratified bootstrap of Agarwal et al. 2021, one task and one draw after the other."""
    random = np.random.RandomState(seed)
    found = []
    for _ in range(resamples):
        columns = [column[random.choice(len(column), len(column))] for column in values.T]
        found.append(statistic(np.stack(columns, axis=1)))
    return np.percentile(found, [2.5, 97.5])


@pytest.mark.parametrize(
    ("ours", "theirs"), [(interquartile_mean, lambda x: stats.trim_mean(x, 0.25, axis=None)), (mean, np.mean)]
)
def test_intervals_are_those_of_a_stratified_bootstrap(ours, theirs):
    values = np.random.default_rng(3).beta(0.6, 0.4, (4, 9))
    found = stratified_interval(values, ours, resamples=4000)
    assert found.mean == pytest.approx(theirs(values), abs=1e-12) and found.n == 4
    np.testing.assert_allclose([found.low, found.high], drawn_by_hand(values, theirs, 4000, 7), atol=0.012)
    gap = stratified_difference(values, values[::-1] - 0.25, ours, resamples=4000)
    assert gap.mean == pytest.approx(0.25, abs=1e-12)
    width = np.hypot(found.low - found.mean, found.high - found.mean)  # of two independent draws
    assert gap.high - gap.low == pytest.approx(2 * width, rel=0.15)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_the_interquartile_mean_is_the_trimmed_one(values):
    assert interquartile_mean(np.array([values])) == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-12)


def test_what_cannot_be_compared_has_no_interval_and_is_never_best():
    one, lost = np.ones((1, 3)), np.array([[1.0, np.nan], [1, 1]])
    assert math.isnan(stratified_interval(one, mean).low) and stratified_interval(one, mean).mean == 1
    assert math.isnan(stratified_interval(lost, mean).high)
    assert math.isnan(stratified_difference(one, np.ones((3, 3)), mean).low)
    same = np.tile([[0.2, 0.9], [0.4, 0.8]], (2, 1))
    assert highest({"a": same, "b": same, "c": same - 0.5, "d": one, "e": lost}, mean) == {"a", "b"}
    assert highest({"a": same, "d": one}, mean) == frozenset()


# The table.


def test_every_cell_of_the_summary_is_what_the_rows_say(run):
    _, rows, page = run
    shown = table(page.read_text())
    assert list(shown) == [*METHODS, "MTMH-SAC, width 400", "MT-SAC"]
    for method in METHODS:
        success, at_end = scores(rows, method), scores(rows, method, "success at end")
        expected = [stats.trim_mean(success, 0.25, axis=None), success.mean(), at_end.mean()]
        for (text, _), value, statistic in zip(shown[method], expected, (IQM, MEAN, MEAN), strict=False):
            number, low, high = map(float, re.findall(r"[\d.]+", text))
            assert number == pytest.approx(100 * value, abs=0.0501)
            by_hand = (lambda x: stats.trim_mean(x, 0.25, axis=None)) if statistic == IQM else np.mean
            within = drawn_by_hand(at_end if value == expected[2] else success, by_hand, 1000, 1)
            np.testing.assert_allclose([low, high], 100 * within, atol=1.2)
        assert shown[method][3][0] == "2 M"  # also where each task has its own tenth of them


def test_published_numbers_stand_beside_with_their_protocol(run):
    _, _, page = run
    text = page.read_text()
    shown = table(text)
    assert [cell for cell, _ in shown["MTMH-SAC, width 400"]] == ["", "74.8", "", "20 M"]  # the largest budget
    assert [cell for cell, _ in shown["MT-SAC"]] == ["", "68.3", "", "20 M"]
    words = read_page(page)[1]
    assert f"This study {PROTOCOL} MTMH-SAC, width 400 (McLean et al. 2025, read from curves) 50 drawn goals" in words
    assert "MT-SAC (Yu et al. 2021) the maximum over training, 10 seeds" in words


def test_the_best_and_what_ties_with_it_is_marked(tmp_path):
    methods = {"SAC": 0.6, "CAS": 0.6, "MGDA": -0.5}  # names of one length have the same chance in the fake run
    text, words = page_of(tmp_path, methods=methods, films=False)
    shown = table(text)
    assert [best for _, best in shown["SAC"]] == [best for _, best in shown["CAS"]] == [True, True, True, False]
    assert not any(best for _, best in shown["MGDA"])
    assert re.search(r"Highest success: (SAC|CAS), [\d.]+ % \(interquartile mean", words)
    assert re.search(r"Not distinguishable from it: (SAC|CAS)\.", words)


# In words.


def test_the_finding_says_who_is_highest_and_what_sharing_costs(run):
    directory, rows, page = run
    words = read_page(page)[1]
    leader = scores(rows, ALONE)
    assert f"Highest success: {ALONE}, {100 * stats.trim_mean(leader, 0.25, axis=None):.1f} %" in words
    assert "Every other method is lower." in words
    joint = max(JOINT, key=lambda method: scores(rows, method).mean())
    gaps = (leader - scores(rows, joint)).mean(axis=0)
    worst = NAMES[int(np.argmax(gaps))]
    assert f"joint training loses {100 * gaps.mean():.1f} points (" in words
    assert f"; it loses most in {worst}, {100 * gaps.max():.0f} points." in words
    assert f"4 methods, 3 seeds, each task judged on {EPISODES} episodes." in words
    lows = {}
    for network in ("critic", "actor"):
        cosines = np.mean([line[f"{network} conflicts"] for line in lines_of(directory, "SAC")], axis=0)
        for i, j in zip(*np.triu_indices(len(NAMES), 1), strict=True):
            lows[network, NAMES[i], NAMES[j]] = cosines[i, j]
    network, first, second = min(lows, key=lows.__getitem__)
    share = np.mean([value < 0 for (where, _, _), value in lows.items() if where == network])
    low = f"{lows[network, first, second]:.2f}".replace("-", "−")
    assert (
        f"Most conflicting pair: {first} and {second}, cosine {low} in the {network} of SAC, mean over training; "
        f"{100 * share:.0f} % of all pairs lie below zero." in words
    )


def test_gradients_at_right_angles_of_unequal_length_are_said_to_be_just_that(tmp_path):
    make_control_run(tmp_path / "run", methods={"SAC": 1.0}, films=False)
    metrics = tmp_path / "run" / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    for line in (line for line in lines if "success" in line):
        for network, cosine in (("critic", 0.03), ("actor", -0.02)):
            line[f"{network} conflicts"] = np.where(np.eye(len(NAMES), dtype=bool), 1, cosine).tolist()
        line["critic norms"] = [40.0, *[1.0] * (len(NAMES) - 1)]
        line["actor norms"] = [2.0, *[1.0] * (len(NAMES) - 1)]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    *_, pair, lengths = control_sentences(view_of(tmp_path / "run"))
    assert pair == (
        f"No pair of tasks conflicts clearly; nearest to it: {NAMES[0]} and {NAMES[1]}, cosine −0.02 in the actor of "
        "SAC, mean over training."
    )
    assert lengths == (
        "Longest gradient of a task over the shortest: 40 in the critic (SAC, medians over training); "
        "a step is mostly that of few tasks."
    )


def test_the_method_whose_gradients_are_least_unequal_is_named(tmp_path):
    make_control_run(tmp_path / "run", methods={"scaled": 1.0, "SAC": 1.0, "clipped": 1.0}, films=False)
    lengths = {"scaled": (3.04, 12.0), "SAC": (3210.0, 40.0), "clipped": (300.0, 50.0)}
    metrics = tmp_path / "run" / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    for line in (line for line in lines if "success" in line):
        critic, actor = lengths[line["method"]]
        line["critic norms"] = [critic, *[1.0] * (len(NAMES) - 1)]
        line["actor norms"] = [actor, *[1.0] * (len(NAMES) - 1)]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert control_sentences(view_of(tmp_path / "run"))[-1] == (
        "Longest gradient of a task over the shortest: 3,200 in the critic, 40 in the actor (SAC, medians over "
        "training); a step is mostly that of few tasks. Least unequal: scaled, 3.0 in the critic, 12 in the actor."
    )


def test_joint_training_may_gain_too(tmp_path):
    said = sentences_of(tmp_path, methods={"SAC": 3.0, ALONE: -0.5}, films=False, conflicts=False)
    assert len(said) == 2
    gain, low, high = map(float, re.findall(r"[\d.]+", said[1].split("joint training gains ")[1])[:3])
    assert low < gain < high


def test_what_chance_explains_is_said_to_be_no_difference(tmp_path):
    # The seeds of the joint method differ in all tasks, and those of the others lie between.
    values = {("SAC", 0): 0.2, ("SAC", 1): 0.8, (ALONE, 0): 0.4, (ALONE, 1): 0.65}
    change = lambda row: row | {"value": values[row["method"], row["seed"]]}
    methods = {"SAC": 0.6, ALONE: 0.6}
    said = sentences_of(tmp_path, methods=methods, seeds=(0, 1), change=change, films=False, conflicts=False)
    assert "SAC reaches 50.0 % and SAC, each task alone 52.5 %: joint training makes no difference" in said[1]
    assert re.search(r"\(−[\d.]+ to [\d.]+ points lost\)", said[1]) and "; it loses most in " in said[1]


def test_what_has_one_seed_is_not_said_to_be_lower_or_higher(tmp_path):
    late = lambda first: lambda method, seed, task: seed == 0 or method not in first
    said = sentences_of(tmp_path, films=False, finished=late(["SAC", "SAC, one-hot input"]))
    assert said[0].endswith("Every other method of which several seeds are known is lower.")
    said = sentences_of(tmp_path, films=False, finished=late([ALONE]))
    assert said[0].startswith(f"Highest success: {ALONE}") and said[0].endswith("nothing can be told apart.")


def test_where_nothing_is_solved_nobody_is_highest(tmp_path):
    said = sentences_of(tmp_path, change=lambda row: row | {"value": 0.0}, films=False, conflicts=False)
    assert said[0] == "No method solves a task." and "makes no difference" in said[1]


# Curves.


def test_curves_are_the_evaluations(run):
    directory, _, page = run
    drawn = charts(page.read_text())
    for method in JOINT:
        lines = lines_of(directory, method)
        steps = sorted({line["environment steps"] for line in lines})
        each = [[line["success by task"] for line in lines if line["environment steps"] == step] for step in steps]
        for title, over in (
            ("Mean over tasks", np.mean),
            ("Interquartile mean over seeds and tasks", lambda x: stats.trim_mean(x, 0.25, axis=None)),
        ):
            points = curve(drawn[title], method)
            np.testing.assert_allclose(points[:, 1], [HEIGHT * (1 - over(np.array(x))) for x in each], atol=0.06)
            axis = steps_axis(steps, [20e6])
            np.testing.assert_allclose(points[:, 0], [1000 * axis.at(step) for step in steps], atol=0.06)
    assert "Bands are 95 % intervals of a stratified bootstrap" in read_page(page)[1]


def test_bands_are_the_intervals_of_the_seeds(run):
    directory, _, page = run
    band = charts(page.read_text())["Mean over tasks"].split("<title>SAC</title>")[1].split("</svg>")[0]
    path = re.search(r'd="M([^"]*)z" class="band"', band)
    assert path is not None
    heights = [float(point.split()[1]) for point in path[1].split("L")]
    last = np.array([line["success by task"] for line in lines_of(directory, "SAC") if line["step"] == STEPS])
    low, high = drawn_by_hand(last, np.mean, 1000, 5)
    middle = len(heights) // 2  # the outline runs along the upper ends and back along the lower ones
    np.testing.assert_allclose(heights[middle - 1 : middle + 1], [HEIGHT * (1 - high), HEIGHT * (1 - low)], atol=4)


def test_tasks_trained_alone_are_put_together(run):
    directory, _, _ = run
    course = by_step(view_of(directory), ALONE)
    each = {task: lines_of(directory, f"{ALONE}: {task}") for task in NAMES}
    assert list(course)[-1] == sum(each[task][-1]["environment steps"] for task in NAMES) == BUDGET
    last = [[lines[-1]["success by task"][0] for lines in each.values() for _ in (0,)]]
    np.testing.assert_array_equal(course[BUDGET][-1:], last)
    assert course[BUDGET].shape == (3, 10) and len(course) == 10


def test_published_points_lie_at_their_steps_and_say_where_they_are_from(run):
    _, _, page = run
    drawn = charts(page.read_text())
    titles = []
    for entry in PUBLISHED:
        said = f"{100 * entry['success']:.1f} % (mean) after {amount(entry['environment_steps'])} environment steps"
        titles.append(f"{entry['method']}: {said}; {entry['source']}; {entry['protocol']}")
    axis = steps_axis([BUDGET / 10, BUDGET], [20e6])
    for entry, title in zip(PUBLISHED, titles, strict=True):
        mark = drawn["Mean over tasks"].split(f"<title>{title}</title>")[0].rsplit("<svg", 1)[1]
        place = dict(re.findall(r'([\w-]+)="([^"]*)"', mark))
        assert float(place["y"]) == pytest.approx(HEIGHT * (1 - entry["success"]), abs=0.06)
        assert float(place["x"].rstrip("%")) == pytest.approx(100 * axis.at(entry["environment_steps"]), abs=0.01)
        assert place["class"] == "marker ref hollow"
    assert "hollow" not in drawn["Interquartile mean over seeds and tasks"]  # these papers give means


def test_a_published_interquartile_mean_stands_with_its_like(tmp_path):
    entry = PUBLISHED[0] | {"statistic": IQM, "environment_steps": BUDGET}
    text, words = page_of(tmp_path, methods={"SAC": 0.6}, published=[entry], films=False)
    drawn = charts(text)
    assert "hollow" in drawn["Interquartile mean over seeds and tasks"] and "hollow" not in drawn["Mean over tasks"]
    assert [cell for cell, _ in table(text)["MTMH-SAC, width 400"]] == ["50.0", "", "", "2 M"]
    assert "log scale" not in drawn["Mean over tasks"] and "1.5 M" in words


@given(st.floats(1e3, 1e7), st.floats(1.1, 100), st.floats(1, 1e4))
def test_the_axis_of_steps_holds_ours_and_theirs(first, length, beyond):
    last, other = first * length, first * length * beyond
    axis = steps_axis([first, last], [other])
    assert axis.low <= first * 1.001 and axis.high >= other * 0.999
    assert axis.at(first) >= -1e-3 and axis.at(other) <= 1.001
    assert 2 <= len(axis.ticks) <= 9 and len({text for _, text in axis.ticks}) == len(axis.ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12, "12"), (999.6, "1 k"), (250_000, "250 k"), (1_500_000, "1.5 M"), (2e9, "2 G"), (math.nan, "—")],
)
def test_large_numbers_are_short(value, text):
    assert amount(value) == text


# Task by task.


def test_the_grid_holds_every_task_of_every_method_the_hardest_first(run):
    _, rows, page = run
    body = page.read_text().split('class="successes"')[1].split("</table>")[0]
    names = re.findall(r'<th scope="row">([^<]*)</th>', body)
    means = {task: np.mean([scores(rows, m)[:, k].mean() for m in METHODS]) for k, task in enumerate(NAMES)}
    assert names == [*sorted(NAMES, key=means.__getitem__), "mean"]
    cells = re.findall(r'<td title="([^"]*)" style="background:([^"]*)"><span>([^<]*)</span>', body)
    assert len(cells) == len(NAMES) * len(METHODS)
    for (title, background, text), (task, method) in zip(
        cells, [(task, method) for task in names[:-1] for method in METHODS], strict=True
    ):
        values = scores(rows, method)[:, NAMES.index(task)]
        seeds = ", ".join(f"{100 * value:.0f}" for value in values)
        assert title == f"{task}, {method}: {100 * values.mean():.1f} %; seeds: {seeds}"
        assert text == f"{100 * values.mean():.0f}" and background == colour(float(values.mean()), sign=False)
    assert re.findall(r"<td>([\d.]+)</td>", body) == [f"{100 * scores(rows, m).mean():.1f}" for m in METHODS]


def test_tasks_that_nobody_solves_are_named(tmp_path):
    _, words = page_of(tmp_path, methods={"SAC": -2.0}, films=False)
    assert "No method solves more than 10 % of: " in words and "peg-insert-side" in words.split("10 % of: ")[1]


# Conflicts.


def test_the_matrices_hold_the_mean_cosines(run):
    directory, _, page = run
    tables = re.findall(r'<table class="matrix".*?</table>', page.read_text(), re.DOTALL)
    assert len(tables) == 2
    for network, body in zip(("critic", "actor"), tables, strict=True):
        cosines = np.mean([line[f"{network} conflicts"] for line in lines_of(directory, "SAC")], axis=0)
        texts = [text for _, text in re.findall(r'<td title="([^"]*)"[^>]*>([^<]*)<', body)]
        assert texts == [signed("{:.2f}", value) for value in np.ravel(cosines)]


def test_six_moments_are_drawn_of_each_network(run):
    directory, _, page = run
    text = page.read_text()
    assert text.count('class="small-matrix"') == 12 + 2 * len(JOINT)
    lines = lines_of(directory, "SAC")
    for network, at in (("critic", "200 k"), ("actor", "2 M")):
        steps = {"200 k": BUDGET // 10, "2 M": BUDGET}[at]
        each = [line[f"{network} conflicts"] for line in lines if line["environment steps"] == steps]
        pairs = np.mean(each, axis=0)[np.triu_indices(len(NAMES), 1)]
        said = f"{network} after {at} environment steps: {100 * np.mean(pairs < 0):.0f} % in conflict of the pairs"
        assert f'aria-label="{said}"' in text


def test_the_matrices_of_all_methods_are_drawn_beside_each_other(run):
    directory, _, page = run
    for method in JOINT:
        lines = lines_of(directory, method)
        for network in ("critic", "actor"):
            cosines = np.mean([line[f"{network} conflicts"] for line in lines], axis=0)
            share = f"{100 * np.mean(cosines[np.triu_indices(len(NAMES), 1)] < 0):.0f} % in conflict"
            said = f"{network} of {method}, mean over training: {share} of the pairs"
            caption = (
                page.read_text().split(html.escape(f'aria-label="{said}"', quote=False))[1].split("</figcaption>")[0]
            )
            ratio = np.median([max(line[f"{network} norms"]) / min(line[f"{network} norms"]) for line in lines])
            words = re.findall(r"<span>([^<]*)</span>", caption)
            assert words[:2] == [html.escape(method), share]
            assert float(words[2].removeprefix("lengths 1 to ").replace(",", "")) == pytest.approx(ratio, rel=0.05)


def test_one_method_has_no_row_to_compare(tmp_path):
    text, _ = page_of(tmp_path, methods={"SAC": 1.0}, films=False)
    assert text.count('class="small-matrix"') == 12 and "of each method" not in text


def test_a_small_matrix_has_a_cell_for_each_value():
    values = np.array([[1.0, -0.512, np.nan], [-0.512, 1.0, 0.0], [np.nan, 0.0, 1.0]])
    drawing = small_matrix(values, "a <matrix>")
    cells = {}
    for path, fill in re.findall(r'<path d="([^"]*)" fill="([^"]*)"', drawing):
        for column, row in re.findall(r"M(\d+) (\d+)h1v1h-1z", path):
            cells[int(row), int(column)] = fill
    assert len(cells) == 9 and "a &lt;matrix&gt;" in drawing
    assert cells[0, 1] == colour(round(-0.512 * SHADES / 2) / (SHADES / 2)) == cells[1, 0]
    assert cells[0, 2] == colour(math.nan) and cells[2, 2] == colour(1.0)


def test_shares_and_ratios_are_drawn_for_every_method_that_has_them(run):
    directory, _, page = run
    drawn = charts(page.read_text())
    for network in ("Critic", "Actor"):
        for title in (f"{network}: pairs of tasks in conflict", f"{network}: largest over smallest gradient"):
            assert re.findall(r"<title>([^<]*)</title>", drawn[title]) == JOINT
    (first, *_) = lines_of(directory, "SAC")
    (ours, *_) = measured(view_of(directory), "SAC")
    pairs = np.array(first["critic conflicts"])[np.triu_indices(10, 1)]
    assert ours["critic share"] == pytest.approx(100 * np.mean(pairs < 0))
    assert ours["actor ratio"] == pytest.approx(max(first["actor norms"]) / min(first["actor norms"]))
    assert ours["step"] == first["environment steps"] and ours["temperature"] == first["temperature by task"][0]


def test_unknown_pairs_and_gradients_count_for_nothing():
    cosines = np.array([[1, -0.1, np.nan], [-0.1, 1, 0.3], [np.nan, 0.3, 1]])
    assert conflict_share(cosines) == 0.5 and math.isnan(conflict_share(np.eye(1)))
    assert length_ratio([2.0, None, 0.0, 0.5, math.inf]) == 4 and math.isnan(length_ratio(None))


def test_without_conflicts_there_is_no_section_of_them(tmp_path):
    text, words = page_of(tmp_path, conflicts=False, films=False)
    assert "Who pulls against whom" not in words and "conflict" not in words.split("Summary")[0]
    assert "small-matrix" not in text.split("</style>")[1] and "Success while training" in words


# Films.


def test_films_are_those_of_the_run_and_the_leaders_are_open(run):
    directory, rows, page = run
    text = page.read_text()
    films = re.findall(r'<img src="data:image/webp;base64,([^"]*)" alt="([^"]*)"', text)
    assert len(films) == len(METHODS) * len(NAMES)
    for data, said in films:
        assert base64.b64decode(data) == small_film(said.split(", ")[0])
    assert text.count('loading="lazy"') == len(films) and text.count('width="32" height="24"') == len(films)
    opened = re.search(r'<input type="radio" name="study0-film" id="study0-film(\d)" checked>', text)
    assert opened is not None and int(opened[1]) == list(METHODS).index(ALONE)
    panels = text.split('class="films"')[1:]
    hardest = re.findall(r'<th scope="row">([^<]*)</th>', text.split('class="successes"')[1])[: len(NAMES)]
    for method, panel in zip(METHODS, panels, strict=True):
        captions = re.findall(r"<figcaption><span>([^<]*)</span><span>([^<]*)</span></figcaption>", panel)
        values = dict(zip(NAMES, scores(rows, method)[0], strict=True))
        assert captions == [(task, f"{100 * values[task]:.0f} %") for task in hardest]
    with np.load(directory / Job(f"{ALONE}: push", 0).directory / "gallery.npz", allow_pickle=False) as arrays:
        assert arrays["film_0"].tobytes() == small_film("push")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"films_tasks": np.array(["reach"])}, "has 1 films_tasks but lacks film_0"),
        ({"films_tasks": np.array(["reach"]), "film_0": np.zeros((2, 9), np.uint8)}, "film_0 has shape (2, 9)"),
        ({"films_tasks": np.array(["reach"]), "film_0": np.zeros(9, np.int8)}, "type int8, not (bytes,) uint8"),
        ({"films_tasks": np.array(["reach"]), "film_0": np.zeros(99, np.uint8)}, "film_0 is no WebP"),
    ],
)
def test_damaged_films_cost_only_themselves(tmp_path, arrays, said):
    make_control_run(tmp_path / "run", methods={"SAC": 0.6, "SAC, PCGrad": 0.9}, seeds=(0,))
    np.savez(tmp_path / "run" / Job("SAC", 0).directory / "gallery.npz", **arrays)
    page = write_report([tmp_path / "run"], tmp_path / "r.html")
    words = read_page(page)[1]
    assert "The pictures of SAC, seed 0, are not shown:" in words and said in words
    assert page.read_text().count("<img ") == len(NAMES)


def test_where_nothing_could_be_drawn_there_is_no_section_of_films(tmp_path):
    make_control_run(tmp_path / "run", methods={"SAC": 0.6}, seeds=(0,))
    np.savez(tmp_path / "run" / Job("SAC", 0).directory / "gallery.npz", films_tasks=np.array([], dtype=str))
    words = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))[1]
    assert "What the policies do" not in words and "not shown" not in words


def test_the_size_of_a_film_is_read_from_its_head():
    assert film_size(small_film("reach", (70, 34))) == (70, 34)
    assert film_size(b"RIFF0000WEBPVP8 ") == SIZE


# Runs that are not whole.


def test_one_seed_has_the_plain_mean_and_says_so(tmp_path):
    text, words = page_of(tmp_path, seeds=(0,), films=False)
    assert "One seed: no interval, and so no best is marked." in words
    assert "One seed: the plain mean over tasks, without a band." in words
    assert "nothing can be told apart" in words and "nterquartile" not in words
    assert 'class="band"' not in text and 'class="best"' not in text
    assert next(iter(charts(text))) == "Mean over tasks"
    assert [len(cells) for cells in table(text).values()] == [3] * 6


def test_tasks_still_missing_are_said_and_not_averaged(tmp_path):
    finished = lambda method, seed, task: method != ALONE or task in ("reach", "push")
    text, words = page_of(tmp_path, finished=finished)
    assert f"{ALONE} 2 of 10 tasks so far" in words
    assert [cell for cell, _ in table(text)[ALONE]] == ["—", "—", "—", "400 k"]
    assert f"Not drawn, as not all of its tasks have been judged yet: {ALONE}." in words
    assert (
        f"Incomplete: 24 of 39 jobs have no results yet: {ALONE}: 8 tasks (seed 0), {ALONE}: 8 tasks (seed 1)" in words
    )
    assert "joint training" not in words and f"Highest success: {ALONE}" not in words
    assert text.count(f"{ALONE}: no result yet") == 8
    assert text.split('class="films"')[-1].count("<img ") == 2


def test_methods_still_in_training_keep_their_place_and_their_curves(tmp_path):
    text, words = page_of(tmp_path, finished=lambda method, seed, task: method != "SAC, PCGrad", films=False)
    assert list(table(text))[:4] == list(METHODS)
    assert "SAC, PCGrad in training" in words
    assert len(curve(charts(text)["Mean over tasks"], "SAC, PCGrad")) == 10


def test_a_run_that_has_just_begun_has_a_page(tmp_path):
    text, words = page_of(tmp_path, finished=lambda method, seed, task: False, films=False)
    assert "Success while training" in words and "Who pulls against whom" in words
    assert "No accuracies" not in words and "Task by task" not in words
    assert [cell for cell, _ in table(text)["SAC"]] == ["—"] * 3
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    assert "There are no results yet." in read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))[1]


def test_results_without_lines_have_a_page(tmp_path):
    make_control_run(tmp_path / "run", films=False)
    (tmp_path / "run" / "metrics.jsonl").unlink()
    page = write_report([tmp_path / "run"], tmp_path / "r.html")
    words = read_page(page)[1]
    assert "Highest success" in words and "Task by task" in words and "Success while training" not in words
    assert table(page.read_text())[ALONE][3] == ("2 M", False)  # the jobs say that each task has its own steps


def test_lost_values_are_shown_as_lost(tmp_path):
    lose = lambda row: row | {"value": None} if (row["method"], row["group"]) == ("SAC", "push") else row
    text, words = page_of(tmp_path, change=lose, films=False)
    assert [cell for cell, _ in table(text)["SAC"]] == ["—", "—", "—", "2 M"]
    assert 'title="push, SAC: not finite"' in text and "nan" not in words.lower()
    text, words = page_of(tmp_path, methods={"SAC": 0.6}, change=lose, films=False)
    assert text.split('class="successes"')[1].split("</table>")[0].count('<th scope="row">') == 11  # push has its line
    assert "nan" not in words.lower() and "not finite" in text


def test_more_seeds_of_the_same_study_are_put_together(tmp_path):
    first = make_control_run(tmp_path / "a", seeds=(0, 1))
    second = make_control_run(tmp_path / "b", seeds=(2,), films=False)
    page = write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "r.html")
    shown = table(page.read_text())
    for method in METHODS:
        assert shown[method][1][0].startswith(f"{100 * scores(first + second, method).mean():.1f} ")
    (merged,) = read_results([tmp_path / "a", tmp_path / "b"])
    assert by_step(ControlView(merged, {}), ALONE)[BUDGET].shape == (3, 10)
    assert [gallery.method for gallery in merged.films] == list(METHODS)


def test_other_studies_stand_beside_it(tmp_path):
    make_control_run(tmp_path / "a", films=False)
    make_run(tmp_path / "b", methods=("ERM", "ARM-BN"), gallery=False)
    words = read_page(write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "r.html"))[1]
    assert "Highest success" in words and "Highest worst-group accuracy" in words


# The page as a file.


def test_the_page_is_well_formed_and_loads_nothing(run, tmp_path):
    directory, _, page = run
    text = page.read_text()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    tags = read_page(page)[0].tags
    loading = [attributes.get(name) for _, attributes in tags for name in ("src", "href", "srcset", "poster", "action")]
    targets = [*filter(None, loading), *re.findall(r"(?:url\(|@import)[\"' ]*([^\"' )]*)", text)]
    assert len(targets) > len(METHODS) * len(NAMES)
    assert all(target.startswith(("#", "data:")) for target in targets), targets
    assert write_report([directory], tmp_path / "again.html").read_text() == text


def test_names_from_outside_are_never_markup(tmp_path):
    evil = "<img src=x onerror=alert(1)>\"'&"
    methods = {evil: 0.5, "SAC": 0.6}
    published = [{**PUBLISHED[0], "method": evil, "protocol": evil, "source": evil}]
    tasks = {evil: 0.0, "reach": -1.0}
    make_control_run(
        tmp_path / "run", methods=methods, tasks=tasks, published=published, film=lambda task: small_film("x")
    )
    parser, words = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert words.count(evil) > 10
    assert not any("onerror" in attributes for _, attributes in parser.tags)
    assert sum(tag == "script" for tag, _ in parser.tags) == 1
    assert all(attributes["src"].startswith("data:") for tag, attributes in parser.tags if tag == "img")
    assert not any(line.count(" | ") > 5 for line in markdown_table([tmp_path / "run"]).split("\n"))


@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on PATH to render the page with")
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_a_phone_and_a_desk(run, tmp_path, width):
    _, _, page = run
    seen = measure(page, tmp_path / "browser", width)
    assert seen["outside"] == [] and seen["scroll"] == seen["client"] and seen["small"] == 0
    assert seen["requests"] == []
    assert [row["method"] for row in seen["table"][:4]] == list(METHODS)
    for texts in seen["texts"]:
        for place, first in enumerate(texts):
            for second in texts[:place]:
                a, b = first["box"], second["box"]
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (first["text"], second["text"])


# As text.


def test_the_tables_in_markdown_say_the_same(run, capsys):
    directory, rows, page = run
    summary, protocol, by_task = markdown_table([directory]).split("\n\n")
    assert protocol == f"This study: {PROTOCOL}"
    cells = {line[0]: line[1:] for line in ([c.strip() for c in text.split("|")[1:-1]] for text in summary.split("\n"))}
    assert cells["method"] == ["interquartile mean", "mean", "solved at the last step", "environment steps", "protocol"]
    shown = table(page.read_text())
    for method in METHODS:
        for cell, (text, best) in zip(cells[method], shown[method][:3], strict=False):
            number, ends = text.split(" ")
            assert cell == (f"**{number}**" if best else number) + f" ({ends.replace('–', ' to ')})"
        assert cells[method][3:] == ["2 M", "this study"]
    assert cells["MT-SAC (Yu et al. 2021)"] == ["", "68.3", "", "20 M", "the maximum over training, 10 seeds"]
    grid = [[c.strip() for c in line.split("|")[1:-1]] for line in by_task.split("\n")]
    assert grid[0] == ["task", *METHODS] and len(grid) == 2 + len(NAMES)
    for task, *numbers in grid[2:]:
        assert numbers == [f"{100 * scores(rows, m)[:, NAMES.index(task)].mean():.0f}" for m in METHODS]
    assert main(["report", str(directory), "--table"]) == 0
    assert capsys.readouterr().out == f"{summary}\n\n{protocol}\n\n{by_task}\n"
