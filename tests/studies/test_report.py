"""The report page as a file: what it says, what it leaves out, and that nothing in it can do harm."""

import base64
import html
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from run_directories import FLOOR, ORDER, make_run

from mutatis.studies import Job
from mutatis.studies._report import write_report
from mutatis.studies._results import read_results
from mutatis.studies.page._chart_names import NARROW, WIDE
from mutatis.studies.page._charts import HEIGHT, Series, Style, linear_axis, log_axis, scatter_chart
from mutatis.studies.page._markup import element, raw

FEW = ("ERM", "ARM-BN", "ICRM")
LOADING = re.compile(r"""(?:src|href|url\(|@import|srcset|poster|action)\s*[=(]?\s*["']?([^"')\s>]*)""")


class Text(HTMLParser):
    """The words of a page, and its tags, as a browser without a script would have them."""

    def __init__(self):
        super().__init__()
        self.words, self.tags, self._silent = [], [], 0

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._silent += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._silent -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._silent:
            self.words.append(data)


def read_page(path):
    parser = Text()
    parser.feed(path.read_text())
    return parser, " ".join(" ".join(parser.words).split())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    make_run(directory, methods=FEW)
    return directory


def rewrite(directory, name, change):
    path = directory / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def test_page_says_what_was_run_and_how_to_get_it_again(run, tmp_path):
    page = write_report([run], tmp_path / "deep" / "report.html")
    _, text = read_page(page)
    assert page == tmp_path / "deep" / "report.html"
    assert "3 methods, 5 seeds, judged on 14 test groups with 46,662 examples." in text
    assert "mutatis run rotated-mnist --seeds 5 --out run" in text
    for shown in ("Adaptive Risk Minimization", "0.10.2", "440fcabf73cc546f", "width 32", "worst, every 20 steps"):
        assert shown in text


def test_page_loads_nothing_and_is_the_same_every_time(run, tmp_path):
    first, again = (write_report([run], tmp_path / name).read_text() for name in ("a.html", "b.html"))
    assert first == again
    targets = {target for target in LOADING.findall(first) if target}
    assert all(target.startswith(("#", "data:")) for target in targets), targets
    assert "http" not in first.replace("http-equiv", "")


def test_names_from_outside_are_never_markup(tmp_path):
    evil = "<img src=x onerror=alert(1)>\"'&"
    make_run(tmp_path / "run", methods=("ERM", evil), group_name=evil + "{}", study=evil, fields={evil: evil})
    parser, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert evil in text
    assert not any("onerror" in attributes for _, attributes in parser.tags)
    assert sum(tag == "script" for tag, _ in parser.tags) == 1


@given(st.text())
def test_elements_hold_any_text(text):
    parser = Text()
    parser.feed(element("p", text, title=text))
    parser.close()
    newlines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    assert html.unescape(html.escape(text)) == parser.tags[0][1]["title"] or newlines != text
    assert "".join(parser.words) == text


def test_element_leaves_out_what_is_not_given():
    assert element("input", name="a", checked=True, id=None, open=False) == '<input name="a" checked>'
    assert element("p", ["a", None, 2, raw("<b>")], class_="x", data_y=1) == '<p class="x" data-y="1">a2<b></p>'


def test_one_seed_has_no_interval_and_no_best(tmp_path):
    make_run(tmp_path / "run", methods=FEW, seeds=(0,), gallery=False)
    parser, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert "One seed: no interval" in text and "±" not in text
    assert not any(attributes.get("class") == "best" for _, attributes in parser.tags)
    assert "What the groups look like" not in text


def test_a_method_with_fewer_seeds_says_so(run, tmp_path):
    make_run(tmp_path / "run", methods=FEW)
    rewrite(tmp_path / "run", "results.json", lambda rows: [r for r in rows if r["method"] == "ERM" or r["seed"] == 0])
    _, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert "ARM-BN one seed: no interval" in text
    assert "Incomplete: 8 of 15 jobs have no results yet" in text


def test_one_method_is_enough(tmp_path):
    make_run(tmp_path / "run", methods=("ERM",), gallery=False)
    _, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert "Summary" in text and "Worst group against average" not in text
    assert "Highest worst-group" not in text and "How much support" not in text


