"""The worlds as pure functions do what the vector environment does."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

pytest.importorskip("metaworld", reason="the models are not installed: pip install 'mutatis[worlds]'")

from world_tools import actions, run_python

from mutatis.worlds import TASKS, _models, make

NAMES = ("reach", "stick-push", "door-lock", "bin-picking", "push")


def rolled(functional, acts, seed=0):
    """The state and observation after the reset, and all timesteps, stacked, out of one compiled scan."""
    state, observation = jax.jit(functional.reset)(jax.random.key(seed))
    last, steps = jax.jit(lambda state, acts: jax.lax.scan(functional.step, state, acts))(state, jnp.asarray(acts))
    return state, observation, last, steps


def goals_of(states):
    return np.concatenate([state.goal for state in states])


@pytest.mark.parametrize(
    "options",
    [{}, {"one_hot": True, "observe_goal": False}, {"measure_touch": True, "threads": 3}],
    ids=["plain", "one-hot, hidden", "three threads"],
)
def test_the_functions_do_what_the_vector_environment_does(options):
    options = {"worlds_per_task": 2, "horizon": 9} | options
    acts = actions(21, 2 * len(NAMES))
    functional = make(NAMES, **options).functional()
    state, observation, _, steps = rolled(functional, acts)
    worlds = make(NAMES, autoreset_mode="Disabled", **options)
    expected, _ = worlds.reset(options={"goals": goals_of(state)})
    np.testing.assert_array_equal(functional.task_index, worlds.task_index)
    np.testing.assert_allclose(observation, expected, rtol=0, atol=1e-12)
    for k, act in enumerate(acts):
        step = jax.tree.map(lambda rows, k=k: np.asarray(rows[k]), steps)
        expected, reward, terminated, truncated, info = worlds.step(act)
        np.testing.assert_allclose(step.last_observation, expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(step.reward, reward, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(step.terminated, terminated)
        np.testing.assert_array_equal(step.truncated, truncated)
        for key, value in step.info.items():
            np.testing.assert_allclose(value.astype(float), info[key].astype(float), rtol=1e-12, atol=1e-12)
        if truncated.any():
            assert truncated.all() and k % 9 == 8
            following = jax.tree.map(lambda rows, k=k: np.asarray(rows[k + 1]), steps) if k + 1 < len(acts) else None
            assert following is not None
            expected, _ = worlds.reset(options={"goals": following.info["goal"]})
        np.testing.assert_allclose(step.observation, expected, rtol=0, atol=1e-12)


def test_steps_one_by_one_are_those_of_a_scan_and_are_traced_once():
    functional = make(["reach", "drawer-open"], worlds_per_task=2, horizon=3).functional()
    acts = actions(8, 4)
    state, _, last, steps = rolled(functional, acts)
    traces = []

    @jax.jit
    def step(state, act):
        traces.append(1)
        return functional.step(state, act)

    for k, act in enumerate(acts):
        state, moment = step(state, jnp.asarray(act))
        for one, other in zip(jax.tree.leaves(moment), jax.tree.leaves(steps), strict=True):
            np.testing.assert_array_equal(one, other[k])
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(last), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert len(traces) == 1


def test_steps_that_are_not_compiled_give_the_same():
    functional = make("reach", worlds_per_task=2, horizon=2).functional()
    acts = actions(3, 2)
    _, _, _, steps = rolled(functional, acts)
    state, _ = functional.reset(jax.random.key(0))
    for k, act in enumerate(acts):
        state, moment = functional.step(state, jnp.asarray(act))
        np.testing.assert_allclose(moment.observation, steps.observation[k], rtol=0, atol=1e-12)
        np.testing.assert_allclose(moment.reward, steps.reward[k], rtol=1e-12)


def test_a_state_is_a_value_that_can_be_returned_to():
    functional = make("push", worlds_per_task=2).functional()
    step = jax.jit(functional.step)
    start, _ = functional.reset(jax.random.key(0))
    one, other = (jnp.asarray(act) for act in actions(2, 2))
    first = step(start, one)[1].observation
    assert not np.array_equal(step(start, other)[1].observation, first)
    np.testing.assert_array_equal(step(start, one)[1].observation, first)


def test_worlds_that_are_started_at_goals_and_act_without_a_new_beginning():
    functional = make("push", worlds_per_task=2, horizon=2, threads=2).functional()
    reference = make("push", worlds_per_task=5, horizon=2, autoreset_mode="NextStep", threads=2)
    act = jax.jit(functional.act)
    for goals in ([7], [3, 1, 4, 1, 5]):
        state, seen = functional.start(jnp.array(goals))
        padded = np.resize(goals, 5)
        expected, _ = reference.reset(options={"goals": padded})
        np.testing.assert_allclose(seen, expected[: len(goals)], rtol=0, atol=1e-12)
        for k, moves in enumerate(actions(3, 5)):
            state, moment = act(state, jnp.asarray(moves[: len(goals)]))
            np.testing.assert_array_equal(moment.observation, moment.last_observation)
            assert moment.truncated.all() == (k > 0) and moment.info["goal"].tolist() == goals
            if k < 2:
                observation, reward, *_ = reference.step(moves)
                np.testing.assert_allclose(moment.observation, observation[: len(goals)], rtol=0, atol=1e-12)
                np.testing.assert_allclose(moment.reward, reward[: len(goals)], rtol=1e-12, atol=1e-12)
    pair = make(["reach", "push"]).functional()
    with pytest.raises(ValueError, match="goals: 3 of them cannot be shared evenly by 2 tasks"):
        pair.start(jnp.zeros(3, int))


def test_every_goal_is_met_once_before_any_twice():
    worlds = make(["reach", "push"], worlds_per_task=6, horizon=1)
    worlds.set_goals([vectors[:7] for vectors in worlds.vectors])
    state, _, _, steps = rolled(worlds.functional(), np.zeros((20, 12, 4)))
    np.testing.assert_array_equal(steps.info["goal"][0], goals_of(state))
    met = np.concatenate([steps.info["goal"], np.full((1, 12), -1)]).reshape(3, 7, 12)[:, :7]
    for block in (met[0], met[1]):
        np.testing.assert_array_equal(np.sort(block, axis=0), np.tile(np.arange(7)[:, None], 12))
    assert len({tuple(order) for order in met[0].T.tolist()}) > 6
    assert steps.truncated.all()


def test_keys_decide_the_goals():
    functional = make("reach", worlds_per_task=8).functional()
    one, again, other = (goals_of(functional.reset(jax.random.key(k))[0]) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert len(set(one.tolist())) > 3


def test_redraw_goals_off_keeps_the_goal():
    functional = make("reach", worlds_per_task=3, horizon=1, redraw_goals=False).functional()
    state, observation, _, steps = rolled(functional, np.zeros((4, 3, 4)))
    np.testing.assert_array_equal(steps.info["goal"], np.tile(goals_of(state), (4, 1)))
    np.testing.assert_array_equal(steps.observation, np.broadcast_to(observation, (4, 3, 39)))


def test_success_ends_an_episode_if_asked_to():
    functional = make("reach", worlds_per_task=2, horizon=60, terminate_on_success=True).functional()

    def act(carry, _):
        state, seen = carry
        target, hand = seen[:1, -3:], seen[:1, :3]
        action = jnp.zeros((2, 4)).at[:1, :3].set(jnp.clip(10 * (target - hand), -1, 1))
        state, moment = functional.step(state, action)
        return (state, moment.observation), moment

    start = jax.jit(functional.reset)(jax.random.key(0))
    _, steps = jax.jit(lambda start: jax.lax.scan(act, start, length=70))(start)
    (ends,) = np.nonzero(steps.terminated[:, 0])
    assert len(ends) and not steps.truncated[: ends[0] + 1, 0].any()
    np.testing.assert_array_equal(steps.terminated, steps.info["success"])
    assert steps.truncated[59, 1] and not steps.terminated[:, 1].any()
    assert not np.array_equal(steps.observation[ends[0], 0], steps.last_observation[ends[0], 0])


def test_a_world_whose_physics_diverges_ends_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the simulator writes a log
    functional = make("pick-place", worlds_per_task=3).functional()
    step = jax.jit(functional.step)
    (state,), before = functional.reset(jax.random.key(0))
    act = jnp.asarray(actions(1, 3)[0])
    physics = np.array(state.physics["physics"])
    physics.view(np.float64)[1, 1 + _models.load(TASKS["pick-place"].model).nq] = 1e12
    shaken = state._replace(physics=state.physics | {"physics": jnp.asarray(physics)})
    (_, expected), (next_state, moment) = step([state], act), step([shaken], act)
    others = np.array([True, False, True])
    for one, other in zip(jax.tree.leaves(moment), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one[others], other[others])
    np.testing.assert_array_equal(moment.info["unstable"], ~others)
    np.testing.assert_array_equal(moment.truncated, ~others)
    assert moment.reward[1] == 0 and not moment.terminated.any() and not moment.info["success"].any()
    np.testing.assert_array_equal(moment.last_observation[1, :18], before[1, :18])
    assert goals_of(next_state)[1] != goals_of([state])[1]
    assert np.isfinite(step(next_state, act)[1].observation).all()


PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_numpy_rank_promotion", "raise")
from mutatis.worlds import make
from world_tools import actions
names = ["reach", "stick-push", "peg-insert-side", "dial-turn", "shelf-place"]
functional = make(names, worlds_per_task=2, horizon=6).functional()
acts = actions(10, 10)
state, first = jax.jit(functional.reset)(jax.random.key(0))
_, steps = jax.jit(lambda state, acts: jax.lax.scan(functional.step, state, acts))(state, jnp.asarray(acts))
for leaf in (first, steps.observation, steps.last_observation, steps.reward, steps.info["in_place_reward"]):
    assert leaf.dtype == jnp.float32, leaf.dtype
worlds = make(names, worlds_per_task=2, autoreset_mode="Disabled")
worlds.reset(options={"goals": np.concatenate([each.goal for each in state])})
for k in range(6):
    observation, reward, *_ = worlds.step(acts[k])
    np.testing.assert_allclose(steps.last_observation[k], observation, rtol=0, atol=1e-6)
    np.testing.assert_allclose(steps.reward[k], reward, rtol=1e-3, atol=1e-4)
print("fine")
"""


