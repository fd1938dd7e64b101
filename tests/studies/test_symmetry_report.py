"""The page of a study of learned symmetries says what its rows say, in numbers, words and pictures."""

import base64
import html
import io
import json
import math
import re
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from run_directories import make_run
from symmetry_runs import CANDIDATES, GIVEN, METHODS, PROBLEMS, make_symmetry_run
from test_report import LOADING, read_page
from test_report_browser import BROWSER, measure

from mutatis.__main__ import main
from mutatis.studies import Job
from mutatis.studies._markdown import markdown_table
from mutatis.studies._numbers import rough, written
from mutatis.studies._report import write_report
from mutatis.studies._results import read_results
from mutatis.studies.page._charts import HEIGHT
from mutatis.studies.symmetry._page import finding_sentences
from mutatis.studies.symmetry._view import SymmetryView
from mutatis.studies.symmetry._weight_pictures import levels, palette

T_QUANTILE = {5: 2.776445}  # Student's t, 97.5 %, n - 1 degrees of freedom (any printed table)
SEEDS = (0, 1, 2, 3, 4)
LEARNERS = ("MSR, ridge", "MSR")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "run"
    rows = make_symmetry_run(directory)
    return directory, rows, write_report([directory], directory.parent / "report.html")


def page_of(tmp_path, **changes):
    make_symmetry_run(tmp_path / "run", **changes)
    return read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))


def sentences_of(tmp_path, **changes):
    make_symmetry_run(tmp_path / "run", gallery=False, **changes)
    (results,) = read_results([tmp_path / "run"])
    return finding_sentences(SymmetryView(results, {}))


def table(page, metric):
    """Method to the cells of a table of the page: text, and whether it is marked as best."""
    body = page.read_text().split(f'data-metric="{metric}"')[1].split("</table>")[0]
    found = {}
    for line in body.split("<tr")[2:]:
        name = re.search(r'class="method">([^<]*)<', line) or re.search(r'scope="row">([^<]*)<', line)
        assert name is not None
        cells = re.findall(r"<td([^>]*)>(.*?)</td>", line)
        texts = [" ".join(re.sub(r"<[^>]*>", " ", inside).split()) for _, inside in cells]
        found[html.unescape(name[1])] = [
            (text, "best" in attributes) for text, (attributes, _) in zip(texts, cells, strict=True)
        ]
    return found


def by_seed(rows, metric, method, problem):
    return [r["value"] for r in rows if (r["metric"], r["method"], r["group"]) == (metric, method, problem)]


def test_every_risk_is_mean_and_half_interval(run):
    _, rows, page = run
    shown = table(page, "risk")
    assert list(shown)[: len(METHODS)] == list(METHODS)
    for method in METHODS:
        for problem, (text, _) in zip(PROBLEMS, shown[method], strict=True):
            values = by_seed(rows, "risk", method, problem)
            mean, half = text.split(" ± ")
            expected = T_QUANTILE[5] * statistics.stdev(values) / len(values) ** 0.5
            assert float(mean) == pytest.approx(statistics.mean(values), rel=0.006)
            assert float(half) == pytest.approx(expected, abs=0.006 * statistics.mean(values))


def test_overlaps_stand_only_where_there_is_a_symmetry_matrix(run):
    _, rows, page = run
    shown = table(page, "overlap")
    assert list(shown) == [*LEARNERS, *GIVEN]
    for method, cells in shown.items():
        for problem, (text, _) in zip(PROBLEMS, cells, strict=True):
            values = by_seed(rows, "overlap", method, problem)
            half = T_QUANTILE[5] * statistics.stdev(values) / len(values) ** 0.5
            assert text.split(" of ")[0] == f"{statistics.mean(values):.3f} ± {half:.3f}"
    # U of MSR uses 1.6 times the six directions of the second problem.
    assert [text.partition(" of ")[2] for text, _ in shown["MSR"]] == ["", "9.60 used", ""]