def test_lost_values_are_shown_as_lost(run, tmp_path):
    make_run(tmp_path / "run", methods=FEW)
    lost = lambda r: r | {"value": None} if (r["method"], r["seed"], r["group"]) == ("ICRM", 1, "rotation 20") else r
    rewrite(tmp_path / "run", "results.json", lambda rows: [lost(row) for row in rows])
    _, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert "Not finite in at least one seed, and shown as a dash: ICRM." in text
    assert "nan" not in text.lower().replace("nanyang", "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: [], "There are no results yet."),
        (lambda rows: [row | {"metric": "error"} for row in rows], "The results are of error."),
    ],
)
def test_results_without_accuracies_still_make_a_page(tmp_path, change, said):
    make_run(tmp_path / "run", methods=FEW, gallery=False)
    rewrite(tmp_path / "run", "results.json", change)
    _, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert said in text and "Training loss" in text and "How to get this again" in text


def test_validation_stands_in_and_is_named(tmp_path):
    make_run(tmp_path / "run", methods=FEW, gallery=False)
    rewrite(tmp_path / "run", "results.json", lambda rows: [row | {"split": "validation"} for row in rows])
    _, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert "Accuracy on the validation groups" in text


def test_streams_and_groups_too_small_for_them(tmp_path):
    make_run(tmp_path / "run", methods=FEW, gallery=False)

    def add_stream(rows):
        adapted = [row for row in rows if row["order"] == ORDER and row["support"] == 50]
        return rows + [
            row | {"order": "stream"} | ({"n": 0, "value": None} if row["group"] == "rotation 0" else {})
            for row in adapted
        ]

    rewrite(tmp_path / "run", "results.json", add_stream)
    _, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert "as a stream" in text and "without adaptation" in text and "Not finite" not in text


def test_pictures_are_those_of_the_gallery(run, tmp_path):
    text = write_report([run], tmp_path / "r.html").read_text()
    sheets = re.findall(r"url\(data:image/png;base64,([^)]*)\)", text)
    assert len(sheets) == 1  # three methods, the same images
    with np.load(run / Job("ARM-BN", 0).directory / "gallery.npz") as arrays:
        images, before, after = arrays["images"], arrays["before"], arrays["after"]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheets[0]))))
    assert sheet.shape == (10 * 8, 8 * 8)
    np.testing.assert_array_equal(sheet[:8, 8:16], images[0, 1, ..., 0])
    np.testing.assert_array_equal(sheet[-8:, -8:], images[13, 7, ..., 0])
    shown = np.unique(np.linspace(0, 13, 10).round().astype(int))
    pane = text.split('class="panes"')[1].split("<div><div><h5>")[2]
    assert pane.count("sample changed") == (before != after)[shown].sum()


def test_a_damaged_gallery_costs_only_its_pictures(tmp_path):
    make_run(tmp_path / "run", methods=FEW)
    broken = tmp_path / "run" / Job("ARM-BN", 0).directory / "gallery.npz"
    broken.write_bytes(broken.read_bytes()[:100])
    wrong = tmp_path / "run" / Job("ICRM", 0).directory / "gallery.npz"
    np.savez(wrong, images=np.zeros((2, 3, 8, 8, 2), np.uint8), targets=np.zeros((2, 3)), after=np.zeros((2, 3)))
    _, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert "The pictures of ARM-BN, seed 0, are not shown" in text
    assert "images has shape (2, 3, 8, 8, 2)" in text


def test_more_seeds_of_the_same_study_are_put_together(tmp_path):
    first = make_run(tmp_path / "a", methods=FEW, seeds=(0, 1))
    second = make_run(tmp_path / "b", methods=FEW, seeds=(2, 3, 4), salt=1)
    (merged,) = read_results([tmp_path / "a", tmp_path / "b"])
    assert merged.methods == FEW
    assert len(merged.rows) == len(first) + len(second)
    _, text = read_page(write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "r.html"))
    assert "3 methods, 5 seeds" in text and "Run 2" in text


def test_a_run_given_twice_counts_once(run):
    (once,), (twice,) = read_results([run]), read_results([run, run])
    assert len(once.rows) == len(twice.rows)


def test_other_settings_make_other_methods(tmp_path):
    make_run(tmp_path / "a", methods=FEW, gallery=False)
    make_run(tmp_path / "b", methods=FEW, gallery=False, salt=1, fields={"width": 128})
    (merged,) = read_results([tmp_path / "a", tmp_path / "b"])
    assert merged.methods == tuple(f"{name} (width={width})" for width in (32, 128) for name in FEW)


def test_same_settings_with_other_numbers_stay_apart(tmp_path):
    make_run(tmp_path / "a", methods=FEW, gallery=False)
    make_run(tmp_path / "b", methods=FEW, gallery=False, salt=1)
    (merged,) = read_results([tmp_path / "a", tmp_path / "b"])
    assert merged.methods == tuple(f"{name} (run {run})" for run in (1, 2) for name in FEW)


