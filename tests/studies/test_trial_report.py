"""The page of a study of trials says what its rows and lines say, in numbers, words and pictures."""

import html
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from test_control_report import Balanced, charts, curve
from test_report import read_page
from test_report_browser import BROWSER, measure
from trial_runs import (
    BUDGET,
    EPISODES,
    METHODS,
    REFERENCES,
    grid_gallery,
    make_trial_run,
    plane_gallery,
)

from mutatis.studies._galleries import drawn_episodes
from mutatis.studies._markdown import markdown_table
from mutatis.studies._report import write_report
from mutatis.studies._results import read_results
from mutatis.studies.page._chart_names import apart
from mutatis.studies.page._charts import HEIGHT
from mutatis.studies.trials._curves import episode_axis
from mutatis.studies.trials._page import trial_sentences
from mutatis.studies.trials._pictures import UNIT, plane_extent, shade
from mutatis.studies.trials._view import TrialView


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("trials") / "run"
    rows = make_trial_run(directory, success=True, gallery=plane_gallery)
    return directory, rows, write_report([directory], directory.parent / "report.html")


def page_of(tmp_path, **changes):
    make_trial_run(tmp_path / "run", **changes)
    page = write_report([tmp_path / "run"], tmp_path / "r.html")
    return page.read_text(), read_page(page)[1]


def view_of(directory):
    (results,) = read_results([directory])
    return TrialView(results, {})


def values(rows, method, group, metric="return"):
    wanted = (method, group, metric)
    return np.array([row["value"] for row in rows if (row["method"], row["group"], row["metric"]) == wanted])


def table(text):
    """Method to the texts of its cells; published ones may have the name of one of ours, and come later."""
    body = text.split("summary control trials")[1].split("</table>")[0]
    found = []
    for line in body.split("<tr")[2:]:
        cells = [" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in re.findall(r"<td[^>]*>(.*?)</td>", line)]
        name = re.search(r'class="method">([^<]*)<', line)
        assert name is not None
        found.append((html.unescape(name[1]), cells))
    return found


def test_every_cell_of_the_summary_is_what_the_rows_say(run):
    _, rows, page = run
    shown = table(page.read_text())
    assert [name for name, _ in shown] == [*METHODS, *(one["name"] for one in REFERENCES), "RL2", "PEARL"]
    for name, cells in shown[: len(METHODS)]:
        episodes = [values(rows, name, f"episode {k}") for k in (1, 3, EPISODES)]
        share = 100 * (episodes[-1] - 0.5) / (13 - 0.5)
        success = 100 * values(rows, name, f"episode {EPISODES}", "success")
        for cell, column in zip(cells, [*episodes, share, success], strict=False):
            mean, half = map(float, cell.replace("%", "").split("±"))
            assert mean == pytest.approx(column.mean(), rel=5e-3)
            assert half == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(column), rel=0.05, abs=0.051)
        assert cells[5] == "3 M"
    assert shown[3][1][:4] == ["13.0", "13.0", "13.0", "100.0 %"]
    assert shown[4][1][:4] == ["2.80", "11.0", "11.0", "84.0 %"]
    # A published number is of what counts of a trial, here the last episode.
    assert shown[-2][1] == ["", "", "10.5", "80 %", "", ""]
    assert "Somebody 2020, table 1" in read_page(page)[1]


def test_the_best_and_what_ties_with_it_is_marked(run):
    _, rows, page = run
    body = page.read_text().split("summary control trials")[1].split("</table>")[0]
    bold = {
        method
        for method in METHODS
        for line in body.split("<tr")
        if f'data-m="{method}"' in line and "<strong>" in line
    }
    last = {method: values(rows, method, f"episode {EPISODES}") for method in METHODS}
    best = max(last, key=lambda method: last[method].mean())
    expected = {best}
    for method in METHODS:
        gap = last[best] - last[method]
        if method != best and gap.mean() <= stats.t.ppf(0.975, 2) * stats.sem(gap):
            expected.add(method)
    assert bold == expected and "PEARL" not in bold


