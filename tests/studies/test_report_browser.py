"""The report page in a real browser: what it shows is what results.json says, at the width of a desk and a phone."""

import html
import json
import os
import shutil
import statistics
import subprocess

import pytest
from run_directories import FLOOR, METHODS, ORDER, SUPPORTS, make_run

from mutatis.studies._report import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on PATH to render the page with")

FEW = ("ERM", "ARM-BN", "ICRM")
T_QUANTILE = {5: 2.776445}  # Student's t, 97.5 %, n - 1 degrees of freedom (any printed table)
GROUPS, SEEDS = 14, (0, 1, 2, 3, 4)

# Runs beside the page in its own frame, so the page is measured as it is, at any width.
MEASURE = """
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const page = frame.contentDocument, root = page.documentElement, view = frame.contentWindow;
  const all = (selector, within = page) => [...within.querySelectorAll(selector)];
  const box = (one) => { const r = one.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const width = (one) => one.getBoundingClientRect().width;
  const scrolls = (one) => {
    for (let up = one; up; up = up.parentElement)
      if (["auto", "scroll"].includes(view.getComputedStyle(up).overflowX)) return true;
    return false;
  };
  const result = {
    client: root.clientWidth,
    scroll: root.scrollWidth,
    outside: all("body *").filter((one) => box(one)[2] > root.clientWidth + 1 && !scrolls(one))
      .map((one) => one.outerHTML.slice(0, 120)),
    table: all("table.summary tbody tr").map((row) => ({
      method: row.dataset.m, order: row.dataset.order,
      cells: [...row.cells].slice(1).map((cell) => ({text: cell.innerText.replace(/\\s+/g, " ").trim(),
        bold: [...cell.querySelectorAll("*")].some((one) => view.getComputedStyle(one).fontWeight >= 600)}))})),
    bars: all(".panel").map((panel) => ({method: panel.dataset.m, bars: all(".bar", panel).map((bar) => ({
      group: bar.dataset.group, share: width(bar) / width(bar.parentElement),
      text: bar.closest("li").querySelector(".value").innerText}))})),
    texts: all(".plot > svg").map((svg) => all("text", svg).map((one) => ({text: one.textContent, box: box(one)}))),
    small: all("text, p, td, th, li, span").filter((one) => one.innerText !== "" &&
      parseFloat(view.getComputedStyle(one).fontSize) < 11.5).length,
    requests: view.performance.getEntriesByType("resource").map((one) => one.name)
      .filter((name) => !name.startsWith("data:")),
    points: all("section").filter((one) => one.querySelector("h3").innerText.startsWith("How much support"))
      .flatMap((one) => all(".chart", one).map((chart) => all(".marker", chart).length)),
    samples: all(".sample").filter((one) => one.offsetParent !== null).length,
    sorted: (() => {
      const head = all("table.summary thead th")[2];
      head.click();
      return all("table.summary tbody tr.main").map((row) => row.dataset.m);
    })(),
  };
  const out = document.createElement("pre");
  out.id = "measured";
  out.textContent = JSON.stringify(result);
  document.body.append(out);
});
"""


