"""The studies of trials that can be run by name."""

from dataclasses import dataclass
from typing import ClassVar

from mutatis.studies._trial_bandits import BanditStudy, ProcessStudy
from mutatis.studies._trial_belief import BELIEF_METHODS, BeliefSettings
from mutatis.studies._trial_dream import DREAM_METHODS, DREAMSettings
from mutatis.studies._trial_gradient import GRADIENT_METHODS, GradientSettings
from mutatis.studies._trial_grids import BusStudy
from mutatis.studies._trial_points import PointStudy, SparsePointStudy
from mutatis.studies._trial_recurrent import RECURRENT_METHODS, RecurrentSettings
from mutatis.studies._trial_varibad import VARIBAD_METHODS, VariBADSettings
from mutatis.studies._trial_worlds import WorldStudy
from mutatis.studies._trials import TrialMethod

ML1_STEPS, ML45_STEPS = 2_000_000, 90_000_000


@dataclass(frozen=True, kw_only=True)
class BanditRL2(RecurrentSettings, BanditStudy):
    """Bandits by RL2, beside the exact optimum, Gittins indices and Thompson sampling (Duan et al. 2016)."""

    name: ClassVar[str] = "bandit-rl2"
    rows: ClassVar[tuple[TrialMethod, ...]] = RECURRENT_METHODS
    methods: tuple[str, ...] = ("RL2",)
    environment_steps: int = 1_400_000


@dataclass(frozen=True, kw_only=True)
class TabularRL2(RecurrentSettings, ProcessStudy):
    """Random decision processes by RL2, beside posterior sampling (Duan et al. 2016)."""

    name: ClassVar[str] = "tabular-rl2"
    rows: ClassVar[tuple[TrialMethod, ...]] = RECURRENT_METHODS
    methods: tuple[str, ...] = ("RL2",)
    environment_steps: int = 20_000_000
    trials: int = 512
    discount: float = 0.99
    width: int = 128


@dataclass(frozen=True, kw_only=True)
class PointMaml(GradientSettings, PointStudy):
    """Points that look for their goal by MAML: twenty episodes, one gradient step (Finn et al. 2017)."""

    name: ClassVar[str] = "point-maml"
    rows: ClassVar[tuple[TrialMethod, ...]] = GRADIENT_METHODS
    methods: tuple[str, ...] = ("MAML", "MAML, PPO")
    episodes: int = 21
    environment_steps: int = 4_000_000


@dataclass(frozen=True, kw_only=True)
class PointPearl(BeliefSettings, PointStudy):
    """Points that look for their goal by PEARL: a belief, and acting on draws from it (Rakelly et al. 2019)."""

    name: ClassVar[str] = "point-pearl"
    rows: ClassVar[tuple[TrialMethod, ...]] = BELIEF_METHODS
    methods: tuple[str, ...] = ("PEARL",)
    episodes: int = 3
    environment_steps: int = 500_000


@dataclass(frozen=True, kw_only=True)
class PointRL2(RecurrentSettings, PointStudy):
    """Points that look for their goal by RL2 (Duan et al. 2016)."""

    name: ClassVar[str] = "point-rl2"
    rows: ClassVar[tuple[TrialMethod, ...]] = RECURRENT_METHODS
    methods: tuple[str, ...] = ("RL2",)
    environment_steps: int = 10_000_000
    noise: bool = False
    reward_scale: float = 0.1
    trials: int = 512
    discount: float = 0.99
    trace: float = 0.9
    entropy: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SparsePointRL2(RecurrentSettings, SparsePointStudy):
    """Points that are paid only near their goal, on a half circle, by RL2: exploring has to be learned."""

    name: ClassVar[str] = "sparse-point-rl2"
    rows: ClassVar[tuple[TrialMethod, ...]] = RECURRENT_METHODS
    methods: tuple[str, ...] = ("RL2",)
    episodes: int = 3
    environment_steps: int = 20_000_000
    trials: int = 512
    epochs: int = 6
    learning_rate: float = 2e-3
    discount: float = 0.95
    trace: float = 0.9
    entropy: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SparsePointVariBAD(VariBADSettings, SparsePointRL2):
    """Points that are paid only near their goal, by VariBAD, whose policy sees its belief (Zintgraf et al. 2020)."""

    name: ClassVar[str] = "sparse-point-varibad"
    rows: ClassVar[tuple[TrialMethod, ...]] = (*VARIBAD_METHODS, *RECURRENT_METHODS)
    methods: tuple[str, ...] = ("VariBAD",)


