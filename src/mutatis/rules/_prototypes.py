"""Adaptation of the last layer to prototypes of the classes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mutatis._citation import cites
from mutatis._references import IWASAWA_2021
from mutatis._rule import AbstractRule
from mutatis._types import Key, Tree
from mutatis.rules._features import head_of, inputs_of, unit


class Supports(eqx.Module):
    """The features that stand for each class, by rising entropy (in nats) of the prediction made from them."""

    features: Float[Array, "classes places features"]
    entropy: Float[Array, "classes places"]

    @property
    def filled(self) -> Bool[Array, "classes places"]:
        """Which places hold a support: an empty one has infinite entropy."""
        return jnp.isfinite(self.entropy)


@cites(IWASAWA_2021)
class Prototypes(AbstractRule):
    r"""Replaces the last layer by prototypes of the classes (T3A, Iwasawa & Matsuo 2021, algorithm 1).

    With features z = f(x), source prediction p = softmax(head(z)), label the likeliest class, and S_c the M features
    labelled c of lowest entropy H(p), among which the head's own weight vector starts,

    $$\mu_c = \frac{s_c}{\lVert s_c \rVert}, \quad s_c = \sum_{z \in S_c} \frac{z}{\lVert z \rVert}, \qquad
      \text{logit}_c(x) = z \cdot \mu_c$$

    No gradients, no labels. Labels and entropies come from the source head, so a context in pieces equals the whole,
    in any order.

    - `supports`: M, at least 1; the original tries 1, 5, 20, 50, 100 and all. For "all" give the length of the stream
      plus one: the state has `classes x supports` places from the start.

    The model is an `nn.Classifier`; so is the adapted one, without a bias. A context may be inputs, or a pair whose
    first entry is the inputs.

    **Raises:** `ValueError` if `supports` is not positive, or the model is not an `nn.Classifier`.

    **Deviations:** a class's weight vector starts in that class, as in the paper; the original code files it under the
    class that the head predicts for it, which may leave a class without a prototype. The code's setting for "all" drops
    the last support of every class at each call; nothing is dropped here but the highest entropies.
    """

    supports: int = eqx.field(static=True, default=20)

    def __check_init__(self):
        if self.supports < 1:
            raise ValueError(f"supports is {self.supports}; keep at least one feature for each class.")

    def init(self, model: Any) -> Supports:
        """The head's weight vectors, one for each class."""
        head = head_of(model)
        weights = head.weight.T
        classes, width = weights.shape
        features = jnp.zeros((classes, self.supports, width), weights.dtype).at[:, 0].set(weights)
        entropy = jnp.full((classes, self.supports), jnp.inf, weights.dtype)
        return Supports(features, entropy.at[:, 0].set(_entropy(head(weights))))

    def update(self, model: Any, state: Supports, context: Tree, *, key: Key) -> Supports:
        """The M lowest entropies of each class among the supports and the context's rows."""
        del key
        inputs = inputs_of(context)
        if inputs.shape[0] == 0:
            return state
        features = model.features(inputs)
        logits = model.head(features)
        classes = jnp.arange(logits.shape[1])
        mine = jnp.argmax(logits, axis=-1)[None] == classes[:, None]
        entropy = jnp.where(mine, _entropy(logits)[None], jnp.inf).astype(state.entropy.dtype)
        negative, place = jax.lax.top_k(-jnp.concatenate([state.entropy, entropy], axis=1), self.supports)
        old = jnp.take_along_axis(state.features, jnp.minimum(place, self.supports - 1)[..., None], axis=1, mode="clip")
        new = features[jnp.maximum(place - self.supports, 0)].astype(old.dtype)
        return Supports(jnp.where((place < self.supports)[..., None], old, new), -negative)

    def bind(self, model: Any, state: Supports) -> Any:
        """The classifier whose weights are the prototypes."""
        sums = jnp.sum(jnp.where(state.filled[..., None], unit(state.features), 0), axis=1)
        bias = jnp.zeros_like(model.head.bias)
        return eqx.tree_at(
            lambda m: (m.head.weight, m.head.bias), model, (unit(sums).T.astype(model.head.weight.dtype), bias)
        )


def _entropy(logits: Float[Array, "rows classes"]) -> Float[Array, "rows"]:
    """Entropy of each row's prediction; only its order is used, which has no derivative."""
    log_probabilities = jax.lax.stop_gradient(jax.nn.log_softmax(logits, axis=-1))
    return -jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1)