def measure(page, folder, width):
    """What a browser of this width makes of the page."""
    folder.mkdir()
    frame = f'<iframe style="border:0;width:{width}px;height:900px" srcdoc="{html.escape(page.read_text())}"></iframe>'
    # The script comes first: the frame may be loaded before a later one would listen.
    script = f"<script>addEventListener('DOMContentLoaded', () => {{{MEASURE}}})</script>"
    wrapper = folder / "wrapper.html"
    wrapper.write_text(f'<!doctype html><meta charset="utf-8">{script}<body style="margin:0">{frame}')
    options = "--headless --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    options += " --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
    options += " --virtual-time-budget=10000"
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options += " --no-sandbox"
    command = [
        BROWSER,
        *options.split(),
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        f"--window-size={max(width, 500)},900",
    ]
    done = subprocess.run([*command, wrapper.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert '<pre id="measured">' in done.stdout, done.stderr[-2000:]
    return json.loads(html.unescape(done.stdout.split('<pre id="measured">')[1].split("</pre>")[0]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    rows = make_run(folder / "run", groups=GROUPS, seeds=SEEDS)
    return rows, write_report([folder / "run"], folder / "report.html"), folder


@pytest.fixture(scope="module")
def desk(run):
    return measure(run[1], run[2] / "desk", 1280)


@pytest.fixture(scope="module")
def phone(run):
    return measure(run[1], run[2] / "phone", 390)


def expected_cells(rows, method, order):
    """Average, worst, worst tenth and size-weighted of a method, with plain arithmetic from the rows."""
    support = {ORDER: 50, FLOOR: 0 if METHODS[method][2] is not None else max(SUPPORTS)}[order]
    columns = []
    for seed in SEEDS:
        mine = [
            (row["value"], row["n"])
            for row in rows
            if (row["method"], row["seed"], row["order"], row["support"]) == (method, seed, order, support)
        ]
        values = sorted(value for value, _ in mine)
        assert len(values) == GROUPS
        weighted = sum(value * n for value, n in mine) / sum(n for _, n in mine)
        columns.append((sum(values) / GROUPS, values[0], (values[0] + values[1]) / 2, weighted))
    cells = []
    for scores in zip(*columns, strict=True):
        half = T_QUANTILE[len(SEEDS)] * statistics.stdev(scores) / len(SEEDS) ** 0.5
        cells.append(f"{100 * statistics.mean(scores):.1f} ± {100 * half:.1f}")
    return cells


def test_summary_table_is_what_the_rows_say(run, desk):
    rows = run[0]
    assert [
        line["method"] for line in desk["table"] if line["order"] != FLOOR or METHODS[line["method"]][2] is None
    ] == list(METHODS)
    assert len(desk["table"]) == len(METHODS) + sum(collapse is not None for _, _, collapse in METHODS.values())
    for line in desk["table"]:
        assert [cell["text"] for cell in line["cells"]] == expected_cells(rows, line["method"], line["order"])


def test_the_best_and_only_what_ties_with_it_is_bold(run, desk):
    rows = run[0]

    def worst(method, seed):
        order, support = (ORDER, 50) if METHODS[method][2] is not None else (FLOOR, max(SUPPORTS))
        return min(
            row["value"]
            for row in rows
            if (row["method"], row["seed"], row["order"], row["support"]) == (method, seed, order, support)
        )

    scores = {method: [worst(method, seed) for seed in SEEDS] for method in METHODS}
    best = max(scores, key=lambda method: statistics.mean(scores[method]))
    expected = set()
    for method in METHODS:
        gaps = [a - b for a, b in zip(scores[best], scores[method], strict=True)]
        half = T_QUANTILE[len(SEEDS)] * statistics.stdev(gaps) / len(SEEDS) ** 0.5
        if statistics.mean(gaps) - half <= 0:
            expected.add(method)
    bold = {line["method"] for line in desk["table"] if line["cells"][1]["bold"]}
    assert bold == expected and len(bold) < len(METHODS)


def test_every_method_and_group_has_its_bar_of_the_right_length(run, desk):
    rows = run[0]
    assert [panel["method"] for panel in desk["bars"]] == list(METHODS)
    for panel in desk["bars"]:
        assert len(panel["bars"]) == GROUPS
        adapts = METHODS[panel["method"]][2] is not None
        for bar in panel["bars"]:
            values = [
                row["value"]
                for row in rows
                if (row["method"], row["group"]) == (panel["method"], bar["group"])
                and (row["order"], row["support"]) == ((ORDER, 50) if adapts else (FLOOR, max(SUPPORTS)))
            ]
            assert bar["share"] == pytest.approx(statistics.mean(values), abs=0.005)
            assert bar["text"] == f"{100 * statistics.mean(values):.1f}"


def test_groups_stand_in_the_same_order_hardest_first(run, desk):
    orders = [[bar["group"] for bar in panel["bars"]] for panel in desk["bars"]]
    assert all(order == orders[0] for order in orders)
    means = [statistics.mean(panel["bars"][place]["share"] for panel in desk["bars"]) for place in range(GROUPS)]
    assert means == sorted(means)


def test_support_curves_have_a_point_for_every_size(desk):
    adapting = sum(collapse is not None for _, _, collapse in METHODS.values())
    assert desk["points"] == [adapting * len(SUPPORTS)] * 2


def test_one_gallery_is_open_without_a_script(desk):
    assert desk["samples"] == 10 * 8


def test_sorting_by_a_column_puts_the_best_first(desk):
    lines = {line["method"]: line for line in reversed(desk["table"])}
    worst = [float(lines[method]["cells"][1]["text"].split()[0]) for method in desk["sorted"]]
    assert len(worst) == len(METHODS) and worst == sorted(worst, reverse=True)


@pytest.mark.parametrize("width", ["desk", "phone"])
def test_nothing_sticks_out_overlaps_or_is_too_small(width, request):
    seen = request.getfixturevalue(width)
    assert seen["client"] == {"desk": 1280, "phone": 390}[width]
    assert seen["scroll"] <= seen["client"]
    assert seen["outside"] == []
    assert seen["small"] == 0
    for texts in seen["texts"]:
        for place, first in enumerate(texts):
            for second in texts[:place]:
                a, b = first["box"], second["box"]
                apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
                assert apart, (first["text"], second["text"])
    assert sum(map(len, seen["texts"])) > 50


def test_the_summary_fits_a_phone_without_scrolling_it(phone, desk):
    assert [line["cells"] for line in phone["table"]] == [line["cells"] for line in desk["table"]]


def test_the_page_asks_the_network_for_nothing(desk, phone):
    assert desk["requests"] == phone["requests"] == []


@pytest.fixture(scope="module")
def writers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("writers")
    names = {"group_name": "a writer with a long name, number {}"}
    make_run(folder / "run", methods=FEW, groups=297, seeds=(0, 1, 2), supports=(1, 50), **names)
    make_run(folder / "one", methods=("ERM",), seeds=(0,), study="one-" + "long" * 20, gallery=False)
    page = write_report([folder / "run", folder / "one"], folder / "report.html")
    return measure(page, folder / "phone", 390)


def test_hundreds_of_groups_are_cut_to_the_worst_and_the_best(writers):
    assert [len(panel["bars"]) for panel in writers["bars"]] == [20] * len(FEW) + [14]
    for panel in writers["bars"][:-1]:
        shares = [bar["share"] for bar in panel["bars"]]
        assert statistics.mean(shares[:16]) < min(shares[16:])


def test_long_names_and_several_studies_fit_a_phone(writers):
    assert writers["scroll"] <= writers["client"] and writers["outside"] == []
