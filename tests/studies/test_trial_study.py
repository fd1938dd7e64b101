"""Studies of trials from start to end, at a size for tests."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis import rl
from mutatis.rl.families import PerfectExplorer
from mutatis.studies import SerialExecutor, StoppedError, run_study, train
from mutatis.studies._run import run_job
from mutatis.studies._study import Job
from mutatis.studies.trials._points import ArcSearcher, to_origin
from mutatis.studies.trials._recipes import (
    TRIAL_STUDIES,
    BanditRL2,
    BusDream,
    BusRL2,
    PointMaml,
    PointPearl,
    PointRL2,
    SparsePointDream,
    SparsePointPearl,
    SparsePointRL2,
    SparsePointVariBAD,
    TabularRL2,
)
from mutatis.studies.trials._study import EpisodicStudy, TrialMethod
from mutatis.studies.trials._worlds import WorldStudy

JUDGED: dict[str, Any] = {"seeds": 1, "test_trials": 40, "progress_trials": 20, "evaluations": 2, "pictures": 2}


class Guesses(rl.AbstractFamily):
    """A task is a number; an episode is three guesses, each paid 1 if it is right, and it succeeds then."""

    observation_size: int = eqx.field(static=True, default=1)
    actions: rl.Discrete = eqx.field(static=True, default=rl.Discrete(4))
    horizon: int = eqx.field(static=True, default=3)

    def sample(self, key, count):
        return jax.random.randint(key, (count,), 0, 4)

    def begin(self, task, key):
        del task, key
        return (), jnp.ones(1)

    def move(self, task, place, action, key):
        del key
        right = action == task
        return rl._family.Move(place, jnp.ones(1), right.astype(float), info={"success": right})


class Counted(NamedTuple):
    guess: jax.Array
    episode: jax.Array


class Counts(eqx.Module):
    """Guesses `first` in the first episode, `first + 1` in the second ... whatever it is paid."""

    first: jax.Array

    def start(self, worlds):
        return Counted(jnp.zeros(worlds, jnp.int32), jnp.full((), -1))

    def begin(self, memory, key):
        del key
        return memory._replace(episode=memory.episode + 1)

    def act(self, memory, observation, key):
        del observation, key
        return memory, (memory.guess + memory.episode + self.first) % 4

    def learn(self, memory, observation, action, shown):
        del observation, action, shown
        return memory


@dataclass(frozen=True)
class Counter:
    """Learns to begin one later after each step; its key is drawn from at each."""

    environment_steps_per_step: int = 10

    def init(self, key):
        return {"first": jnp.zeros((), jnp.int32), "key": key, "noise": jnp.zeros(())}

    def advance(self, state, steps):
        losses = []
        for _ in range(steps):
            key, noise_key = jax.random.split(state["key"])
            state = {"first": state["first"] + 1, "key": key, "noise": jax.random.normal(noise_key)}
            losses.append(float(state["noise"]))
        return state, np.array(losses)

    def player(self, state):
        return Counts(state["first"])

    def steps_done(self, state):
        return int(state["first"])


@dataclass(frozen=True, kw_only=True)
class GuessStudy(EpisodicStudy):
    """Guesses."""

    name: ClassVar[str] = "guesses"
    rows: ClassVar[tuple[TrialMethod, ...]] = (TrialMethod("counter", lambda study, family: Counter(), (rl.RL2,)),)
    methods: tuple[str, ...] = ("counter",)
    episodes: int = 3
    environment_steps: int = 85

    def family(self):
        return Guesses()

    def test_tasks(self):
        return np.arange(4)

    def about(self):
        return "Guesses."


SMALL = GuessStudy(**JUDGED, steps_per_dispatch=1)


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_rows_are_the_means_of_each_episode(tmp_path):
    rows = run_study(SMALL, tmp_path, executor=SerialExecutor())
    returns = {row["group"]: row["value"] for row in rows if row["metric"] == "return"}
    success = {row["group"]: row["value"] for row in rows if row["metric"] == "success"}
    # Four tasks take turns, a guess is right in one of them, and three guesses are made.
    assert returns == {"episode 1": 0.75, "episode 2": 0.75, "episode 3": 0.75, "whole trial": 2.25}
    assert success == {"episode 1": 0.25, "episode 2": 0.25, "episode 3": 0.25}
    assert [row["support"] for row in rows if row["metric"] == "success"] == [0, 1, 2]
    assert {(row["n"], row["split"], row["environment steps"]) for row in rows} == {(40, "test", 80)}
    judged = [line for line in lines(tmp_path) if "score" in line]
    assert [line["environment steps"] for line in judged] == [40, 80]
    assert judged[-1]["success by episode"] == [0.25] * 3 and judged[-1]["score"] == 0.75


def test_the_tasks_take_turns_and_each_counts_the_same():
    found = SMALL.judge(40, Counts(jnp.array(0)))
    assert found.returns.tolist() == [[3, 0, 0], [0, 3, 0], [0, 0, 3], [0, 0, 0]] * 10
    assert found.success.tolist() == (found.returns > 0).tolist()
    np.testing.assert_array_equal(SMALL.judge(20, Counts(jnp.array(0))).returns, found.returns[:20])
    assert found.first.reward.shape == (2, 3, 3)


def test_a_study_that_was_stopped_ends_with_the_same_files(tmp_path):
    run_study(SMALL, tmp_path / "whole", executor=SerialExecutor())

    class StopsAtOnce:
        """As Ctrl-C during the first dispatch does."""

        def submit(self, function, *arguments):
            assert function is run_job
            asked = []
            study, directory, job, _ = arguments

            class Stop:
                def exists(self):
                    asked.append(1)
                    return len(asked) > 3

            return SerialExecutor().submit(function, study, directory, job, Stop())

    with pytest.raises(StoppedError, match="mutatis resume"):
        run_study(SMALL, tmp_path / "halves", executor=StopsAtOnce())
    assert 0 < len(lines(tmp_path / "halves")) < 8
    run_study(SMALL, tmp_path / "halves", executor=SerialExecutor())
    for name in ("results.json", "metrics.jsonl"):
        assert (tmp_path / "halves" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


LEARNERS = {
    "RL2": SparsePointRL2(
        **JUDGED, environment_steps=4 * 8 * 40, episodes=2, trials=8, epochs=1, minibatches=2, width=8
    ),
    "VariBAD": SparsePointVariBAD(
        **JUDGED, environment_steps=4 * 8 * 40, episodes=2, trials=8, epochs=1, minibatches=2, width=8, decoded=2
    ),
    "MAML": PointMaml(**JUDGED, environment_steps=4 * 3 * 2 * 40, episodes=3, tasks_per_step=3, width=8, depth=1),
    "PEARL": PointPearl(
        **JUDGED,
        environment_steps=4 * 80 * 40,
        episodes=2,
        prior_episodes=1,
        updates=2,
        batch=4,
        context=4,
        width=8,
        depth=1,
    ),
    "DREAM": BusDream(
        **JUDGED, methods=("DREAM",), environment_steps=4 * 8 * 40, explored=8, updates=2, batch=4, width=8, latent=4
    ),
}


@pytest.mark.parametrize("method", LEARNERS)
def test_every_learner_goes_on_to_the_same_bits(method, tmp_path):
    study = dataclasses.replace(LEARNERS[method], steps_per_dispatch=1)
    trainer = study.trainer(study.data(0), Job(method, 0))
    assert trainer.schedule.steps == 4
    whole = train(trainer, tmp_path / "whole")
    answers = iter([False, False, True])
    with pytest.raises(StoppedError):
        train(trainer, tmp_path / "halves", should_stop=lambda: next(answers))
    resumed = train(trainer, tmp_path / "halves")
    leaves = zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True)
    assert all(np.array_equal(_plain(a), _plain(b)) for a, b in leaves)
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "halves/metrics.jsonl").read_bytes()
    assert trainer.environment_steps(trainer.agent.steps_done(resumed)) == study.environment_steps
    outcome = study.outcome(study.data(0), resumed, Job(method, 0))
    shown = min(study.episodes, 4)
    assert outcome.gallery["trial_paths"].shape == (2, shown, 21, 2)
    assert ("trial_believed" in outcome.gallery) == (method in ("PEARL", "VariBAD"))
    if "trial_believed" in outcome.gallery:
        assert outcome.gallery["trial_believed"].shape == (2, shown, 24, 2)
    steps = np.abs(np.diff(outcome.gallery["trial_paths"], axis=2))
    if isinstance(study, BusRL2):  # untrained, the best action may be to wait
        assert steps.max() <= 8
    else:
        assert 0 < steps.max() <= 0.1 + 1e-6
    returns = {row["group"]: row["value"] for row in outcome.rows if row["metric"] == "return"}
    episodes = [returns[f"episode {k + 1}"] for k in range(study.episodes)]
    assert returns["whole trial"] == pytest.approx(sum(episodes), rel=1e-5)


def _plain(leaf):
    is_key = isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf)) if is_key else np.asarray(leaf) if hasattr(leaf, "shape") else leaf


def test_dream_explores_points_in_nine_ways_beside_those_who_walk_freely(tmp_path):
    small = {"explored": 8, "updates": 2, "batch": 4, "width": 8, "latent": 4}
    study = SparsePointDream(**JUDGED, **small, environment_steps=2 * 8 * 40)
    trainer = study.trainer(study.data(0), Job("DREAM", 0))
    state = train(trainer, tmp_path)
    outcome = study.outcome(study.data(0), state, Job("DREAM", 0))
    assert {row["group"] for row in outcome.rows} == {"episode 1", "episode 2", "whole trial"}
    steps = np.abs(np.diff(outcome.gallery["trial_paths"], axis=2))
    np.testing.assert_allclose(steps, 0.1 * np.round(steps / 0.1), atol=1e-6)
    free = dataclasses.replace(study, compass=False)
    assert study.references() == free.references() and "one of nine actions" in study.about()


def test_references_of_bandits():
    """The numbers of the dynamic programme, and of Thompson sampling at many trials, are published in many places."""
    study = BanditRL2(arms=2, pulls=10, test_trials=4_000)
    found = {one["name"]: one for one in study.references()}
    assert found["Bayes optimum"]["value"] == pytest.approx(6.022, abs=5e-4) and found["Bayes optimum"]["is_best"]
    assert found["random arms"]["value"] == 5 and found["random arms"]["is_nothing"]
    assert found["knows the arms"]["by_episode"] == [2 / 3] * 10
    # The deviation of a trial is below 3, so that of 4,000 below .05.
    assert found["Gittins indices"]["value"] == pytest.approx(6.02, abs=0.15)
    assert found["Thompson sampling"]["by_episode"][0] == pytest.approx(0.5, abs=0.03)
    assert sum(found["Thompson sampling"]["by_episode"]) == pytest.approx(found["Thompson sampling"]["value"])
    assert "Bayes optimum" not in {one["name"] for one in BanditRL2(pulls=20, test_trials=10).references()}
    # A player of the first arm gets what that arm pays.
    chances = np.asarray(study.test_tasks())[:, 0]
    first = rl.Memoryless(lambda observation, key: jnp.zeros(observation.shape[0], jnp.int32))
    assert study.judge(4_000, first).returns.mean() == pytest.approx(chances.mean(), abs=0.01)


def test_references_of_points():
    """Oyster's evaluation goals: -4.62 at best, -14.36 by going to the middle; 13.38 on the half circle."""
    dense = {one["name"]: one for one in PointRL2().references()}
    assert dense["knows the goal"]["value"] == pytest.approx(-4.62, abs=0.01)
    assert dense["goes to the middle"]["value"] == pytest.approx(-14.36, abs=0.3)
    sparse = {one["name"]: one for one in SparsePointRL2(test_trials=40).references()}
    assert sparse["knows the goal"]["value"] == pytest.approx(13.38, abs=0.01)
    assert sparse["goes straight up"]["value"] == pytest.approx(0.51, abs=0.01)