def test_findings_say_how_far_a_learner_came(run):
    directory, rows, _ = run
    said = dict(zip(METHODS, trial_sentences(view_of(directory)), strict=True))
    first, last = (values(rows, "RL2", f"episode {k}").mean() for k in (1, EPISODES))
    way = 100 * (last - 0.5) / 12.5
    assert said["RL2"] == (
        f"RL2: {last:.1f} in the last episode, {way:.1f}\u00a0% of the way from “goes straight up” (0.500) to “knows "
        f"the goal” (13.0); {first:.2f} in the first episode. Success in the last episode "
        f"{100 * values(rows, 'RL2', f'episode {EPISODES}', 'success').mean():.1f}\u00a0%."
    )


def test_a_whole_trial_counts_where_a_study_says_so(tmp_path):
    references = [REFERENCES[0] | {"value": 78.0}, REFERENCES[2] | {"value": 3.0}]
    text, words = page_of(tmp_path, whole=True, references=references)
    rows = json.loads((tmp_path / "run/results.json").read_text())
    total = values(rows, "PEARL", "whole trial").mean()
    cells = dict(reversed(table(text)))["PEARL"]
    assert float(cells[3].split("±")[0]) == pytest.approx(total, rel=5e-3)
    assert f"{100 * (total - 3) / 75:.1f} %" in cells[4]
    assert "in the whole trial" in words and "Return of the whole trial" in charts(text)


def test_the_curve_of_adaptation_is_the_mean_of_each_episode(run):
    _, rows, page = run
    drawn = charts(page.read_text())
    each = np.array([[values(rows, method, f"episode {k + 1}").mean() for k in range(EPISODES)] for method in METHODS])
    axis = episode_axis(EPISODES, "episode")
    for method, expected in zip(METHODS, each, strict=True):
        points = curve(drawn["Return of each episode"], method)
        np.testing.assert_allclose(points[:, 0], [1000 * axis.at(k + 1) for k in range(EPISODES)], atol=0.06)
        # The axis goes from 0 to 15: the optimum is 13.
        np.testing.assert_allclose(points[:, 1], HEIGHT * (1 - expected / 15), atol=0.06)
    for one in REFERENCES:
        points = curve(drawn["Return of each episode"], one["name"])
        np.testing.assert_allclose(points[:, 1], HEIGHT * (1 - np.array(one["by_episode"]) / 15), atol=0.06)
    assert 'class="curve beside"' in drawn["Return of each episode"]
    success = curve(drawn["Success in each episode, %"], "RL2")
    assert success[-1, 1] == pytest.approx(HEIGHT * (1 - values(rows, "RL2", "episode 6", "success").mean()), abs=0.06)


def test_the_curve_of_learning_is_the_evaluations_with_levels_to_compare(run):
    directory, _, page = run
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    chart = charts(page.read_text())["Return of the last episode"]
    mine = [line for line in lines if line["method"] == "VariBAD"]
    steps = sorted({line["environment steps"] for line in mine})
    means = [np.mean([line["score"] for line in mine if line["environment steps"] == step]) for step in steps]
    points = curve(chart, "VariBAD")
    np.testing.assert_allclose(points[:, 0], [1000 * step / BUDGET for step in steps], atol=0.06)
    np.testing.assert_allclose(points[:, 1], HEIGHT * (1 - np.array(means) / 15), atol=0.06)
    assert curve(chart, "knows the goal")[:, 1] == pytest.approx(HEIGHT * (1 - 13 / 15), abs=0.06)


@given(st.lists(st.floats(0, 280), min_size=1, max_size=12))
def test_names_at_the_right_end_never_overlap_and_keep_their_order(heights):
    moved = apart(heights, 15, 280)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(np.array(moved)[order]) >= 15 - 0.11).all()
    assert min(moved) >= 0 and max(moved) <= 280.1
    far = np.diff(np.sort(heights))
    if (far >= 15).all():
        np.testing.assert_allclose(moved, heights, atol=0.06)