@dataclass(frozen=True, kw_only=True)
class SparsePointPearl(BeliefSettings, SparsePointStudy):
    """Points that are paid only near their goal, by PEARL; its critics are told the distance (Rakelly et al. 2019)."""

    name: ClassVar[str] = "sparse-point-pearl"
    rows: ClassVar[tuple[TrialMethod, ...]] = BELIEF_METHODS
    methods: tuple[str, ...] = ("PEARL",)
    episodes: int = 8
    prior_episodes: int = 5
    environment_steps: int = 1_500_000
    discount: float = 0.9
    learned_from: str | None = "dense_reward"


@dataclass(frozen=True, kw_only=True)
class BusRL2(RecurrentSettings, BusStudy):
    """Grids whose buses have to be explored, by RL2: what exploring apart is measured against (Liu et al. 2021)."""

    name: ClassVar[str] = "bus-rl2"
    rows: ClassVar[tuple[TrialMethod, ...]] = RECURRENT_METHODS
    methods: tuple[str, ...] = ("RL2",)
    environment_steps: int = 20_000_000
    trials: int = 512
    discount: float = 0.99
    trace: float = 0.9
    width: int = 128


@dataclass(frozen=True, kw_only=True)
class BusDream(DREAMSettings, BusRL2):
    """Grids whose buses have to be explored, by DREAM: exploring is learned apart from exploiting (Liu et al. 2021)."""

    name: ClassVar[str] = "bus-dream"
    rows: ClassVar[tuple[TrialMethod, ...]] = (*DREAM_METHODS, *RECURRENT_METHODS)
    methods: tuple[str, ...] = ("DREAM", "DREAM, not decoupled", "RL2")
    environment_steps: int = 3_100_000
    width: int = 64


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
class Ml45RL2(Ml10RL2):
    """ML45 by RL2: 45 training tasks, five that were never met (Yu et al. 2019)."""

    name: ClassVar[str] = "ml45-rl2"
    benchmark: str = "ML45"
    environment_steps: int = ML45_STEPS
    worlds_per_task: int = 2
    trials: int = 45
    minibatches: int = 5


@dataclass(frozen=True, kw_only=True)
class Ml45Maml(Ml10Maml):
    """ML45 by MAML with TRPO: 45 training tasks, five that were never met (Yu et al. 2019)."""

    name: ClassVar[str] = "ml45-maml"
    benchmark: str = "ML45"
    environment_steps: int = ML45_STEPS
    tasks_per_step: int = 45


@dataclass(frozen=True, kw_only=True)
class Ml45Pearl(Ml10Pearl):
    """ML45 by PEARL: 45 training tasks, five that were never met (Yu et al. 2019)."""

    name: ClassVar[str] = "ml45-pearl"
    benchmark: str = "ML45"
    environment_steps: int = ML45_STEPS
    worlds_per_task: int = 2
    training_goals: int = 2
    meta_batch: int = 45


@dataclass(frozen=True, kw_only=True)
class Ml1Reach(Ml10RL2):
    """ML1: reach for goals that are not shown, by RL2 (Yu et al. 2019)."""

    name: ClassVar[str] = "ml1-reach"
    benchmark: str = "ML1-reach"
    environment_steps: int = ML1_STEPS
    worlds_per_task: int = 20


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
class Ml1Maml(Ml10Maml):
    """ML1 by MAML with TRPO: one task, goals that are not shown; --benchmark says which task (Yu et al. 2019)."""

    name: ClassVar[str] = "ml1-maml"
    benchmark: str = "ML1-reach"
    environment_steps: int = ML1_STEPS
    worlds_per_task: int = 20
    tasks_per_step: int = 10


@dataclass(frozen=True, kw_only=True)
class Ml1Pearl(Ml10Pearl):
    """ML1 by PEARL: one task, goals that are not shown; --benchmark says which task (Yu et al. 2019)."""

    name: ClassVar[str] = "ml1-pearl"
    benchmark: str = "ML1-reach"
    environment_steps: int = ML1_STEPS
    worlds_per_task: int = 20
    training_goals: int = 50
    meta_batch: int = 16


TRIAL_STUDIES = (
    BanditRL2,
    TabularRL2,
    PointMaml,
    PointPearl,
    PointRL2,
    SparsePointRL2,
    SparsePointVariBAD,
    SparsePointPearl,
    BusRL2,
    BusDream,
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