def test_the_searcher_finds_every_goal_within_three_episodes_and_goes_straight_then():
    study = SparsePointRL2(episodes=5, test_trials=20)
    returns = study.judge(20, ArcSearcher(study.radius)).returns
    assert (returns[:, 0] == 0).any() and (returns[:, 2:] > 8).all()
    np.testing.assert_allclose(returns[:, 3], returns[:, 4], rtol=1e-6)
    np.testing.assert_allclose(to_origin(jnp.array([[0.05, -0.3]]), jax.random.key(0)), [[-0.5, 3]])


def test_references_of_processes():
    study = TabularRL2(test_trials=200, states=2, actions=2, horizon=5, episodes=8)
    known, sampling, random = study.references()
    assert known["value"] == pytest.approx(8 * known["by_episode"][0])
    assert random["value"] < sampling["value"] < known["value"]
    assert not study.published() and TabularRL2().published()[0]["value"] == 156.2


def test_grids_are_explored_and_drawn():
    """The numbers of the exact search: .8 with known buses, .3 without having explored."""
    study = BusRL2(test_trials=48, pictures=24)
    known, explorer, unexplored = study.references()
    assert known["value"] == pytest.approx(0.8) and unexplored["value"] == pytest.approx(0.3, abs=1e-6)
    assert explorer["by_episode"][0] < 0 and explorer["value"] == pytest.approx(0.8, abs=1e-6)
    player = PerfectExplorer(study.family())
    drawn = study.picture(study.test_tasks(), study.judge(48, player).first)
    paths, links = drawn["trial_paths"], drawn["trial_links"]
    assert paths.shape == (24, 2, 21, 2) and (paths[:, :, 0] == 4).all()
    np.testing.assert_array_equal(paths[:, 1, -1], drawn["trial_goals"][:, 1])
    # Who walks makes one step at most, and who makes more rides a bus of the task.
    for path, pairs in zip(paths.reshape(24, 42, 2), links.tolist(), strict=True):
        rides = [
            [a, b]
            for a, b in zip(path.tolist(), path.tolist()[1:], strict=False)
            if np.abs(np.subtract(a, b)).sum() > 1
        ]
        buses = [pair for pair in rides if pair[1] != [4, 4]]  # the second episode begins at (4, 4)
        assert buses and all(pair in pairs or pair[::-1] in pairs for pair in buses)