@pytest.mark.parametrize(("metric", "sign"), [("risk", -1), ("overlap", 1)])
def test_the_best_and_only_what_ties_with_it_is_marked(run, metric, sign):
    _, rows, page = run
    shown = table(page, metric)
    methods = [m for m in METHODS if m not in GIVEN and (metric == "risk" or m in LEARNERS)]
    for column, problem in enumerate(PROBLEMS):
        scores = {m: [sign * value for value in by_seed(rows, metric, m, problem)] for m in methods}
        best = max(scores, key=lambda m: statistics.mean(scores[m]))
        expected = set()
        for method, mine in scores.items():
            gaps = [a - b for a, b in zip(scores[best], mine, strict=True)]
            if statistics.mean(gaps) - T_QUANTILE[5] * statistics.stdev(gaps) / len(gaps) ** 0.5 <= 0:
                expected.add(method)
        assert {m for m, cells in shown.items() if cells[column][1]} == expected


def test_what_to_compare_with_stands_below_the_methods(run):
    _, _, page = run
    shown = {name: [text for text, _ in cells] for name, cells in table(page, "risk").items()}
    assert shown["answering 0"] == ["3.00", "2.00", "1.00"]
    assert shown["floor of MSR, ridge; MAML-Conv; true U"] == ["0", "0", "0"]
    assert shown["floor of MSR; MAML-FC"] == ["0.810", "0.540", "0.270"]
    text = read_page(page)[1]
    assert "after adapting to 1 example of a new task" in text and "over 5 seeds" in text
    assert "methods MSR, ridge; MSR; MAML-FC; MAML-Conv; true U" in text  # names with commas are told apart


def test_one_floor_needs_no_names(tmp_path):
    _, text = page_of(tmp_path, methods=("MSR",), gallery=False)
    assert "floor 0.810" in text and "floor of MSR" not in text


def test_the_finding_is_the_nearest_learned_symmetry(run):
    _, rows, page = run
    text = read_page(page)[1]
    for problem in PROBLEMS:
        overlap = statistics.mean(by_seed(rows, "overlap", "MSR, ridge", problem))
        excess = statistics.mean(by_seed(rows, "excess", "MSR, ridge", problem))
        said = f"{problem}: MSR, ridge finds the symmetry: overlap {overlap:.3f}, {rough(excess, 1)} above the floor."
        assert said in text
    assert "judged on 3 problems of known symmetry, 2,000 held-out tasks each." in text


def test_a_finding_does_not_say_more_than_the_seeds_do(tmp_path):
    def changed(overlaps):
        return lambda row: row | ({"value": overlaps[row["seed"]]} if row["metric"] == "overlap" else {})

    options = {"methods": ("MSR",), "problems": {"rank 1": PROBLEMS["rank 1"]}, "seeds": (0, 1, 2)}
    said = {
        name: sentences_of(tmp_path / name, change=changed(overlaps), **options)[0]
        for name, overlaps in (("two", [0.99, 0.97, 0.2]), ("part", [0.6, 0.6, 0.6]), ("none", [0.1, 0.2, 0.3]))
    }
    assert said["two"].startswith("rank 1: MSR finds the symmetry in 2 of 3 seeds: overlap 0.720, 0.04 above")
    assert said["part"].startswith("rank 1: MSR finds part of the symmetry: overlap 0.600")
    assert said["none"].startswith("rank 1: the symmetry is not found; nearest is MSR: overlap 0.200")


def test_a_finding_names_who_is_nearer_to_the_floor(tmp_path):
    swap = lambda row: row | ({"value": 2.0} if (row["metric"], row["method"]) == ("excess", "MSR, ridge") else {})
    (first, *_) = sentences_of(tmp_path, change=swap)
    assert re.search(
        r"MSR, ridge finds the symmetry: .* 2 above the floor; MSR comes nearest to its floor, 0\.04", first
    )


