"""The studies of trials that can be run by name."""

from dataclasses import dataclass
from typing import ClassVar

from mutatis.studies.trials._bandits import BanditStudy, ProcessStudy
from mutatis.studies.trials._belief import BELIEF_METHODS, BeliefSettings
from mutatis.studies.trials._dream import DREAM_METHODS, DREAMSettings
from mutatis.studies.trials._gradient import GRADIENT_METHODS, GradientSettings
from mutatis.studies.trials._grids import BusStudy
from mutatis.studies.trials._points import PointStudy, SparsePointStudy
from mutatis.studies.trials._recurrent import RECURRENT_METHODS, RecurrentSettings
from mutatis.studies.trials._study import TrialMethod
from mutatis.studies.trials._varibad import VARIBAD_METHODS, VariBADSettings
from mutatis.studies.trials._world_recipes import WORLD_STUDIES


@dataclass(frozen=True, kw_only=True)
class OnPoints(BeliefSettings):
    """What studies of points by PEARL have in common."""

    learning_rate: float = 1e-3
    discount: float = 0.9
    reward_scale: float = 20.0


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
    trials: int = 256
    discount: float = 0.95
    trace: float = 0.9
    reward_scale: float = 0.1
    width: int = 128


@dataclass(frozen=True, kw_only=True)
class PointMaml(GradientSettings, PointStudy):
    """Points that look for their goal by MAML: two hundred episodes, one gradient step (Finn et al. 2017)."""

    name: ClassVar[str] = "point-maml"
    rows: ClassVar[tuple[TrialMethod, ...]] = GRADIENT_METHODS
    methods: tuple[str, ...] = ("MAML, PPO",)
    episodes: int = 201
    environment_steps: int = 32_000_000
    learning_rate: float = 1e-2
    inner_rate: float = 0.5
    discount: float = 0.95
    trace: float = 0.0
    normalise_advantages: bool = False
    zeroed_head: bool = True
    least_std: float = 0.6
    noise: bool = False


@dataclass(frozen=True, kw_only=True)
class PointPearl(OnPoints, PointStudy):
    """Points that look for their goal by PEARL: a belief, and acting on draws from it (Rakelly et al. 2019)."""

    name: ClassVar[str] = "point-pearl"
    rows: ClassVar[tuple[TrialMethod, ...]] = BELIEF_METHODS
    methods: tuple[str, ...] = ("PEARL",)
    episodes: int = 6
    prior_episodes: int = 5
    context: int = 100
    environment_steps: int = 1_440_000
    latent: int = 16
    divergence: float = 0.01


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
class SparsePointPearl(OnPoints, SparsePointStudy):
    """Points that are paid only near their goal, by PEARL; its critics are told the distance (Rakelly et al. 2019)."""

    name: ClassVar[str] = "sparse-point-pearl"
    rows: ClassVar[tuple[TrialMethod, ...]] = BELIEF_METHODS
    methods: tuple[str, ...] = ("PEARL",)
    episodes: int = 23
    prior_episodes: int = 20
    context: int = 400
    updates: int = 400
    environment_steps: int = 2_208_000
    divergence: float = 1.0
    learned_from: str | None = "dense_reward"


@dataclass(frozen=True, kw_only=True)
class SparsePointDream(DREAMSettings, SparsePointRL2):
    """Points that are paid only near their goal, by DREAM, in one of nine ways a step (Liu et al. 2021)."""

    name: ClassVar[str] = "sparse-point-dream"
    rows: ClassVar[tuple[TrialMethod, ...]] = (*DREAM_METHODS, *RECURRENT_METHODS)
    methods: tuple[str, ...] = ("DREAM",)
    compass: bool = True
    episodes: int = 2
    environment_steps: int = 6_000_000
    anneal: int = 100
    width: int = 64


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


TRIAL_STUDIES = (
    BanditRL2,
    TabularRL2,
    PointMaml,
    PointPearl,
    PointRL2,
    SparsePointRL2,
    SparsePointVariBAD,
    SparsePointPearl,
    SparsePointDream,
    BusRL2,
    BusDream,
    *WORLD_STUDIES,
)