def test_closing_lines_name_the_score_and_what_it_is_compared_with(tmp_path):
    study = BanditRL2(arms=2, pulls=2, seeds=1, test_trials=100, methods=("RL2",), environment_steps=16_384)
    common = {"seed": 0, "metric": "return", "environment steps": 16_000, "support": 0}
    rows = [common | {"method": "RL2", "group": "whole trial", "value": 1.04}]
    said = study.closing(rows).splitlines()
    assert said[0] == "The return of the whole trial:"
    # Two pulls of two arms: 1/2 + 2/3 * 1/2 + 1/2 * 1/2 = 13/12 at best, 1 by chance.
    assert said[1] == "  RL2: 1.04, 48.0% of the way from nothing known to the best there is (16 k environment steps)"
    assert "  Bayes optimum: 1.08 (exact)" in said


def test_settings_that_cannot_be_are_refused_before_anything_is_done():
    with pytest.raises(ValueError, match="methods has no 'RL3'; there are: RL2, RL2, attention"):
        BanditRL2(methods=("RL3",))
    with pytest.raises(ValueError, match="pulls is 0; pass a positive number"):
        BanditRL2(pulls=0)
    with pytest.raises(ValueError, match="environment_steps is 100; one step of learning alone takes 10240"):
        BanditRL2(environment_steps=100).data(0)
    with pytest.raises(ValueError, match="episodes is 1; MAML adapts to all but the last"):
        PointMaml(episodes=1).data(0)
    with pytest.raises(ValueError, match="episodes is 20, of which 20 are prior_episodes"):
        SparsePointPearl(episodes=20).data(0)
    with pytest.raises(ValueError, match=r"least_std is 2 and std 0\.6; choose 0 < least_std <= std"):
        PointMaml(least_std=2).data(0)
    with pytest.raises(ValueError, match="radius is -1, and nothing would ever be paid"):
        SparsePointPearl(radius=-1).data(0)
    with pytest.raises(ValueError, match="compass is True, and PEARL acts by numbers"):
        SparsePointPearl(compass=True).data(0)
    with pytest.raises(ValueError, match="compass is False, and DREAM takes one of a few actions"):
        SparsePointDream(compass=False).data(0)


def test_what_settings_ask_for_is_cited():
    cited = lambda **settings: "".join(PointMaml(**settings).citations().values())
    assert "kao2022zeroing" in cited() and "kao2022zeroing" not in cited(zeroed_head=False)
    assert "stadie2018" in cited(exploration=0.1) and "stadie2018" not in cited()


@pytest.mark.parametrize("kind", TRIAL_STUDIES, ids=lambda kind: kind.name)
def test_every_study_says_what_it_is(kind):
    study = kind()
    assert set(study.citations()) >= set(study.methods) and all("@" in text for text in study.citations().values())
    if isinstance(study, WorldStudy):
        pytest.importorskip("mutatis.worlds", reason="the simulator is not installed")
    assert study.about().endswith(".")