def test_without_overlaps_the_finding_is_the_lowest_risk(tmp_path):
    methods = ("MAML-FC", "MAML-Conv")
    _, text = page_of(tmp_path, methods=methods)
    assert re.search(r"rank 1: lowest risk: MAML-Conv, \S+e-5, at the floor\.", text)
    assert "Overlap with" not in text and "Which symmetry is it?" not in text


def test_symmetries_are_told_in_words(run):
    text = read_page(run[2])[1]
    assert "shift by one, not circular: yes, error 0.0003 (p = 0.005), in 5 of 5 seeds" in text
    assert "reflection: partly, error 0.4, 2 of 3 directions (p = 0.02), in 5 of 5 seeds" in text
    assert re.search(r"No: shift by one, circular \(error 0\.9\d?\)\.", text)
    cards = run[2].read_text().split('class="cards"')
    assert [part.count('class="card"') for part in cards[1:]] == [2, 2, 2]


def test_seeds_that_disagree_are_counted(tmp_path):
    def mixed(row):
        if row["metric"] != "discovery" or row["candidate"] != "reflection":
            return row
        changes = {0: {"verdict": "yes", "value": 0.01, "p_value": 0.01}, 1: {"verdict": "yes", "value": 0.03}}
        return row | changes.get(row["seed"], {"verdict": "no", "value": None})

    _, text = page_of(tmp_path, seeds=(0, 1, 2), change=mixed, gallery=False)
    assert "reflection: yes, error 0.02 (p ≤ 0.02), in 2 of 3 seeds" in text


def test_nothing_discovered_is_said(tmp_path):
    none = lambda row: row | ({"verdict": "no"} if row["metric"] == "discovery" else {})
    _, text = page_of(tmp_path, methods=("MSR",), change=none, gallery=False)
    assert text.count("none of the 3 candidates") == len(PROBLEMS)


def pictures_of(page):
    """The pictures that a style names, as places in the palette."""
    found = re.findall(r"\.(study0-w\d+)\{background-image:url\(data:image/png;base64,([^)]*)\)\}", page.read_text())
    return {name: np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for name, data in found}


def test_pictures_are_those_of_the_gallery_and_embedded_once(run):
    directory, _, page = run
    pictures = pictures_of(page)
    panes = page.read_text().split('class="problems"')[1:]
    assert len(panes) == len(METHODS)
    for method, pane in zip(METHODS, panes, strict=True):
        names = iter(re.findall(r'class="weights (\S*)"', pane))
        with np.load(directory / Job(method, 0).directory / "gallery.npz") as arrays:
            for place in range(len(PROBLEMS)):
                truth, learned = arrays[f"pictures_{place}"]
                for row in (truth, learned):
                    for kind, picture in enumerate(row):
                        name = next(names)
                        if np.isnan(picture).all():
                            assert name == "none"
                            continue
                        limit = np.abs(truth[kind]).max()
                        np.testing.assert_array_equal(pictures[name], levels(picture, limit, signed=kind != 2))
    # The truth is the same for all methods, and so is what methods without U learned.
    assert len(pictures) <= 12 + 12 * len(METHODS)
    assert page.stat().st_size < 1_000_000


@pytest.mark.parametrize("signed", [True, False])
def test_colours_grow_with_the_value_and_zero_is_transparent(signed):
    values = np.array([[0.0, 0.1, 0.5, 1.0, 7.0, np.nan]])
    colours = palette(signed=signed)[levels(values, 1.0, signed=signed)][0]
    assert list(colours[:, 3]) == [*sorted(colours[:5, 3]), 160]
    assert colours[0, 3] == 0 and colours[3, 3] == colours[4, 3] == 255
    assert tuple(colours[-1][:3]) == (128, 128, 128)
    if signed:
        negative = palette(signed=True)[levels(-values, 1.0, signed=True)][0]
        np.testing.assert_array_equal(negative[:5, 3], colours[:5, 3])
        assert (negative[3, :3] != colours[3, :3]).all()


