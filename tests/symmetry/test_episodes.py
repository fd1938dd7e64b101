"""What episodes draw, on images that name their class and drawer; nearest-neighbour floors on real ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

import mutatis
from mutatis.symmetry._augment import Augmentation, area_mean
from mutatis.symmetry._episodes import Episodes
from mutatis.symmetry._glyphs import digit_episodes, digit_glyphs
from mutatis.symmetry._omniglot import omniglot

CLASSES, DRAWERS = 12, 9
NUMBERED = np.arange(CLASSES * DRAWERS, dtype=np.float32).reshape(CLASSES, DRAWERS, 1, 1) * np.ones((6, 6), np.float32)
KEY = jax.random.key(0)
FLIPS, TURNS = Augmentation(angle=0, area=1), Augmentation(flip=0, area=1)


@eqx.filter_jit
def draw(episodes, key):
    return episodes(key)


def drawn(side):
    """Class, drawer and label of each row."""
    x, y = side
    number = np.rint(np.asarray(x)[..., 0, 0, 0]).astype(int)
    return number // DRAWERS, number % DRAWERS, np.asarray(y)


def test_shapes_labels_and_index():
    task = draw(Episodes(NUMBERED, 5, 2, 3, tasks_per_step=7, size=4), KEY)
    (x, y), (xq, yq) = task.context, task.query
    assert (x.shape, y.shape, xq.shape, yq.shape) == ((7, 10, 4, 4, 1), (7, 10), (7, 15, 4, 4, 1), (7, 15))
    assert (x.dtype, y.dtype, task.index.dtype) == (jnp.float32, jnp.int32, jnp.int32)
    np.testing.assert_array_equal(task.index, np.arange(7))
    np.testing.assert_array_equal(y, np.tile(np.repeat(np.arange(5), 2), (7, 1)))
    assert draw(Episodes(NUMBERED.astype(np.uint8), 5, 2, 3, size=4), KEY).context[0].dtype == jnp.float32


def test_classes_and_drawers_are_drawn_without_replacement():
    task = draw(Episodes(NUMBERED, 5, 2, 3, tasks_per_step=300, size=4), KEY)
    sides = zip(drawn(task.context), drawn(task.query), strict=True)
    classes, drawers, labels = (np.concatenate(both, axis=1) for both in sides)
    for label in range(5):
        rows = labels == label
        assert (rows.sum(1) == 5).all()
        mine, hands = classes[rows].reshape(300, 5), drawers[rows].reshape(300, 5)
        assert (mine == mine[:, :1]).all()  # one label, one class
        assert all(len(set(hand)) == 5 for hand in hands)  # support and query share no drawer
        # Every class takes every label alike often: four standard deviations of a count of 300 tries of 1/12.
        assert np.abs(np.bincount(mine[:, 0], minlength=CLASSES) - 25).max() < 4 * (300 / 12 * 11 / 12) ** 0.5
        assert np.abs(np.bincount(hands[:, 0], minlength=DRAWERS) - 300 / 9).max() < 4 * (300 / 9 * 8 / 9) ** 0.5
    assert all(len(set(row)) == 5 for row in classes)


def test_the_key_decides_the_episode():
    episodes = Episodes(NUMBERED, size=4, queries=3, query_view=Augmentation())
    first, again, other = draw(episodes, KEY), draw(episodes, KEY), draw(episodes, jax.random.key(1))
    assert eqx.tree_equal(first, again)
    assert not np.array_equal(first.context[0], other.context[0])


def test_a_view_changes_its_own_side_alone():
    images = np.random.default_rng(0).random((CLASSES, DRAWERS, 6, 6))
    settings = {"ways": 3, "shots": 2, "queries": 4, "size": 6}
    clean = draw(Episodes(images, **settings), KEY)
    turned_over = Augmentation(flip=1, angle=0, area=1)
    query = draw(Episodes(images, **settings, query_view=turned_over), KEY)
    both = draw(Episodes(images, **settings, context_view=turned_over, query_view=turned_over), KEY)
    np.testing.assert_array_equal(query.context[0], clean.context[0])
    np.testing.assert_array_equal(both.context[0], clean.context[0][:, :, ::-1, ::-1])
    for task in (query, both):
        np.testing.assert_array_equal(task.query[0], clean.query[0][:, :, ::-1, ::-1])
        np.testing.assert_array_equal(task.query[1], clean.query[1])
    smaller = draw(Episodes(images, **(settings | {"size": 4})), KEY)
    flat = clean.query[0].reshape(-1, 6, 6)
    np.testing.assert_allclose(smaller.query[0].reshape(-1, 4, 4), area_mean(flat, 4), rtol=1e-12)


def test_other_images_strengths_and_keys_are_not_another_program():
    traces = []

    @eqx.filter_jit
    def counted(episodes, key):
        traces.append(key)
        return episodes(key)

    for seed, view in enumerate((FLIPS, TURNS, Augmentation())):
        counted(Episodes(NUMBERED + seed, queries=3, size=4, query_view=view), jax.random.key(seed))
    assert len(traces) == 1


def test_the_outer_loop_traces_episodes_once():
    traces = []

    def objective(model, data):
        traces.append(data)
        return mutatis.cross_entropy(lambda x: x.reshape(x.shape[0], -1) @ model, data)

    learner = mutatis.Learner(jnp.zeros((16, 5), jnp.float32), mutatis.GradientSteps(objective, 0.1))
    state = mutatis.outer_init(learner, mutatis.Average(), optax.sgd(0.1), num_groups=4, key=KEY)
    counts = []
    for view in (FLIPS, TURNS):
        episodes = Episodes(NUMBERED / CLASSES / DRAWERS, queries=3, size=4, query_view=view)
        learner, state, history = mutatis.outer_scan(learner, state, episodes, steps=3, objective=objective)
        counts.append(len(traces))
    assert counts[0] == counts[1] and bool(jnp.isfinite(history.losses).all()) and history.losses.shape == (3, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ways": 13}, "ways is 13, but images hold 12 classes"),
        ({"shots": 5, "queries": 5}, "shots=5 and queries=5 need 10 different drawers of a class, but images hold 9"),
        ({"size": 7}, "size is 7, but images are 6x6"),
        ({"tasks_per_step": 0}, "tasks_per_step is 0; pass at least 1"),
        ({"images": NUMBERED[0]}, r"images has shape \(9, 6, 6\); pass \(classes, drawers, h, w\)"),
    ],
)
def test_episodes_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        Episodes(**({"images": NUMBERED, "queries": 3, "size": 4} | settings))


def test_glyphs_are_two_digits():
    digits = load_digits()
    of = {digit: digits.images[digits.target == digit] / 16 for digit in range(10)}
    places = ((0, 5, (5, 5), slice(100)), (0, 19, (9, 0), slice(100)), (1, 10, (0, 7), slice(100, 137)))
    for part, place, (first, second), images in (*places, (2, 17, (7, 6), slice(137, 174))):
        expected = (of[first][images] + np.rot90(of[second][images], axes=(1, 2))) / 2
        np.testing.assert_allclose(digit_glyphs()[part][place], expected, atol=1e-7)


def test_parts_of_the_glyphs_share_none():
    parts = digit_glyphs()
    assert [part.shape for part in parts] == [(60, 100, 8, 8), (20, 37, 8, 8), (20, 37, 8, 8)]
    assert all(part.dtype == np.float32 and part.min() == 0 and part.max() <= 1 for part in parts)
    drawings = np.concatenate([part.reshape(-1, 64) for part in parts])
    assert len(np.unique(drawings, axis=0)) == len(drawings) == 60 * 100 + 40 * 37


@eqx.filter_jit
def nearest_neighbour(episodes, keys):
    """Accuracy of each task when a query takes the label of the support image of the smallest angle to it."""

    def of_task(task):
        unit = lambda x: x.reshape(x.shape[0], -1) / jnp.linalg.norm(x.reshape(x.shape[0], -1), axis=1, keepdims=True)
        (x, y), (xq, yq) = task.context, task.query
        return jnp.mean(y[jnp.argmax(unit(xq) @ unit(x).T, axis=1)] == yq)

    return jax.lax.map(lambda key: jax.vmap(of_task)(episodes(key)), keys).ravel()


def accuracy(episodes, steps, seed=0):
    """Per cent, and the half-width of its 95 % interval."""
    tasks = 100 * np.asarray(nearest_neighbour(episodes, jax.random.split(jax.random.key(seed), steps)))
    return tasks.mean(), 1.96 * tasks.std() / len(tasks) ** 0.5


@pytest.fixture(scope="module")
def characters(real_data):
    return jnp.asarray(omniglot(real_data).split()[2].images)


@pytest.mark.parametrize(
    ("ways", "shots", "clean", "augmented"), [(5, 1, 38.1, 28.6), (5, 5, 58.8, 35.6), (20, 1, 19.6, 10.3)]
)
def test_nearest_neighbours_of_omniglot_reach_the_known_floors(characters, ways, shots, clean, augmented):
    few = 20 // ways  # with more ways a task says more
    for view, known, interval, steps in ((None, clean, 1.0, 6 * few), (Augmentation(), augmented, 1.3, 5 * few)):
        episodes = Episodes(characters, ways, shots, queries=5, tasks_per_step=20, query_view=view)
        mean, half_width = accuracy(episodes, steps)
        assert abs(mean - known) < np.hypot(interval, half_width), (view, mean, half_width)


def test_augmentation_makes_glyphs_hard_but_not_hopeless():
    clean, flips, augmented = (
        accuracy(digit_episodes(queries=5, tasks_per_step=20, query_view=view)[2], 15)[0]
        for view in (None, FLIPS, Augmentation())
    )
    assert clean > 65 and augmented < flips < 55 and 30 < augmented < 45  # chance: 20
