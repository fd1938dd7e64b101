import re

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import mutatis
from mutatis import nn, rl
from mutatis._citation import cites
from mutatis.rl import families

POINTS = rl.FamilyEnvironment(families.PointGoals(), jnp.zeros((1, 2)))
ENTRY = re.compile(r"@(\w+)\{([\w-]+),")


def _keys(*parts):
    return [key for _, key in ENTRY.findall(mutatis.citation(*parts))]


def test_the_library_itself_is_always_cited_first():
    assert _keys() == ["mutatis"]
    assert mutatis.__version__ in mutatis.citation()


@pytest.mark.parametrize(
    "part, expected",
    [
        (mutatis.NoAdaptation(), []),
        (mutatis.Average(), []),
        (mutatis.Unrolled(), []),
        (mutatis.GroupDRO(), ["sagawa2020groupdro"]),
        (mutatis.QFair(1.0, 0.1), ["li2020qffl"]),
        (mutatis.PCGrad(), ["yu2020pcgrad"]),
        (mutatis.MGDA(), ["desideri2012mgda", "sener2018mgda"]),
        (mutatis.CAGrad(), ["liu2021cagrad"]),
        (mutatis.NashMTL(), ["navon2022nashmtl"]),
        (mutatis.FAMO(), ["liu2023famo"]),
        (mutatis.GradNorm(), ["chen2018gradnorm"]),
        (mutatis.UncertaintyWeights(), ["kendall2018uncertainty"]),
        (mutatis.RandomWeights(), ["lin2022random"]),
        (
            rl.SoftActorCritic(POINTS),
            ["haarnoja2018soft", "yu2019metaworld"],
        ),
        (rl.Proximal(), ["schulman2017proximal"]),
        (rl.TrustRegion(), ["schulman2015trust"]),
        (rl.LinearBaseline(1, 2), ["duan2016benchmarking"]),
        (rl.generalised_advantages, ["schulman2016high"]),
        (mutatis.Displacement(), ["mcmahan2017fedavg", "nichol2018reptile"]),
        (mutatis.Implicit(mutatis.entropy, 1.0), ["rajeswaran2019imaml", "wang2021tent"]),
        (mutatis.BatchMoments(), ["zhang2021arm", "nado2020prediction", "schneider2020covariate", "wu2021batchnorm"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_part_cites_its_sources(part, expected):
    assert _keys(part) == ["mutatis", *expected]


def test_a_row_cites_all_of_its_values_once():
    # Tent: the moments around gradient steps on an entropy, inside a learner; then two uses of one source.
    tent = mutatis.BatchMoments(mutatis.GradientSteps(mutatis.entropy, 0.1, where=nn.norm_affine))
    learner = mutatis.Learner(nn.BatchNorm(3), tent)
    keys = _keys(learner, mutatis.GroupDRO(), [mutatis.GroupDRO()], {"again": tent})
    assert len(keys) == len(set(keys))
    assert {"zhang2021arm", "finn2017maml", "wang2021tent", "sagawa2020groupdro"} < set(keys)


def test_a_users_own_method_is_cited_and_not_confused_with_its_base():
    @cites("@misc{mine,\n  year = {2030}\n}")
    class Mine(mutatis.AbstractWeighting):
        needs_gramian = False

        def init(self, num_groups):
            return None

        def weigh(self, losses, gramian, index, state, *, key):
            return losses, None

    class Changed(Mine):
        pass

    assert _keys(Mine()) == ["mutatis", "mine"]
    assert _keys(Changed()) == ["mutatis"]


def test_every_entry_is_well_formed():
    from mutatis import _references

    entries = {name: text for name, text in vars(_references).items() if name.isupper()}
    keys = [ENTRY.match(text).group(2) for text in entries.values()]
    assert len(keys) == len(set(keys)) >= 15
    for name, text in entries.items():
        assert text.count("{") == text.count("}"), name
        for field in ("title", "author", "year"):
            assert re.search(rf"^  {field}\s+= \{{.+", text, re.MULTILINE), (name, field)
        assert re.search(rf"year\s+= \{{{re.search(r'[0-9]{4}', name).group()}\}}", text), name


def test_marking_does_not_disturb_modules():
    rule = mutatis.ContextMean(nn.Linear(2, 2, key=jax.random.key(0)), (2,))
    assert eqx.tree_equal(jax.tree.map(lambda x: x, rule), rule)
    assert len(jax.tree.leaves(eqx.filter(mutatis.GroupDRO(jnp.ones(())), eqx.is_array))) == 2