def test_a_gallery_that_is_damaged_or_lost_costs_only_its_pictures(tmp_path):
    make_symmetry_run(tmp_path / "run")
    folder = lambda method: tmp_path / "run" / Job(method, 0).directory / "gallery.npz"
    folder("MSR").unlink()
    np.savez(folder("MAML-FC"), problems=np.array(["a"]), pictures_0=np.zeros((2, 3, 4, 5), np.float32))
    np.savez(folder("MAML-Conv"), problems=np.array(["a", "b"]), pictures_0=np.zeros((2, 4, 4, 5), np.float32))
    _, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert "pictures_0 has shape (2, 3, 4, 5) and type float32, not (2, 4, out, in) floats" in text
    assert "gallery.npz has 2 problems but lacks pictures_1" in text
    assert "What was learned" in text


def test_pictures_of_nothing_and_of_lost_numbers(tmp_path):
    make_symmetry_run(tmp_path / "run", methods=("MSR",), problems={"tiny": ((1, 1), 1)}, gallery=False)
    path = tmp_path / "run" / Job("MSR", 0).directory / "gallery.npz"
    path.parent.mkdir(parents=True)
    pictures = np.zeros((2, 4, 1, 300), np.float32)
    pictures[1, 0] = np.nan
    pictures[1, 1, 0, 3] = np.inf
    np.savez(path, problems=np.array(["tiny"]), pictures_0=pictures)
    page = write_report([tmp_path / "run"], tmp_path / "r.html")
    values = {int(value) for picture in pictures_of(page).values() for value in np.unique(picture)}
    assert values == {0, 127, 255}
    assert 'title="weights of one task: learned: none"' in page.read_text()


def curves(page, title):
    """Pixel heights of the curves in the charts of this title."""
    charts = [part for part in page.read_text().split('class="chart"') if f"<span>{title}</span>" in part]
    return [
        [
            [float(point.split()[1]) for point in path.split("L")]
            for path in re.findall(r'd="M([^"z]*)" class="curve', c)
        ]
        for c in charts
    ]


def test_each_problem_has_its_pair_of_charts(run):
    page = run[2]
    for problem in PROBLEMS:
        excess, overlap = curves(page, problem)
        assert len(excess) == len(METHODS) and len(overlap) == len(LEARNERS) + len(GIVEN)
    overlap = curves(page, "rank 1")[1]
    assert overlap[-1] == [0.0] * 10  # the true U, at 1 all the time
    assert "excess, log scale" in read_page(page)[1]


@pytest.mark.parametrize("value", [0.0, -1e-9, -0.5, 1e-30, None])
def test_excess_that_has_no_logarithm_is_drawn_at_the_lower_end(tmp_path, value):
    make_symmetry_run(tmp_path / "run", methods=("MSR", "MAML-FC"), gallery=False)
    path = tmp_path / "run" / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["method"] == "MSR" and "rank 1: excess" in line:
            line["rank 1: excess"] = value
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = write_report([tmp_path / "run"], tmp_path / "r.html")
    excess = curves(page, "rank 1")[0]
    assert len(excess) == (1 if value is None else 2)
    assert value is None or excess[0] == [float(HEIGHT)] * 10
    assert ("drawn on its lower end" in read_page(page)[1]) == (value is not None)


def test_excess_that_is_nowhere_positive_still_has_a_chart(tmp_path):
    make_symmetry_run(tmp_path / "run", methods=("MSR",), gallery=False)
    lines = [{"method": "MSR", "seed": 0, "step": step, "rank 1: excess": -0.1} for step in (1, 2)]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = write_report([tmp_path / "run"], tmp_path / "r.html")
    assert curves(page, "rank 1") == [[[HEIGHT / 2, HEIGHT / 2]]]
    (tmp_path / "run" / "metrics.jsonl").unlink()
    assert "While training" not in read_page(write_report([tmp_path / "run"], page))[1]


