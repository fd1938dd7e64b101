"""Problems of known symmetry: their second moments, their true spaces, and their place in the training loop."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

import mutatis
from mutatis.nn import PerExample
from mutatis.symmetry import (
    GroupConvolution,
    ImageProblem,
    LinearProblem,
    MatrixProblem,
    bank_problem,
    convolution_problem,
    equivariant_basis,
    group_problem,
    image_action,
    lifting_bank,
    patch_problems,
    regular,
    set_problem,
    shift,
    trivial,
)
from mutatis.symmetry._normal import standard_normal

KEY = jax.random.key(0)
SCARCE = patch_problems(support=2, query=3, dtype=jnp.float64)
PROBLEMS = {f"rank {r}": LinearProblem(r, key=jax.random.key(r), tasks_per_step=4) for r in (1, 2, 5)}
PROBLEMS |= SCARCE
PROBLEMS |= {
    "rot8": ImageProblem(8, size=6, query=2, tasks_per_step=2),
    "rot8 flip": ImageProblem(8, flip=True, size=6, query=2, tasks_per_step=2),
    "C6 bank": bank_problem(6, fields=1),
    "sets": set_problem(4, inputs=2, outputs=3),
    "circular": convolution_problem(shift(10), fields=1, support=3),
    "invariant": group_problem(image_action(3), trivial(image_action(3).group, 2)),
    "no symmetry": MatrixProblem(np.eye(12), (3, 4)),
}
RANKS = {"rank 1": 3, "rank 2": 6, "rank 5": 15, "rot8": 18, "rot8 flip": 18, "C6 bank": 6, "sets": 12}
RANKS |= {"bank C8": 18, "bank D8": 18, "pixel C4": 27, "pixel D4": 27, "ring C8": 27, "ring D8": 27}
RANKS |= {"circular": 10, "invariant": 6, "no symmetry": 12}
each_problem = pytest.mark.parametrize("name", PROBLEMS)


@pytest.mark.parametrize("size", [1_000_000, 7])
def test_fast_normal_numbers_are_normal(size):
    numbers = np.asarray(standard_normal(jax.random.key(3), size, jnp.float32))
    assert numbers.shape == (size,)
    assert numbers.dtype == np.float32
    assert scipy.stats.kstest(numbers, "norm").pvalue > 0.01
    if size > 7:
        first, second = np.float64(numbers).reshape(2, -1)  # the two of a pair stand half the vector apart
        deviations = scipy.stats.norm.ppf(1 - 1e-3) / np.sqrt(first.size)
        assert abs(np.mean(first * second)) < deviations
        assert abs(np.mean(first**2 * second**2) - 1) < 8**0.5 * deviations
        assert abs(np.mean(np.float64(numbers) ** 4) - 3) < 96**0.5 * deviations
        assert 4.5 < np.abs(numbers).max() < 6


def test_other_types_get_the_usual_normal_numbers():
    assert jnp.array_equal(standard_normal(KEY, 5, jnp.float64), jax.random.normal(KEY, (5,), jnp.float64))


@each_problem
def test_tasks_have_the_promised_shapes_and_follow_from_the_key(name):
    problem = PROBLEMS[name]
    draw = eqx.filter_jit(problem)
    task = draw(KEY)
    for (x, y), rows in ((task.context, problem.support), (task.query, problem.query)):
        assert x.shape == (problem.tasks_per_step, rows, *problem.input_shape)
        assert y.shape[:2] == x.shape[:2]
        assert y.shape[-1] == problem.shape[0]
        assert x.dtype == y.dtype == problem.factor.dtype
    again, other = draw(KEY), draw(jax.random.key(1))
    assert eqx.tree_equal(task, again)
    assert not eqx.tree_equal(task, other)
    assert task.index.shape == (problem.tasks_per_step,)


@each_problem
def test_the_truth_is_an_orthonormal_basis_of_all_weights(name):
    problem = PROBLEMS[name]
    truth = problem.truth
    assert truth.shape == (problem.shape[0] * problem.shape[1], RANKS[name])
    assert np.allclose(truth.T @ truth, np.eye(RANKS[name]), atol=1e-12)
    weights = np.asarray(eqx.filter_jit(problem.weights)(KEY, 40), np.float64).reshape(40, -1)
    assert np.allclose(weights @ truth @ truth.T, weights, atol=1e-6 * np.abs(weights).max())
    assert np.linalg.matrix_rank(weights, tol=1e-4) == RANKS[name]


@each_problem
def test_the_signal_is_the_mean_squared_output(name):
    problem = PROBLEMS[name]
    weights = eqx.filter_jit(problem.weights)(jax.random.key(5), 4000)
    squared = np.square(np.asarray(weights, np.float64)).sum((1, 2)) / problem.shape[0]
    assert abs(squared.mean() - problem.signal) < 4 * squared.std() / 4000**0.5
    if name.startswith("rank"):
        mixing = np.asarray(problem.mixing, np.float64)
        assert problem.signal == pytest.approx(3 * np.square(mixing).sum() / 68)
    else:
        assert problem.signal == pytest.approx(0.63 if name.startswith("rot8") else 1, rel=1e-6)


@each_problem
def test_outputs_are_the_weights_times_the_inputs(name):
    problem = PROBLEMS[name]
    (x, y), weights = eqx.filter_jit(problem.held_out)(jax.random.key(7), 3)
    assert weights.shape == (3, *problem.shape)
    if len(problem.input_shape) == 3:
        rows = [jax.lax.conv_general_dilated_patches(images[..., 0][:, None], (3, 3), (1, 1), "VALID") for images in x]
        x = jnp.moveaxis(jnp.stack(rows), 2, -1)
        expected = jnp.einsum("toi,trhwi->trhwo", weights, x)
    else:
        expected = jnp.einsum("toi,tri->tro", weights, x)
    assert jnp.allclose(y, expected, rtol=0, atol=3e-6 * jnp.abs(y).max())


@pytest.mark.parametrize("name", ["rank 2", "ring C8", "rot8"])
def test_the_mean_squared_output_of_tasks_is_the_signal_for_context_and_query(name):
    problem = PROBLEMS[name]
    tasks = eqx.filter_jit(eqx.filter_vmap(problem))(jax.random.split(jax.random.key(9), 300))
    for x, y in (tasks.context, tasks.query):
        squared = np.square(np.asarray(y, np.float64)).reshape(-1, y[0, 0].size).mean(1)
        assert abs(squared.mean() - problem.signal) < 4 * squared.std() / squared.size**0.5
        assert abs(np.square(np.asarray(x, np.float64)).mean() - 1) < 4 * (2 / x.size) ** 0.5


def test_rank_one_is_the_same_convolution_everywhere_whatever_the_key():
    problem = LinearProblem(1, key=jax.random.key(11))
    weight = problem.weights(KEY, 1)[0]
    taps = weight[0, :3]
    assert jnp.array_equal(weight, sum(tap * jnp.eye(68, 70, k, dtype=weight.dtype) for k, tap in enumerate(taps)))


def test_locally_connected_filters_are_the_mixed_basis():
    problem = LinearProblem(2, key=jax.random.key(4), inputs=6, dtype=jnp.float64)
    mixing = np.asarray(problem.mixing)
    assert np.allclose(mixing.sum(axis=1), 1)
    z = np.arange(6.0)
    weight = (np.asarray(problem.factor) @ z).reshape(4, 6)
    filters = mixing @ z.reshape(2, 3)
    expected = np.zeros((4, 6))
    for row in range(4):
        expected[row, row : row + 3] = filters[row]
    assert np.allclose(weight, expected, atol=1e-12)


def test_the_same_key_draws_the_same_mixing():
    one, same, other = (LinearProblem(5, key=jax.random.key(k)).mixing for k in (1, 1, 2))
    assert jnp.array_equal(one, same)
    assert not jnp.allclose(one, other)


@each_problem
def test_the_weights_are_equivariant_to_the_symmetry_that_is_claimed(name):
    problem = PROBLEMS[name]
    if problem.symmetry is None:
        assert name.startswith(("rank", "no "))
        return
    action_in, action_out = problem.symmetry
    assert action_in.group == action_out.group
    weights = np.asarray(eqx.filter_jit(problem.weights)(KEY, 2))
    for g in range(action_in.group.order):
        assert np.allclose(action_out.matrix(g) @ weights, weights @ action_in.matrix(g), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["pixel C4", "pixel D4", "ring C8", "ring D8", "sets"])
def test_exact_groups_span_all_equivariant_maps(name):
    basis = equivariant_basis(*PROBLEMS[name].symmetry)
    assert np.sum(np.square(basis.T @ PROBLEMS[name].truth)) / basis.shape[1] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("flip", [False, True])
def test_images_patches_and_the_layer_share_one_bank(flip):
    images, patches = ImageProblem(8, flip=flip, size=5), bank_problem(8, flip=flip)
    bank = lifting_bank(8, flip=flip, fields=3)
    for problem in (images, patches):
        assert np.sum(np.square(bank.T @ problem.truth)) / 18 == pytest.approx(1, abs=1e-9)
    z, x = jax.random.normal(KEY, (1, 18)), jax.random.normal(KEY, (1, 2, 5, 5, 1))
    layer = GroupConvolution(3, flip=flip, key=KEY)
    scale = jnp.linalg.norm(images.factor[:, 0])
    layer = eqx.tree_at(lambda layer: layer.coefficients, layer, z[0].astype(jnp.float32) * scale)
    assert jnp.allclose(images.outputs(z.astype(jnp.float32), x.astype(jnp.float32))[0], layer(x[0]), atol=1e-5)


def test_a_permuted_set_gives_the_permuted_output():
    problem = PROBLEMS["sets"]
    weight = problem.weights(KEY, 1)[0].reshape(3, 4, 2, 4)
    order = np.array([2, 0, 3, 1])
    assert jnp.allclose(weight[:, order][..., order], weight, atol=1e-6)


def test_the_description_is_one_line_of_what_matters():
    assert LinearProblem(2, key=KEY).describe() == (
        "rank 2, locally connected along a line: W 68 x 70, 6 free numbers; 1 support and 19 query examples, "
        "32 tasks a step"
    )
    assert ImageProblem(4).describe().startswith("C4 steerable filters on images of 32 x 32: W 12 x 9, 18 free")


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_description_stands_on_one_line(name):
    assert "\n" not in PROBLEMS[name].describe()
    assert str(RANKS[name]) in PROBLEMS[name].describe()


class Counted(eqx.Module):
    """A problem that counts how often it is traced."""

    problem: mutatis.symmetry.AbstractProblem
    traces: list = eqx.field(static=True)

    def __call__(self, key):
        self.traces.append(None)
        return self.problem(key)


def squared_error(model, data):
    return jnp.mean(jnp.square(model(data[0]) - data[1]))


@pytest.mark.parametrize(
    "make",
    [
        lambda key: LinearProblem(2, key=key, inputs=8, tasks_per_step=3),
        lambda key: convolution_problem(shift(4), fields=2, signal=float(jax.random.uniform(key)), tasks_per_step=3),
    ],
    ids=["line", "group"],
)
def test_another_problem_of_the_same_shape_is_not_another_program(make):
    traces = []
    problems = [Counted(make(jax.random.key(seed)), traces) for seed in (0, 1, 2)]
    out, inputs = problems[0].problem.shape
    layer = eqx.nn.Linear(inputs, out, use_bias=False, dtype=jnp.float32, key=KEY)
    learner = mutatis.Learner(PerExample(layer), mutatis.NoAdaptation())
    optim = optax.sgd(0.01)
    losses = []
    for problem in problems:
        state = mutatis.outer_init(learner, mutatis.Average(), optim, num_groups=1, key=KEY)
        losses.append(mutatis.outer_scan(learner, state, problem, steps=2, objective=squared_error)[2].losses)
    assert len(traces) == 1
    assert losses[0].shape == (2, 3)
    assert not jnp.allclose(losses[0], losses[1])


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda: LinearProblem(0, key=KEY), "rank is 0"),
        (lambda: LinearProblem(1, key=KEY, inputs=3, taps=4), "taps is 4; pass a positive rank and 1 to 3"),
        (lambda: LinearProblem(1, key=KEY, support=0), "support is 0"),
        (lambda: ImageProblem(query=0), "query is 0"),
        (lambda: ImageProblem(size=2), "size is 2"),
        (lambda: set_problem(3, tasks_per_step=0), "tasks_per_step is 0"),
        (lambda: MatrixProblem(np.eye(5), (2, 3)), r"matrix has shape \(5, 5\); pass 6 rows"),
        (lambda: MatrixProblem(np.zeros((6, 1)), (2, 3)), "not all of them zero"),
        (lambda: MatrixProblem(np.eye(9), (3, 3), symmetry=(shift(3), shift(3))), "symmetry does not hold"),
        (lambda: MatrixProblem(np.eye(6), (2, 3), symmetry=(shift(3), regular(shift(3).group))), "W is 2 x 3"),
    ],
)
def test_mistakes_are_refused_by_name(make, cause):
    with pytest.raises(ValueError, match=cause):
        make()