@given(st.integers(1, 3000))
def test_the_axis_of_episodes_has_few_ticks_at_whole_numbers(episodes):
    axis = episode_axis(episodes, "pull")
    assert axis.ticks[0] == (1, "1") and len(axis.ticks) <= 12
    assert all(0 <= axis.at(value) <= 1 and text == f"{value:.0f}" for value, text in axis.ticks)
    assert axis.label == "Pull of the trial"


def test_paths_are_drawn_where_they_were(run):
    _, _, page = run
    text = page.read_text()
    drawings = re.findall(r'<figure class="trip[^>]*>(.*?)</figure>', text, re.DOTALL)
    assert len(drawings) == 3 * len(METHODS)
    gallery = next(one for one in read_results([page.parent / "run"])[0].trials if one.method == "PEARL")
    low, high = plane_extent(gallery)
    drawing = next(one for one in drawings if "PEARL, trial 2" in one)
    box = re.search(r'viewBox="0 0 (\d+) (\d+)"', drawing)
    assert box is not None
    np.testing.assert_allclose([int(box[1]), int(box[2])], UNIT * (high - low), atol=0.51)
    ways = re.findall(r'<path d="M([^"]*)" class="way"', drawing)
    last = np.array([[float(x) for x in point.split()] for point in ways[-1].split("L")])
    expected = (gallery.paths[1, 1] - [low[0], 0]) * UNIT * [1, -1] + [0, UNIT * high[1]]
    np.testing.assert_allclose(last, expected, atol=0.06)
    assert re.findall(r'<g opacity="([\d.]+)"', drawing) == ["0.28", "1.0"]
    assert "episode 1: 0.0500, episode 6: 11.1" in drawing
    circle = re.search(r'cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)" class="pays"', drawing)
    assert circle is not None and float(circle[3]) == UNIT * 0.2


def test_beliefs_are_drawn_before_each_shown_episode(tmp_path):
    def gallery(method):
        arrays = plane_gallery(method)
        return arrays | {"trial_believed": np.full((*arrays["trial_paths"].shape[:2], 5, 2), 0.25)}

    text, words = page_of(
        tmp_path, gallery=lambda method: gallery(method) if method == "PEARL" else plane_gallery(method)
    )
    assert "What they believe of the goal" in words and "before episode 1" in words
    drawings = re.findall(
        r'aria-label="PEARL, trial \d: 5 draws before each episode"[^>]*>(.*?)</svg>', text, re.DOTALL
    )
    trials, episodes = plane_gallery("PEARL")["trial_paths"].shape[:2]
    assert len(drawings) == trials
    assert all(drawing.count('class="dots"') == episodes for drawing in drawings)
    assert all(drawing.count("h0") == 5 * episodes for drawing in drawings)
    assert "What they believe" not in page_of(tmp_path / "other", gallery=plane_gallery)[1]


def test_rides_on_a_grid_are_told_from_walks(tmp_path):
    text, words = page_of(tmp_path, methods={"RL2": METHODS["RL2"]}, gallery=grid_gallery, published=[])
    drawing = re.findall(r'<figure class="trip[^>]*>(.*?)</figure>', text, re.DOTALL)[0]
    assert drawing.count('class="link"') == 2 and drawing.count('class="way ride"') == 1
    assert drawing.count('class="goal"') == 1  # both episodes have the same
    assert "Where they go" in words and 'viewBox="0 0 216 216"' in drawing