def test_other_studies_follow_one_another_with_the_same_colours(tmp_path, run):
    make_run(tmp_path / "b", methods=("ICRM", "ERM"), study="digits")
    page = write_report([run, tmp_path / "b"], tmp_path / "r.html")
    parser, _ = read_page(page)
    assert sum(tag == "article" for tag, _ in parser.tags) == 2
    colours = re.findall(r'class="swatch (\w+)"[^>]*>(?:(?!</svg>).)*</svg>(?:<span[^>]*>)?ICRM<', page.read_text())
    assert len(colours) > 5 and len(set(colours)) == 1


def test_what_is_no_run_is_named(tmp_path, run):
    with pytest.raises(FileNotFoundError, match=r"nowhere holds no run: config\.json is missing"):
        write_report([tmp_path / "nowhere"], tmp_path / "r.html")
    with pytest.raises(ValueError, match="directories is empty"):
        write_report([], tmp_path / "r.html")
    make_run(tmp_path / "torn", methods=FEW, gallery=False)
    (tmp_path / "torn" / "results.json").write_text('[{"method":')
    with pytest.raises(ValueError, match=r"results\.json is damaged"):
        write_report([tmp_path / "torn"], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_metric_lines_with_one_value_each_are_understood(tmp_path):
    make_run(tmp_path / "run", methods=FEW, gallery=False)
    lines = [
        {"method": m, "seed": 0, "step": step, "split": "validation", "name": "worst", "value": 0.5 + step / 1000}
        for m in FEW
        for step in (100, 200, 300)
    ]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert "Validation: worst" in text
    (tmp_path / "run" / "metrics.jsonl").unlink()
    _, text = read_page(write_report([tmp_path / "run"], tmp_path / "r.html"))
    assert "Training loss" not in text


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_axes_hold_their_values_between_round_numbers(values):
    axis = linear_axis(values, "x")
    assert axis.low <= min(values) + 1e-9 and max(values) - 1e-9 <= axis.high
    assert 2 <= len(axis.ticks) <= 8
    assert len({text for _, text in axis.ticks}) == len(axis.ticks)
    if max(values) > min(values) + 1:
        assert axis.low >= 0 and axis.high <= 100


def test_a_log_axis_spaces_factors_equally():
    axis = log_axis([1, 10, 100], "support", [1, 10, 100])
    assert [axis.at(value) for value in (1, 10, 100)] == pytest.approx([0, 0.5, 1])


@given(st.lists(st.tuples(st.floats(60, 95), st.floats(60, 95)), min_size=2, max_size=15), st.floats(0, 1))
def test_names_in_the_scatter_chart_never_overlap(points, between):
    series = [
        Series(f"method {place}", Style(place), [x], [y], [y - 1], [y + 1], x - 1, x + 1)
        for place, (x, y) in enumerate(points)
    ]
    axis = linear_axis([59, 96], "x")
    chart = scatter_chart(series, axis, axis, title="")
    width, boxes = NARROW + between * (WIDE - NARROW), []
    for attributes, name in re.findall(r'<text ([^>]*class="name[^>]*)>([^<]*)<', chart):
        get = dict(re.findall(r'([\w-]+)="([^"]*)"', attributes))
        length = 7.2 * len(name)
        x = float(get["x"].rstrip("%")) / 100 * width + float(get["dx"])
        x -= length if "end" in get["class"] else 0
        y = float(get["y"]) + float(get["dy"])
        assert x >= -0.1 and y <= HEIGHT + 3
        boxes.append((x, x + length, y - 11, y + 3))
    for place, a in enumerate(boxes):
        for b in boxes[:place]:
            assert a[1] <= b[0] + 0.1 or b[1] <= a[0] + 0.1 or a[3] <= b[2] + 0.1 or b[3] <= a[2] + 0.1


def test_styles_tell_sixteen_methods_apart():
    looks = {(Style(place).colour, Style(place).shape) for place in range(-1, 16)}
    assert len(looks) == 17


def test_the_floor_is_in_the_table(run, tmp_path):
    rows = json.loads((run / "results.json").read_text())
    text = write_report([run], tmp_path / "r.html").read_text()
    by_seed = {}
    for row in rows:
        if (row["method"], row["order"]) == ("ARM-BN", FLOOR):
            by_seed.setdefault(row["seed"], []).append(row["value"])
    worst = np.mean([min(values) for values in by_seed.values()])
    line = text.split('data-m="ARM-BN" data-order="no adaptation"')[1].split("</tr>")[0]
    assert f"<span>{100 * worst:.1f}</span>" in line