def test_in_32_bits_the_physics_stays_in_64():
    folder = __file__.rpartition("/")[0]
    answer = run_python(PROGRAM, cwd=folder)
    assert (answer.stdout.strip(), answer.stderr) == ("fine", "")


@pytest.mark.parametrize("worlds", [1, 70])
def test_any_number_of_worlds(worlds):
    made = make("faucet-open", worlds_per_task=worlds, threads=2)
    made.set_goals([made.vectors[0][:3]])
    _, observation, _, steps = rolled(made.functional(), actions(3, worlds))
    assert observation.shape == (worlds, 39) and steps.observation.shape == (3, worlds, 39)
    goals = np.asarray(steps.info["goal"][0])
    for goal in range(3):  # worlds of one goal that do the same see the same
        assert len(np.unique(np.asarray(observation)[goals == goal], axis=0)) <= 1


def test_a_step_in_two_parts_is_a_step():
    functional = make(["reach", "push"], worlds_per_task=2, horizon=2, threads=1).functional()
    acts = jnp.asarray(actions(5, 4))
    state, _, last, steps = rolled(functional, acts)

    def in_two_parts(state, act):
        return functional.arrive(state, act, functional.depart(state, act), act)[0]

    ended, moments = jax.jit(lambda state, acts: jax.lax.scan(in_two_parts, state, acts))(state, acts)
    jax.tree.map(np.testing.assert_array_equal, (ended, moments), (last, steps))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_several_steps_can_be_under_way_at_once(threads):
    functional = make(["reach", "push"], worlds_per_task=2, threads=threads).functional()
    state, _ = functional.reset(jax.random.key(0))
    states = jax.tree.map(lambda x: jnp.stack([x] * 4), state)
    acts = jnp.asarray(actions(4, 4))

    @jax.jit
    @jax.vmap
    def in_two_parts(state, act):
        return functional.arrive(state, act, functional.depart(state, act), act)[0]

    ended, moments = in_two_parts(states, acts)
    for k, act in enumerate(acts):
        expected = jax.jit(functional.step)(state, act)
        jax.tree.map(lambda x, y, k=k: np.testing.assert_array_equal(x[k], y), (ended, moments), expected)


def test_what_is_computed_between_the_parts_of_a_step_does_not_wait_for_the_physics(monkeypatch):
    functional = make("reach", worlds_per_task=2).functional()
    state, _ = functional.reset(jax.random.key(0))
    meanwhile, waited, act = threading.Event(), [], functional.simulator._act

    def slow(*arguments):
        waited.append(meanwhile.wait(60))
        return act(*arguments)

    def work(zero):
        return io_callback(lambda _: meanwhile.set() or np.int32(1), jax.ShapeDtypeStruct((), jnp.int32), zero)

    @jax.jit
    def run(state, act):
        underway = functional.depart(state, act)
        return functional.arrive(state, act, underway, work(underway.zero))

    monkeypatch.setattr(functional.simulator, "_act", slow)
    jax.block_until_ready(run(state, jnp.zeros((2, 4))))
    assert waited == [True]
