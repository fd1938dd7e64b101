"""The page about a diagnosis shows the numbers of the diagnosis, and nothing else."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mutatis
from mutatis.studies import write_diagnosis
from mutatis.studies.page._matrices import colour, signed

TARGETS = np.array([[10.0, 0.0, 1.0], [-1.0, 0.5, 0.2], [0.3, 2.0, -1.0], [0.1, -2.0, 0.4]])
NAMES = ["reach <1>", "push & pull", "door", "drawer"]


def objective(model, target):
    return 0.5 * jnp.sum(jnp.square(jnp.concatenate(model) - target))


def found(index=(0, 1, 2, 3), shift=0.0, **options):
    model = (jnp.full(2, shift), jnp.zeros(1))
    tasks = mutatis.Task(None, jnp.asarray(TARGETS[list(index)]), jnp.asarray(index))
    learner = mutatis.Learner(model, mutatis.NoAdaptation())
    return mutatis.diagnose(learner, tasks, objective=objective, key=jax.random.key(0), **options)


def stack_of(*each):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


def cells(page):
    """The matrices of a page, as the rows of their titles."""
    tables = re.findall(r'<table class="matrix".*?</table>', page, re.DOTALL)
    return [re.findall(r'<td title="(.*?)" style="background:(.*?)">(.*?)</td>', table) for table in tables]


def test_the_matrices_hold_the_cosines_and_the_gains(tmp_path):
    one = found()
    page = write_diagnosis(tmp_path / "new" / "page.html", one, names=NAMES).read_text()
    cosines, gains = cells(page)
    shown = [float(text.replace("−", "-")) for _, _, text in cosines]
    np.testing.assert_allclose(shown, np.ravel(one.cosines), atol=0.00501)
    shares = 100 * np.ravel(one.gain / one.losses[:, None])
    np.testing.assert_allclose([float(text.replace("−", "-")) for _, _, text in gains], shares, atol=0.501)
    assert cosines[1][0] == f"reach &lt;1&gt;, push &amp; pull: {cosines[1][2]}"
    for value, (_, background, _) in zip(np.ravel(one.cosines), cosines, strict=True):
        assert background == colour(float(value))
        assert ("222 101 16" in background) == (value < 0)


def test_the_page_needs_nothing_beside_it_and_escapes_names(tmp_path):
    page = write_diagnosis(tmp_path / "page.html", found(), names=NAMES, title="Why <so>?").read_text()
    assert not re.findall(r"(?:src=|url\(|@import|<script)", page) and "<so>" not in page and "reach <1>" not in page
    words = re.sub(r"<[^>]*>", "", page[page.index("<body") :])
    for line in ("What to try", "Who agrees with whom", "Task by task", "Layer by layer", "Size of the gradient"):
        assert line in words
    assert "Over training" not in words and words.count("model.0") >= 1


def test_a_stack_shows_means_by_group_and_the_course(tmp_path):
    each = [found((0, 1)), found((1, 0), 0.3), found((0, 2), 0.1), found((3, 3), 0.2)]
    page = write_diagnosis(tmp_path / "page.html", stack_of(*each), names=NAMES, steps=[0, 10, 20, 30]).read_text()
    shown = {title.rsplit(": ", 1)[0]: text for title, _, text in cells(page)[0]}
    mean = (float(each[0].cosines[0, 1]) + float(each[1].cosines[0, 1])) / 2
    assert shown["reach &lt;1&gt;, push &amp; pull"] == signed("{:.2f}", mean)
    assert shown["push &amp; pull, door"] == "—"  # they never met
    assert shown["drawer, drawer"] == "1.00"
    assert "Over training" in page and "Tasks that the joint step hurts" in page
    with pytest.raises(ValueError, match="steps has 2 entries for 4"):
        write_diagnosis(tmp_path / "page.html", stack_of(*each), steps=[0, 1])


def test_odd_diagnoses_have_a_page_too(tmp_path):
    lost = stack_of(found((0, 1)), found((0, 1), np.nan))
    assert "is not finite" in write_diagnosis(tmp_path / "lost.html", lost).read_text()
    alone = write_diagnosis(tmp_path / "alone.html", found((2,))).read_text()
    assert "There is one task" in alone and "Layer by layer" not in alone
    bare = write_diagnosis(tmp_path / "bare.html", found(pairwise=False)).read_text()
    assert len(cells(bare)) == 1 and "task 3" in bare
    many = write_diagnosis(tmp_path / "many.html", found(tuple(range(4)) * 5, where=lambda learner: True)).read_text()
    assert len(cells(many)[0]) == 16  # by group


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (-0.851, "{:.2f}", "−.85"),
        (1.0, "{:.2f}", "1.00"),
        (-0.001, "{:.2f}", ".00"),
        (-116.2, "{:.0f}", "−116"),
        (-23456.0, "{:.0f}", "−23k"),
        (np.nan, "{:.2f}", "—"),
        (-0.2, "{:.0f}", "0"),
        (-100.4, "{:.0f}", "−100"),
    ],
)
def test_numbers_are_short(value, form, text):
    assert signed(form, value) == text
