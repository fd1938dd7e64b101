"""Source moments that fit the final weights."""

from collections.abc import Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp

from mutatis._outer import TASKS
from mutatis._rule import Learner
from mutatis._types import Key
from mutatis.rules import BatchMoments
from mutatis.shift._sampling import GroupSampler


@eqx.filter_jit
def measure_source(learner: Learner, samplers: Sequence[GroupSampler], *, steps: int, key: Key) -> Learner:
    """The learner whose source moments are those of training tasks under its present weights.

    The moving average that training leaves lags behind the weights; at a constant learning rate that costs a model used
    with it several points of accuracy, and more in rare groups. Moments are sums, so those of many tasks are
    measured one after the other and added (Wu & Johnson 2021, section 3).

    - `samplers`: draw the tasks of one step, as in training; each context size counts by its rows.
    - `steps`: how many steps' tasks are looked at, of each sampler.
    - `key`: consumed.

    A learner whose rule is not `BatchMoments` is returned as it is.
    """
    rule, model = learner.rule, learner.model
    if not isinstance(rule, BatchMoments):
        return learner

    def measure(sample_tasks, step_key):
        sample_key, rule_key = jax.random.split(step_key)
        contexts = sample_tasks(sample_key).context
        keys = jax.random.split(rule_key, jax.tree.leaves(contexts)[0].shape[0])
        update = lambda context, key: rule.update(model, rule.init(model), context, key=key)[1]
        return jax.tree.map(lambda leaf: jnp.sum(leaf, 0), jax.vmap(update, axis_name=TASKS)(contexts, keys))

    keys = jax.random.split(key, (len(samplers), steps))
    seen = [jax.lax.map(partial(measure, sampler), own) for sampler, own in zip(samplers, keys, strict=True)]
    return rule.replace_source(learner, jax.tree.map(lambda *parts: jnp.concatenate(parts), *seen))
