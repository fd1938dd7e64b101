"""Every method row learns, adapts, and is what it says."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mutatis
from mutatis.nn import batch_norms
from mutatis.shift._evaluate import predict_batches, predict_source
from mutatis.shift._groups import GroupedData, Groups
from mutatis.shift._methods import ARM_BN, ARM_CML, ARM_LL, AT_TEST, ERM, FEDAVG, METHODS, UW
from mutatis.shift._networks import Networks
from mutatis.studies._study import Schedule
from mutatis.studies.shift._study import ShiftTrainer

NETWORKS = Networks((2,), 2, width=16, context_width=16, context_channels=4, hidden=16)


def shifted(groups, rows, seed):
    """Each group is moved by its own offset; the class is the side of the offset, so a group's inputs tell it."""
    rng = np.random.default_rng(seed)
    offset = rng.normal(0, 1.5, (groups, 1, 2))
    inputs = offset + rng.normal(0, 1, (groups, rows, 2))
    targets = (inputs[..., 0] > offset[..., 0]).astype(np.int32)
    ids = np.repeat(np.arange(groups), rows)
    names = tuple(f"place {g}" for g in range(groups))
    return Groups(inputs.reshape(-1, 2).astype(np.float32), targets.reshape(-1), ids, names)


DATA = GroupedData(shifted(40, 60, 0), shifted(6, 50, 1), shifted(10, 100, 2), 2)


def trainer(method, steps=150, **changes):
    schedule = Schedule(steps=steps, evaluate_every=0, steps_per_dispatch=steps)
    made = ShiftTrainer(method, NETWORKS, DATA, DATA.validation, 0, schedule, 3e-3, 6, 50, False, 10)
    return dataclasses.replace(made, **changes)


@pytest.fixture(scope="module")
def trained():
    """Each method's trainer and learner after 150 steps, and its losses."""
    runs = {}
    for method in METHODS:
        made = trainer(method)
        carry, losses, _ = made.advance(made.init(), 150)
        runs[method.name] = made, made.settled(carry, 50), np.asarray(losses).mean(1)
    return runs


@pytest.mark.parametrize("name", [method.name for method in METHODS])
def test_a_method_learns_and_its_predictions_are_classes(trained, name):
    made, learner, losses = trained[name]
    assert np.all(np.isfinite(losses))
    support = 50 if made.method.adapts else 0
    accuracy = made.accuracies(made.method.at_test(learner), DATA.test, support)[0].mean()
    assert accuracy > 0.6, accuracy  # chance is a half; losses would not do: group DRO does not descend their mean
    for support in (0, 1, 7, 50) if made.method.adapts else (0,):
        predicted = made.predictions(made.method.at_test(learner), DATA.test, support)
        assert predicted.shape == DATA.test.targets.shape and set(predicted) <= {0, 1}


@pytest.mark.parametrize("name", ["ARM-CML", "ARM-BN", "ARM-LL", "ICRM", "ARM-CML, shrunken", "ARM-BN, shrunken"])
def test_adaptation_pays_on_new_groups(trained, name):
    erm, learner, _ = trained["ERM"]
    plain = erm.accuracies(erm.method.at_test(learner), DATA.test, 0)[0].mean()
    made, learner, _ = trained[name]
    adapted = made.accuracies(made.method.at_test(learner), DATA.test, 50)[0].mean()
    assert adapted > plain + 0.05, f"{name} {adapted:.3f}, ERM {plain:.3f}"


@pytest.mark.parametrize("extra", AT_TEST, ids=lambda extra: extra.name)
def test_methods_at_test_leave_the_trained_weights_alone(trained, extra):
    _made, learner, _ = trained["ERM"]
    for setting, change in extra.candidates:
        changed = change(learner)
        assert eqx.tree_equal(changed.model, learner.model), setting
        predicted = predict_batches(changed, DATA.test, 20)
        assert np.mean(predicted == DATA.test.targets) > 0.5


