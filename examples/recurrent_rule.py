"""A new rule in eleven lines, trained on few-shot regression."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import mutatis


class Recurrent(mutatis.AbstractRule):
    """Folds examples into the hidden state of a GRU (RL^2, Duan et al. 2016)."""

    cell: eqx.nn.GRUCell

    def init(self, model):
        return jnp.zeros(self.cell.hidden_size)

    def update(self, model, state, context, *, key):
        return jax.lax.scan(lambda h, example: (self.cell(mutatis.ravel(example), h), None), state, context)[0]

    def bind(self, model, state):
        return mutatis.Conditioned(model, state)


def sample_tasks(key):  # 32 lines of random slope: 10 labelled points to adapt to, 10 others to be judged on
    slope_key, x_key = jax.random.split(key)
    slope, x = jax.random.normal(slope_key, (32, 1, 1)), jax.random.normal(x_key, (32, 20, 1))
    x, y = jnp.split(x, 2, axis=1), jnp.split(slope * x, 2, axis=1)
    return mutatis.Task((x[0], y[0]), (x[1], y[1]), jnp.zeros(32, int))


squared_error = lambda model, query: jnp.mean((model(query[0]) - query[1]) ** 2)
cell_key, model_key, key = jax.random.split(jax.random.key(0), 3)
model = mutatis.nn.mlp((1 + 32, 64, 1), key=model_key)
learner = mutatis.Learner(model, Recurrent(eqx.nn.GRUCell(2, 32, key=cell_key)))
state = mutatis.outer_init(learner, mutatis.Average(), optax.adam(1e-2), num_groups=1, key=key)
learner, state, history = mutatis.outer_scan(learner, state, sample_tasks, steps=400, objective=squared_error)
print(f"error before training {history.losses[0].mean():.2f}, after {history.losses[-20:].mean():.3f}")
