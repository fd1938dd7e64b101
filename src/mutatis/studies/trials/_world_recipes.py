"""The studies of meta-learning on Meta-World that can be run by name."""

from dataclasses import dataclass
from typing import ClassVar

from mutatis.studies.trials._belief import BELIEF_METHODS, BeliefSettings
from mutatis.studies.trials._gradient import GRADIENT_METHODS, GradientSettings
from mutatis.studies.trials._recurrent import RECURRENT_METHODS, RecurrentSettings
from mutatis.studies.trials._study import TrialMethod
from mutatis.studies.trials._worlds import WorldStudy


@dataclass(frozen=True, kw_only=True)
class OnMl1:
    """What studies of ML1 have in common."""

    benchmark: str = "ML1-reach"
    environment_steps: int = 2_000_000
    worlds_per_task: int = 20


@dataclass(frozen=True, kw_only=True)
class OnMl45:
    """What studies of ML45 have in common."""

    benchmark: str = "ML45"
    environment_steps: int = 90_000_000


@dataclass(frozen=True, kw_only=True)
class Ml10RL2(RecurrentSettings, WorldStudy):
    """ML10 by RL2: ten training tasks, five that were never met, ten episodes to adapt (Yu et al. 2019).

    Settings of McLean et al. 2025. **Deviations:** no layers before the memory; a value head in place of a linear
    baseline; gradients go through whole trials, of eleven episodes, not ten: the last, which counts, is trained too.
    """

    name: ClassVar[str] = "ml10-rl2"
    rows: ClassVar[tuple[TrialMethod, ...]] = RECURRENT_METHODS
    methods: tuple[str, ...] = ("RL2",)
    trials: int = 20
    epochs: int = 10
    minibatches: int = 4
    learning_rate: float = 5e-4
    discount: float = 0.99
    trace: float = 0.95
    entropy: float = 5e-3
    reward_scale: float = 0.01
    width: int = 256


@dataclass(frozen=True, kw_only=True)
class Ml10Maml(GradientSettings, WorldStudy):
    """ML10 by MAML with TRPO: ten training tasks, five that were never met, one gradient step (Yu et al. 2019).

    Settings of McLean et al. 2025.
    """

    name: ClassVar[str] = "ml10-maml"
    rows: ClassVar[tuple[TrialMethod, ...]] = GRADIENT_METHODS
    methods: tuple[str, ...] = ("MAML",)
    std: float = 1.0
    width: int = 512


@dataclass(frozen=True, kw_only=True)
class Ml10Pearl(BeliefSettings, WorldStudy):
    """ML10 by PEARL: ten training tasks, five that were never met, a belief from three episodes (Yu et al. 2019).

    **Deviations:** a learned temperature in place of a reward scale; all training tasks play in every iteration, each
    at its first goals.
    """

    name: ClassVar[str] = "ml10-pearl"
    rows: ClassVar[tuple[TrialMethod, ...]] = BELIEF_METHODS
    methods: tuple[str, ...] = ("PEARL",)
    episodes: int = 4
    prior_episodes: int = 2
    updates: int = 1_000
    meta_batch: int = 10
    batch: int = 256
    context: int = 250
    latent: int = 7
    reward_scale: float = 1.0
    width: int = 300
    depth: int = 3


@dataclass(frozen=True, kw_only=True)
class Ml45RL2(OnMl45, Ml10RL2):
    """ML45 by RL2: 45 training tasks, five that were never met (Yu et al. 2019)."""

    name: ClassVar[str] = "ml45-rl2"
    worlds_per_task: int = 2
    trials: int = 45
    minibatches: int = 5


@dataclass(frozen=True, kw_only=True)
class Ml45Maml(OnMl45, Ml10Maml):
    """ML45 by MAML with TRPO: 45 training tasks, five that were never met (Yu et al. 2019)."""

    name: ClassVar[str] = "ml45-maml"
    tasks_per_step: int = 45


@dataclass(frozen=True, kw_only=True)
class Ml45Pearl(OnMl45, Ml10Pearl):
    """ML45 by PEARL: 45 training tasks, five that were never met (Yu et al. 2019)."""

    name: ClassVar[str] = "ml45-pearl"
    worlds_per_task: int = 2
    training_goals: int = 2
    meta_batch: int = 45


@dataclass(frozen=True, kw_only=True)
class Ml1Reach(OnMl1, Ml10RL2):
    """ML1: reach for goals that are not shown, by RL2 (Yu et al. 2019)."""

    name: ClassVar[str] = "ml1-reach"


@dataclass(frozen=True, kw_only=True)
class Ml1DrawerClose(Ml1Reach):
    """ML1: close drawers wherever they stand, by RL2 (Yu et al. 2019)."""

    name: ClassVar[str] = "ml1-drawer-close"
    benchmark: str = "ML1-drawer-close"


@dataclass(frozen=True, kw_only=True)
class Ml1DoorOpen(Ml1Reach):
    """ML1: open doors wherever they stand, by RL2 (Yu et al. 2019)."""

    name: ClassVar[str] = "ml1-door-open"
    benchmark: str = "ML1-door-open"


@dataclass(frozen=True, kw_only=True)
class Ml1Maml(OnMl1, Ml10Maml):
    """ML1 by MAML with TRPO: one task, goals that are not shown; --benchmark says which task (Yu et al. 2019)."""

    name: ClassVar[str] = "ml1-maml"
    tasks_per_step: int = 10


@dataclass(frozen=True, kw_only=True)
class Ml1Pearl(OnMl1, Ml10Pearl):
    """ML1 by PEARL: one task, goals that are not shown; --benchmark says which task (Yu et al. 2019)."""

    name: ClassVar[str] = "ml1-pearl"
    training_goals: int = 50
    meta_batch: int = 16


WORLD_STUDIES = (
    Ml1Reach,
    Ml1DrawerClose,
    Ml1DoorOpen,
    Ml1Maml,
    Ml1Pearl,
    Ml10Maml,
    Ml10RL2,
    Ml10Pearl,
    Ml45Maml,
    Ml45RL2,
    Ml45Pearl,
)