def test_shades_go_from_pale_to_full():
    assert [shade(k, 3) for k in range(3)] == [0.28, 0.64, 1.0] and shade(0, 1) == 1.0
    assert drawn_episodes(21).tolist() == [0, 7, 13, 20] and drawn_episodes(2).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trial_paths": np.zeros((3, 2, 11))}, "trial_paths has shape (3, 2, 11)"),
        ({"trial_paths": np.full((3, 2, 11, 2), np.nan)}, "finite"),
        ({"trial_goals": np.zeros((2, 2))}, "trial_goals has shape (2, 2)"),
        ({"trial_returns": np.zeros(3)}, "trial_returns has shape (3,)"),
        ({"trial_believed": np.zeros((3, 9, 5, 2))}, "trial_believed has shape (3, 9, 5, 2)"),
        ({"trial_links": np.zeros((1, 2, 2, 2))}, "trial_links has shape (1, 2, 2, 2)"),
    ],
)
def test_damaged_pictures_cost_only_themselves(tmp_path, changes, said):
    gallery = lambda method: plane_gallery(method) | (changes if method == "PEARL" else {})
    text, words = page_of(tmp_path, gallery=gallery)
    assert "The pictures of PEARL, seed 0, are not shown: " in words and said in words
    assert 'aria-label="RL2, trial 1' in text and 'aria-label="PEARL, trial 1' not in text


def test_methods_still_in_training_have_their_curves(tmp_path):
    text, words = page_of(tmp_path, finished=lambda method, seed: method == "RL2")
    assert "in training" in words and "Incomplete: 6 of 9 jobs" in words
    assert "<title>PEARL</title>" in charts(text)["Return of the last episode"]
    assert "<title>PEARL</title>" not in charts(text)["Return of each episode"]


def test_a_run_that_has_just_begun_or_has_nothing_to_compare_with_has_a_page(tmp_path):
    _, words = page_of(tmp_path, finished=lambda method, seed: False)
    assert "in training" in words and "Adaptation within a trial" not in words
    text, words = page_of(tmp_path / "bare", references=[], published=[], seeds=(0,))
    assert "Of what can be gained" not in words and "One seed: no interval" in words
    assert "beside" not in text.split("<body>")[1]
    text, words = page_of(tmp_path / "one", episodes=1, references=[], published=[])
    assert "Adaptation within a trial" not in words and "Episode 1" in words


def test_runs_with_other_settings_stand_beside_each_other(tmp_path):
    few = make_trial_run(tmp_path / "few", methods={"RL2": METHODS["RL2"]}, episodes=3)
    make_trial_run(tmp_path / "many", methods={"RL2": METHODS["RL2"]})
    page = write_report([tmp_path / "few", tmp_path / "many"], tmp_path / "r.html")
    shown = dict(table(page.read_text())[:2])
    assert list(shown) == ["RL2 (episodes=3)", "RL2 (episodes=6)"]
    assert shown["RL2 (episodes=3)"][2] == "—"  # it has no sixth episode
    share = 100 * (values(few, "RL2", "episode 3").mean() - 0.5) / 12.5
    assert shown["RL2 (episodes=3)"][3].startswith(f"{share:.1f} %")


def test_the_page_is_well_formed(run):
    _, _, page = run
    parser = Balanced()
    parser.feed(page.read_text())
    assert not parser.open


def test_the_table_in_markdown_says_the_same(run):
    directory, rows, _ = run
    said = markdown_table([directory])
    last = values(rows, "RL2", f"episode {EPISODES}")
    line = next(line for line in said.splitlines() if line.startswith("| RL2 |"))
    assert f"| {last.mean():.1f} ± " in line and line.endswith("| 3 M |")
    assert "| knows the goal (exact) | 13.0 | 13.0 | 13.0 | 100.0 % |" in said
    assert said.count("---") == 7  # one table, of seven columns


@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on PATH to render the page with")
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_a_phone_and_a_desk(run, tmp_path, width):
    seen = measure(run[2], tmp_path / "browser", width)
    assert seen["client"] == width and seen["scroll"] <= width
    assert seen["outside"] == [] and seen["small"] == 0 and seen["requests"] == []
