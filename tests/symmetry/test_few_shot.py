"""The arms of few-shot learning: that all adapt, and which of them take the same first step."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mutatis
from mutatis.nn import materialise, shared_weights
from mutatis.symmetry._augment import Augmentation
from mutatis.symmetry._episodes import Episodes
from mutatis.symmetry._few_shot import METHODS, AugmentedSupport, FewShotSetting, head

KEY = jax.random.key(0)
BY_NAME = {method.name: method for method in METHODS}
SETTING = FewShotSetting(ways=3, image_size=4, width=8)
X = np.random.default_rng(0).random((6, 4, 4, 1), np.float32)
CONTEXT = jnp.asarray(X), jnp.asarray([0, 1, 2, 0, 1, 2])
LEARNERS = {name: BY_NAME[name].build(SETTING, KEY) for name in ("MAML", "MSR, 4 terms", "random U")}


@eqx.filter_jit
def plain(learner):
    """The adapted weights."""
    return materialise(mutatis.adapt(learner, CONTEXT, key=KEY))


@pytest.fixture(scope="module")
def maml():
    return plain(LEARNERS["MAML"])


def close(one, other, atol=2e-5):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(left, right, atol=atol)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_arm_adapts_in_training_and_at_test(method):
    trained = eqx.filter_eval_shape(method.build, SETTING, KEY)
    for learner in (trained, method.at_test(trained, SETTING)):
        predict = lambda learner: mutatis.adapt(learner, CONTEXT, key=KEY)(CONTEXT[0])
        logits = eqx.filter_eval_shape(predict, learner)
        assert logits.shape == (6, 3) and logits.dtype == jnp.float32


def test_names_are_different():
    assert len(BY_NAME) == len(METHODS)


def test_msr_is_maml_before_training(maml):
    learner = LEARNERS["MSR, 4 terms"]  # one term is the first of them
    close(materialise(learner.model), LEARNERS["MAML"].model)
    close(plain(learner), maml)


def test_an_orthogonal_u_takes_the_gradient_step_of_the_weight(maml):
    # vec(W) = U v moves by U U^T times its gradient: for a square orthogonal U that is the gradient.
    learner = LEARNERS["random U"]
    for shared in shared_weights(learner):
        for factor in jax.tree.leaves(shared.sharing):
            gram = jnp.einsum("tij,tkj->tik", factor, factor)
            np.testing.assert_allclose(gram, np.eye(factor.shape[1])[None], atol=1e-5)
    start = materialise(learner.model)
    assert not np.allclose(start.head.weight, LEARNERS["MAML"].model.head.weight, atol=0.01)
    close(plain(learner), plain(mutatis.Learner(start, LEARNERS["MAML"].rule)), atol=1e-4)
    assert jax.tree.structure(maml) == jax.tree.structure(start)


def test_d4_kernels_see_no_turn_and_no_mirror_image():
    model = BY_NAME["D4 kernels"].build(FewShotSetting(ways=3, image_size=16, width=4), KEY).model
    image = np.random.default_rng(0).random((16, 16, 1), np.float32)
    views = np.stack([np.rot90(side, turns) for side in (image, image[:, ::-1]) for turns in range(4)])
    # One view at a time, as batch normalisation mixes those of a batch.
    logits = eqx.filter_jit(jax.vmap(lambda view: model(view[None])[0]))(jnp.asarray(views))
    np.testing.assert_allclose(logits, np.tile(logits[:1], (8, 1)), atol=1e-4)
    assert np.ptp(np.asarray(logits[0])) > 0.01


def test_anil_moves_the_head():
    model = LEARNERS["MAML"].model
    moving, still = eqx.partition(model, head(model))
    assert {leaf.shape for leaf in jax.tree.leaves(moving)} == {(8, 3), (3,)}
    assert len(jax.tree.leaves(still)) == 12


def test_the_answer_is_in_the_support_and_nothing_else_changes():
    images = np.random.default_rng(0).random((6, 5, 4, 4), np.float32)
    episodes = Episodes(images, ways=3, shots=2, queries=3, tasks_per_step=2, size=4)
    known = AugmentedSupport(episodes, Augmentation(), 2)
    still = AugmentedSupport(episodes, Augmentation(flip=0, angle=0, area=1), 1)
    task, plain_task, still_task = eqx.filter_jit(lambda key: (known(key), episodes(key), still(key)))(KEY)
    close(task.query, plain_task.query, atol=0)
    (x, y), (clean, labels) = task.context, plain_task.context
    assert x.shape == (2, 18, 4, 4, 1)
    np.testing.assert_array_equal(x[:, :6], clean)
    np.testing.assert_array_equal(y, np.tile(labels, (1, 3)))
    copies = np.asarray(x).reshape(2, 3, 6, -1)
    assert (np.abs(copies[:, 1:] - copies[:, :1]).max(-1) > 1e-3).mean() > 0.9
    assert not np.allclose(copies[:, 1], copies[:, 2])
    np.testing.assert_allclose(still_task.context[0][:, 6:], clean, atol=1e-6)