def test_names_from_outside_are_never_markup(tmp_path):
    evil = "<img src=x onerror=alert(1)>\"'&|"
    change = lambda row: row | ({"candidate": evil} if row["metric"] == "discovery" else {})
    parser, text = page_of(tmp_path, methods=("MSR", evil), problems={evil: ((3, 4), 1)}, change=change)
    assert text.count(evil) > 10
    assert not any("onerror" in attributes for _, attributes in parser.tags)
    assert sum(tag == "script" for tag, _ in parser.tags) == 1
    columns = {line.count("|") for line in markdown_table([tmp_path / "run"]).split("\n") if line}
    assert columns == {3}


def test_the_page_loads_nothing_and_is_the_same_every_time(run, tmp_path):
    first = run[2].read_text()
    assert first == write_report([run[0]], tmp_path / "again.html").read_text()
    targets = {target for target in LOADING.findall(first) if target}
    assert all(target.startswith(("#", "data:")) for target in targets), targets


def test_one_seed_and_one_method_are_enough(tmp_path):
    parser, text = page_of(tmp_path, methods=("MSR, ridge",), seeds=(3,), gallery=False)
    assert "One seed: no interval" in text and "±" not in text and "What was learned" not in text
    assert re.search(r"shift by one, not circular: yes, error 0\.000\d+ \(p = 0\.005\)", text) and "1 of 1" not in text
    assert not any(attributes.get("class") == "best" for _, attributes in parser.tags)
    assert "1 method, 1 seed, judged on 3 problems" in text


def test_lost_values_are_shown_as_lost(tmp_path):
    kinds = ("risk", "excess", "overlap")
    lost = lambda row: (
        row | ({"value": None} if (row["method"], row["seed"]) == ("MSR, ridge", 1) and row["metric"] in kinds else {})
    )
    _, text = page_of(tmp_path, change=lost)
    assert "Not finite in at least one seed, and shown as a dash: MSR, ridge." in text
    assert "rank 1: MSR finds part of the symmetry" in text  # 0.929 < FOUND
    assert "nan" not in text.lower()
    shown = table(tmp_path / "r.html", "risk")
    assert shown["MSR, ridge"] == [("—", False)] * 3 and shown["MAML-Conv"][0][1]


def test_problems_that_a_method_was_not_run_on_are_left_empty(tmp_path):
    rows = make_symmetry_run(tmp_path / "run", gallery=False)
    rows = [row for row in rows if (row["method"], row["group"]) != ("MSR", "rank 2")]
    (tmp_path / "run" / "results.json").write_text(json.dumps(rows))
    page = write_report([tmp_path / "run"], tmp_path / "r.html")
    assert [text for text, _ in table(page, "risk")["MSR"]][1] == ""
    assert [text for text, _ in table(page, "overlap")["MSR"]][1] == ""


def test_the_study_s_own_support_is_shown(tmp_path):
    rows = make_symmetry_run(tmp_path / "run", gallery=False, support=2)
    more = [row | {"support": 9, "value": 77.0} for row in rows if row["metric"] == "risk"]
    (tmp_path / "run" / "results.json").write_text(json.dumps(more + rows))
    page = write_report([tmp_path / "run"], tmp_path / "r.html")
    assert "77.0" not in str(table(page, "risk")) and "after adapting to 2 examples" in read_page(page)[1]


def test_supports_that_differ_stand_in_the_headings(tmp_path):
    size = {"rank 1": 1, "rank 2": 5, "bank C8": 10}
    _, text = page_of(tmp_path, gallery=False, change=lambda row: row | {"support": size[row["group"]]})
    assert "rank 1 support 1 rank 2 support 5 bank C8 support 10" in text


def test_a_study_of_both_kinds_of_numbers_shows_both(tmp_path):
    rows = make_run(tmp_path / "run", methods=("ERM", "ARM-BN"))
    more = make_symmetry_run(tmp_path / "other", methods=("ERM", "ARM-BN"), gallery=False)
    (tmp_path / "run" / "results.json").write_text(json.dumps(rows + more))
    _, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert "Highest worst-group accuracy" in text and "Overlap with the true symmetry" in text


