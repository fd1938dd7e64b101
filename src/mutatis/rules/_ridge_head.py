"""Adaptation of the last layer in closed form."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._citation import cites
from mutatis._references import BERTINETTO_2019
from mutatis._rule import AbstractStatistic
from mutatis._tree import Fixed, unfix
from mutatis._types import Key, Tree
from mutatis.rules._features import head_of, labelled_pair
from mutatis.rules._logarithm import stored_log
from mutatis.rules._normal_equations import NormalEquations, no_rows, normal_equations, solve_ridge


@cites(BERTINETTO_2019)
class RidgeHead(AbstractStatistic):
    r"""Replaces the last layer by the ridge regression of targets on features (R2-D2, Bertinetto et al. 2019).

    With the features Z of the context's rows, beside them a column of ones for the bias, and one-hot targets Y,

    $$W = (Z^\top Z + \mu I)^{-1} Z^\top Y, \qquad \mu = \lambda \frac{\text{tr}(Z^\top Z)}{k \cdot \text{rows}}, \qquad
      \text{logits}(x) = s\, z(x) W + b$$

    where Z has k columns. The features are trained through the solution: they learn to be regressed upon. The state is
    the sums Z^T Z, Z^T Y and rows.

    - `penalty`: lambda, in rows, as in `Ridge`: 1 pulls towards zero as much as one more row of zeros would.
    - `scale`: s. Predictions of one-hot targets are about 0 and 1, too close for a cross-entropy: train it.
    - `offset`: b, one for all classes as in the original (a softmax does not see it), or one for each.

    Of each, a number is kept and an array is trained; penalty and scale as their logarithms.

    The model is an `nn.Classifier`, and so is the adapted one. A context is a pair: inputs, and class labels, integers
    `(rows,)`, or real targets `(rows, classes)`. Without rows the classifier stays as it is; its head is not used
    otherwise.

    **Raises:** `ValueError` if penalty or scale is negative, the model is not an `nn.Classifier`, or the context is no
    such pair.

    **Deviations:** the original's penalty is lambda for each row and in absolute size; ours is relative to the mean
    square of the features, and does not grow with the rows. The original solves a system of the size of the rows where
    those are fewer; ours is of the size of the features always, which is what sums allow. Its scale may be negative.
    """

    log_penalty: Float[Array, ""] | Fixed
    log_scale: Float[Array, ""] | Fixed
    offset: Float[Array, "..."] | Fixed

    def __init__(
        self,
        penalty: float | Float[Array, ""] = 1.0,
        *,
        scale: float | Float[Array, ""] = 1.0,
        offset: float | Float[Array, "..."] = 0.0,
    ):
        self.log_penalty = stored_log("penalty", penalty)
        self.log_scale = stored_log("scale", scale)
        number = isinstance(offset, float | int)
        self.offset = Fixed(jnp.asarray(offset, jnp.float32)) if number else jnp.asarray(offset, offset.dtype)

    def init(self, model: Any) -> NormalEquations:
        """No rows."""
        width, classes = head_of(model).weight.shape
        return no_rows(jnp.zeros((width + 1, classes), model.head.weight.dtype))

    def measure(self, model: Any, context: Tree, *, key: Key) -> NormalEquations:
        """The normal equations of one context."""
        del key
        inputs, targets = _labelled(context, model.head.bias.shape[0])
        features = model.features(inputs).astype(model.head.weight.dtype)
        design = jnp.concatenate([features, jnp.ones_like(features[:, :1])], axis=1)
        return normal_equations(design, targets.astype(design.dtype), design.shape[0])

    def bind(self, model: Any, state: NormalEquations) -> Any:
        """The classifier with the solution as its head."""
        head, dtype = model.head, model.head.weight.dtype
        solution = jnp.exp(unfix(self.log_scale).astype(dtype)) * solve_ridge(state, self.log_penalty)
        bias = solution[-1] + jnp.broadcast_to(unfix(self.offset).astype(dtype), head.bias.shape)
        seen = state.rows > 0
        return eqx.tree_at(
            lambda m: (m.head.weight, m.head.bias),
            model,
            (jnp.where(seen, solution[:-1], head.weight), jnp.where(seen, bias, head.bias)),
        )


def _labelled(context: Tree, classes: int) -> tuple[Array, Array]:
    """Inputs, and targets as `(rows, classes)`."""
    inputs, targets = labelled_pair(context, "RidgeHead")
    if targets.ndim == 1 and jnp.issubdtype(targets.dtype, jnp.integer):
        targets = jax.nn.one_hot(targets, classes)
    if targets.shape != (inputs.shape[0], classes):
        raise ValueError(
            f"the context's targets have shape {targets.shape}; pass integer labels ({inputs.shape[0]},) or real "
            f"targets {(inputs.shape[0], classes)}."
        )
    return inputs, targets