def test_bn_adaptation_with_no_trust_in_the_context_is_the_source_model(trained):
    made, learner, _ = trained["ERM"]
    distrustful = mutatis.Learner(learner.model, mutatis.BatchMoments(pseudo_count=float("inf")))
    source = made.predictions(made.method.at_test(learner), DATA.test, 0)
    np.testing.assert_array_equal(predict_batches(distrustful, DATA.test, 20), source)


def test_source_moments_come_near_those_of_the_training_inputs(trained):
    _made, learner, _ = trained["UW"]
    first = learner.model.features.layers[0](jnp.asarray(DATA.train.inputs))
    mean, variance = batch_norms(learner.model)[0].source.value
    spread = np.sqrt(np.var(first, 0))
    assert np.all(np.abs(mean - first.mean(0)) < 0.5 * spread)
    assert np.all((variance / np.var(first, 0) > 0.5) & (variance / np.var(first, 0) < 2))


def test_shrinkage_starts_at_ten_rows_and_is_trained(trained):
    made, learner, _ = trained["ARM-BN, shrunken"]
    start = made.init()[0].rule.log_pseudo_count
    np.testing.assert_allclose(jnp.exp(start), 10, rtol=1e-6)
    assert np.all(learner.rule.log_pseudo_count != start)


def test_shrunken_methods_meet_small_contexts_in_training(trained):
    made = trained["ARM-BN, shrunken"][0]
    assert [sampler.support for sampler in made.samplers] == [1, 5, 10, 50]
    assert all(sampler.groups_per_step * sampler.support <= 300 for sampler in made.samplers)


@pytest.mark.parametrize("name", ["ARM-CML, shrunken", "ARM-BN, shrunken", "ARM-LL, shrunken"])
@pytest.mark.parametrize("support", [1, 5])
def test_shrunken_methods_do_not_collapse_at_small_supports(trained, name, support):
    accuracy = {}
    for method, size in (("ERM", 0), (name, support)):
        made, learner, _ = trained[method]
        accuracy[method] = made.accuracies(made.method.at_test(learner), DATA.test, size)[0].mean()
    assert accuracy[name] > accuracy["ERM"] - 0.03, accuracy


def test_federated_learners_keep_the_moments_they_were_trained_under():
    made = trainer(FEDAVG, steps=2)
    carry, _, _ = made.advance(made.init(), 2)
    kept = lambda learner: [norm.source.value for norm in batch_norms(learner.model)]
    jax.tree.map(np.testing.assert_array_equal, kept(made.settled(carry, 50)), kept(carry[0]))


def test_erm_draws_by_size_and_uw_by_group():
    assert (ERM.mix_groups, ERM.balanced, UW.mix_groups, UW.balanced) == (True, False, True, True)


def test_parameter_counts_of_the_original():
    """Zhang et al. 2021 for 28 x 28 images and 10 classes."""
    networks = Networks((28, 28, 1), 10)

    def count(method):
        learner = method.build(networks, jax.random.key(0))
        leaves = jax.tree.leaves(eqx.filter(learner, mutatis.trainable(learner)))
        return sum(leaf.size for leaf in leaves)

    assert count(ERM) == count(ARM_BN) == 851_362
    assert count(ARM_CML) == 603_374 + 12  # and the trained prior of the context
    assert count(ARM_LL) == 853_859


def test_the_context_ablation_mixes_groups():
    made = trainer(ARM_CML, mix_groups=True)
    assert made.samplers[0].mix_groups and made.task_name(3) == "batch 3"
    assert trainer(ARM_CML).task_name(3) == "place 3"


def test_source_prediction_does_not_depend_on_neighbours(trained):
    made, learner, _ = trained["ARM-CML"]
    used = made.method.at_test(learner)
    whole = predict_source(used, DATA.test)
    few = predict_source(used, DATA.test.take(np.arange(7)))
    np.testing.assert_array_equal(few, whole[:7])