def test_both_kinds_of_studies_share_a_page(run, tmp_path):
    make_run(tmp_path / "digits", methods=("ERM", "ARM-BN"))
    make_symmetry_run(tmp_path / "b", study="symmetry-scarce")
    page = write_report([run[0], tmp_path / "digits", tmp_path / "b"], tmp_path / "r.html")
    parser, text = read_page(page)
    assert "Highest worst-group accuracy" in text and text.count("Overlap with the true symmetry") == 2
    names = [attributes["id"] for _, attributes in parser.tags if "id" in attributes]
    assert len(names) == len(set(names))
    tables = markdown_table([run[0], tmp_path / "digits"]).split("\n\n")
    assert [line.split(" |")[0] for line in tables] == ["| risk", "| overlap", "| method"]


def test_seeds_run_apart_are_put_together_with_all_candidates(tmp_path):
    make_symmetry_run(tmp_path / "a", seeds=(0, 1))
    make_symmetry_run(tmp_path / "b", seeds=(2, 3, 4), salt=1)
    (merged,) = read_results([tmp_path / "a", tmp_path / "b"])
    assert merged.methods == tuple(METHODS) and len(merged.weights) == len(METHODS)
    _, text = read_page(write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "r.html"))
    for name in CANDIDATES:
        assert name in text
    assert "in 5 of 5 seeds" in text and "5 methods, 5 seeds" in text


def test_markdown_has_risk_and_overlap(run, capsys):
    directory, _, page = run
    risk, overlap = markdown_table([directory]).split("\n\n")
    for text, metric in ((risk, "risk"), (overlap, "overlap")):
        shown = table(page, metric)
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.split("\n")]
        assert lines[0] == [metric, *PROBLEMS] and [line[0] for line in lines[2:]] == list(shown)
        for name, *cells in lines[2:]:
            said = [(cell.replace("*", ""), cell.startswith("**")) for cell in cells]
            assert said == [(cell.split(" of ")[0], best) for cell, best in shown[name]]
    assert main(["report", str(directory), "--table"]) == 0
    assert capsys.readouterr().out == markdown_table([directory]) + "\n"


@given(st.floats(-1e12, 1e12), st.one_of(st.just(math.nan), st.floats(0, 1e12)))
def test_numbers_keep_three_digits_of_the_larger(mean, half):
    shown, spread = written(mean, half)
    scale = max(abs(mean), half if math.isfinite(half) else 0)
    assert abs(float(shown) - mean) <= 0.0051 * scale + 1e-300
    assert (spread == "") == math.isnan(half)
    assert spread == "" or abs(float(spread) - half) <= 0.0051 * scale + 1e-300
    assert len(shown) <= 10 and "e-0" not in shown


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3.74e-4, "3.74e-4"),
        (0.0123456, "0.0123"),
        (0.99996, "1.00"),
        (123.4, "123"),
        (9.999e-4, "0.00100"),
        (5e4, "5.00e4"),
    ],
)
def test_numbers_over_many_orders_of_magnitude(value, said):
    assert written(value)[0] == said


@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on PATH to render the page with")
@pytest.mark.parametrize("width", [1280, 800, 390])
def test_nothing_sticks_out_overlaps_or_is_too_small(tmp_path, width):
    problems = PROBLEMS | {"turns and flips with a long name": ((24, 9), 3), "set": ((5, 300), 2)}
    make_symmetry_run(tmp_path / "run", problems=problems, seeds=(0, 1))
    seen = measure(write_report([tmp_path / "run"], tmp_path / "r.html"), tmp_path / "frame", width)
    assert seen["scroll"] <= seen["client"] == width
    assert seen["outside"] == [] and seen["small"] == 0 and seen["requests"] == []
    for texts in seen["texts"]:
        for place, first in enumerate(texts):
            for second in texts[:place]:
                a, b = first["box"], second["box"]
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (first["text"], second["text"])
