"""The arms of augmented few-shot classification, each a row of the library's parts.

All of them train the same network by the same outer steps. They differ in what the inner loop moves and in how its step
is shaped, and that is what each `FewShotMethod` says. Nothing here computes, but `AugmentedSupport`, which draws.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._tree import trainable
from mutatis._types import Key
from mutatis.nn import (
    DoublyStochasticSharing,
    KroneckerSharing,
    Reparameterised,
    SharedWeight,
    is_symmetry,
    not_,
    reparameterise,
    shared_weights,
)
from mutatis.rules import GradientSteps, MetaCurvature, Positive, RidgeHead, cross_entropy, per_tensor
from mutatis.symmetry._actions import image_action, trivial
from mutatis.symmetry._augment import Augmentation
from mutatis.symmetry._convolution import equivariant_basis
from mutatis.symmetry._episodes import Episodes
from mutatis.symmetry._networks import conv4, conv4_weights

Where = Callable[[Any], PyTree[bool]]
Groups = tuple[tuple[int, ...], ...]
Sharing = type[KroneckerSharing] | type[DoublyStochasticSharing]

COPIES = 4
"""Of a filter in `MSR, Sinkhorn`, as many as there are flips; and of a support image where the answer is known."""


@dataclass(frozen=True)
class FewShotSetting:
    """What all arms have in common.

    - `ways`, `image_size`, `width`: of `conv4`.
    - `inner_rate`: where the learning rates of the inner loop start; each tensor has its own, and it is trained.
    - `inner_steps`, `test_steps`: inner steps in training, and on new classes.
    """

    ways: int = 5
    image_size: int = 28
    width: int = 16
    inner_rate: float = 0.1
    inner_steps: int = 1
    test_steps: int = 3


def more_steps(learner: Learner, setting: FewShotSetting) -> Learner:
    """On new classes, another number of inner steps."""
    assert isinstance(learner.rule, GradientSteps)
    return Learner(learner.model, replace(learner.rule, steps=setting.test_steps))


def as_trained(learner: Learner, setting: FewShotSetting) -> Learner:
    """On new classes, the rule of training."""
    del setting
    return learner


@dataclass(frozen=True)
class FewShotMethod:
    """One row.

    - `build`: the learner as it is trained.
    - `at_test`: the learner as it is used on new classes.
    - `frozen`: filter specification of what the outer loop leaves as it is.
    - `support_copies`: augmented copies of every support image that are added to it.
    """

    name: str
    build: Callable[[FewShotSetting, Key], Learner]
    at_test: Callable[[Learner, FewShotSetting], Learner] = more_steps
    frozen: Where | None = None
    support_copies: int = 0


class AugmentedSupport(eqx.Module):
    """The tasks that `episodes` draws with the same key, and `copies` augmented copies of every support image more.

    It knows what the query's images undergo, which no other learner is told. The copies are made of the images in the
    size that they are given out in.
    """

    episodes: Episodes
    view: Augmentation
    copies: int = eqx.field(static=True)

    def __call__(self, key: Key) -> Task:
        """A stack of tasks."""
        task = self.episodes(key)
        # The episodes split the key into three; this is none of them.
        view_key = jax.random.fold_in(key, 3)
        x, y = (jnp.concatenate([leaf] * (1 + self.copies), axis=1) for leaf in task.context)
        original = task.context[0].shape[1]
        flat = x[:, original:, :, :, 0]
        changed = self.view(flat.reshape(-1, *flat.shape[2:]), key=view_key).reshape(*flat.shape, 1)
        context = jnp.concatenate([x[:, :original], changed], axis=1), y
        return Task(context, task.query, task.index)


def head(model: Any) -> PyTree[bool]:
    """Filter specification of an `nn.Classifier`'s last layer."""
    nothing = jax.tree.map(lambda leaf: False, model)
    return eqx.tree_at(lambda m: m.head, nothing, trainable(model.head))


def _parts(key: Key) -> Key:
    """Keys of the network, of the kernels' symmetry, of the head's, and of what is put in place of these."""
    return jax.random.split(key, 4)


def _network(setting: FewShotSetting, key: Key) -> Any:
    return conv4(1, setting.width, setting.ways, key=_parts(key)[0], image_size=setting.image_size)


def _stepping(model: Any, setting: FewShotSetting, where: Where = trainable, **settings: Any) -> Learner:
    rates = Positive(per_tensor(model, where, setting.inner_rate))
    return Learner(model, GradientSteps(cross_entropy, rates, setting.inner_steps, where, **settings))


def _maml(setting: FewShotSetting, key: Key) -> Learner:
    return _stepping(_network(setting, key), setting)


def _anil(setting: FewShotSetting, key: Key) -> Learner:
    return _stepping(_network(setting, key), setting, head)


def _meta_curvature(setting: FewShotSetting, key: Key) -> Learner:
    model = _network(setting, key)
    return _stepping(model, setting, transform=MetaCurvature(model))


def _ridge(setting: FewShotSetting, key: Key) -> Learner:
    return Learner(_network(setting, key), RidgeHead(jnp.asarray(1.0), scale=jnp.asarray(4.0)))


SPACE_INPUTS_OUTPUTS: Groups = ((0, 1), (2,), (3,))
"""Axes of a kernel `(h, w, inputs, outputs)`, grouped as MSR-Conv groups them."""

FILTER_OUTPUTS: Groups = ((0, 1, 2), (3,))
"""A whole filter in one group: every entry of it may be tied to every other."""

FILTERS = not_(is_symmetry)
"""What the inner loop of MSR moves: v, and whatever is not reparameterised."""


def _kernels(model: Any) -> list[Any]:
    return conv4_weights(model)[:-1]


def _head_weight(shared: Any) -> Any:
    return shared.module.head.weight


def _msr(setting: FewShotSetting, key: Key, sharing: Sharing, head_terms: int = 1, **settings: Any) -> Learner:
    """Kernels in the given structure; the head's weight as a sum of Kronecker products.

    The network is that of MAML with the same key, and with Kronecker products so are its weights at the start.
    """
    _, kernel_key, head_key, _ = _parts(key)
    model = reparameterise(_network(setting, key), _kernels, sharing, key=kernel_key, **settings)
    model = reparameterise(model, _head_weight, KroneckerSharing, terms=head_terms, key=head_key)
    return _stepping(model, setting, FILTERS)


def _kronecker(setting: FewShotSetting, key: Key, terms: int = 1, axes: Groups = SPACE_INPUTS_OUTPUTS) -> Learner:
    return _msr(setting, key, KroneckerSharing, terms, terms=terms, axes=axes)


def _factors(learner: Learner) -> list[Array]:
    return jax.tree.leaves([shared.sharing for shared in shared_weights(learner)])


def _random(setting: FewShotSetting, key: Key) -> Learner:
    """Square factors drawn orthogonal: U turns the filters, and ties nothing."""
    learner = _kronecker(setting, key)
    factors = _factors(learner)
    keys = jax.random.split(_parts(key)[3], len(factors))
    drawn = [
        jax.random.orthogonal(one, factor.shape[-1], factor.shape[:1], factor.dtype)
        for one, factor in zip(keys, factors, strict=True)
    ]
    return eqx.tree_at(_factors, learner, drawn)


def _sinkhorn(setting: FewShotSetting, key: Key) -> Learner:
    """Every four outputs are one filter, whose pixels are softly permuted; the inputs are carried along."""
    fields = max(1, setting.width // COPIES)
    return _msr(setting, key, DoublyStochasticSharing, num_fields=fields, axis=-1, mixes=(0, 1))


def _d4(setting: FewShotSetting, key: Key) -> Learner:
    """Kernels that quarter turns and mirror images leave as they are: centre, edges and corners are a number each.

    A convolution with them turns as its input does, channel by channel, and where no pooling drops a row or a column
    (a side of 16, say) the features are the same for all eight views of an image. The head is free.
    """
    model = _network(setting, key)
    kernel_keys = jax.random.split(_parts(key)[1], len(_kernels(model)))
    shared = [_isotropic(weight, key=one) for weight, one in zip(_kernels(model), kernel_keys, strict=True)]
    return _stepping(Reparameterised(eqx.tree_at(_kernels, model, shared)), setting, FILTERS)


def _isotropic(weight: Array, *, key: Key) -> SharedWeight:
    basis = equivariant_basis(views := image_action(weight.shape[0], flip=True), trivial(views.group, 1))
    filters = basis.shape[1], *weight.shape[2:]
    sharing = KroneckerSharing(weight.shape, axes=SPACE_INPUTS_OUTPUTS, filter_shape=filters, key=key)
    sharing = eqx.tree_at(lambda tree: tree.factors[0], sharing, jnp.asarray(basis, weight.dtype)[None])
    return SharedWeight(sharing, sharing.first_filters(weight, key=key))


METHODS: tuple[FewShotMethod, ...] = (
    FewShotMethod("MAML", _maml),
    FewShotMethod("ANIL", _anil),
    FewShotMethod("Meta-Curvature", _meta_curvature),
    FewShotMethod("ridge head", _ridge, as_trained),
    FewShotMethod("random U", _random, frozen=is_symmetry),
    FewShotMethod("MSR", _kronecker),
    FewShotMethod("MSR, 4 terms", partial(_kronecker, terms=4)),
    FewShotMethod("MSR, whole filters", partial(_kronecker, axes=FILTER_OUTPUTS)),
    FewShotMethod("MSR, Sinkhorn", _sinkhorn),
    FewShotMethod("D4 kernels", _d4, frozen=is_symmetry),
    FewShotMethod("MAML, augmented support", _maml, support_copies=COPIES),
)
"""Every arm, in the order of the tables."""
