"""The studies of Meta-World that can be run by name."""

from dataclasses import dataclass
from typing import ClassVar

from mutatis.studies.control._policy import PolicyStudy
from mutatis.studies.control._soft import SoftStudy


@dataclass(frozen=True, kw_only=True)
class Mt10Single(SoftStudy):
    """MT10, each task learned alone by a SAC of its own: what joint training is measured against."""

    name: ClassVar[str] = "mt10-single"
    methods: tuple[str, ...] = ("SAC, each task alone",)
    width: int = 256
    depth: int = 2
    worlds_per_task: int = 2
    environment_steps: int = 5_000_000
    warm_up: int = 1_000
    capacity: int = 500_000


@dataclass(frozen=True, kw_only=True)
class Mt10MtSac(SoftStudy):
    """MT10 by one SAC that is told the task's number (Yu et al. 2019)."""

    name: ClassVar[str] = "mt10-mtsac"
    methods: tuple[str, ...] = ("MT-SAC",)


@dataclass(frozen=True, kw_only=True)
class Mt10MtmhSac(SoftStudy):
    """MT10 by multi-head SAC: standard protocol, 20 million steps (McLean et al. 2025)."""

    name: ClassVar[str] = "mt10-mtmhsac"


@dataclass(frozen=True, kw_only=True)
class Mt10PCGrad(SoftStudy):
    """MT10 by multi-head SAC with gradient surgery in actor and critics (Yu et al. 2020)."""

    name: ClassVar[str] = "mt10-pcgrad"
    methods: tuple[str, ...] = ("MTMH-SAC, PCGrad",)


@dataclass(frozen=True, kw_only=True)
class Mt10Wide(SoftStudy):
    """MT10 by multi-head SAC, 1,024 units wide; --width 2048 or 4096 for more (McLean et al. 2025)."""

    name: ClassVar[str] = "mt10-wide"
    width: int = 1024


@dataclass(frozen=True, kw_only=True)
class Mt10Riddle(SoftStudy):
    """Why does joint training do worse? Alone, together, and what is said to help, side by side on MT10."""

    name: ClassVar[str] = "mt10-riddle"
    methods: tuple[str, ...] = (
        "SAC, each task alone",
        "MT-SAC",
        "MTMH-SAC",
        "MTMH-SAC, PCGrad",
        "MTMH-SAC, normalised rewards",
        "MTMH-SAC, critic 4 times as wide",
    )
    environment_steps: int = 1_000_000
    width: int = 256


@dataclass(frozen=True, kw_only=True)
class OnMt50:
    """What studies of MT50 have in common."""

    benchmark: str = "MT50"
    environment_steps: int = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Mt50MtSac(OnMt50, Mt10MtSac):
    """MT50 by one SAC that is told the task's number (Yu et al. 2019)."""

    name: ClassVar[str] = "mt50-mtsac"


@dataclass(frozen=True, kw_only=True)
class Mt50MtmhSac(OnMt50, Mt10MtmhSac):
    """MT50 by multi-head SAC: standard protocol, 100 million steps (McLean et al. 2025)."""

    name: ClassVar[str] = "mt50-mtmhsac"


@dataclass(frozen=True, kw_only=True)
class Mt50PCGrad(OnMt50, Mt10PCGrad):
    """MT50 by multi-head SAC with gradient surgery in actor and critics (Yu et al. 2020)."""

    name: ClassVar[str] = "mt50-pcgrad"


@dataclass(frozen=True, kw_only=True)
class Mt50Wide(OnMt50, Mt10Wide):
    """MT50 by multi-head SAC, 1,024 units wide; --width 2048 or 4096 for more (McLean et al. 2025)."""

    name: ClassVar[str] = "mt50-wide"


@dataclass(frozen=True, kw_only=True)
class Mt50Single(OnMt50, Mt10Single):
    """MT50, each task learned alone by a SAC of its own."""

    name: ClassVar[str] = "mt50-single"
    environment_steps: int = 25_000_000


@dataclass(frozen=True, kw_only=True)
class Mt10Ppo(PolicyStudy):
    """MT10 by one PPO that is told the task's number (Yu et al. 2021)."""

    name: ClassVar[str] = "mt10-ppo"


@dataclass(frozen=True, kw_only=True)
class Mt10Trpo(PolicyStudy):
    """MT10 by one TRPO that is told the task's number (Yu et al. 2021)."""

    name: ClassVar[str] = "mt10-trpo"
    methods: tuple[str, ...] = ("MT-TRPO",)
    trace: float = 0.95


@dataclass(frozen=True, kw_only=True)
class Mt50Ppo(OnMt50, Mt10Ppo):
    """MT50 by one PPO that is told the task's number (Yu et al. 2021)."""

    name: ClassVar[str] = "mt50-ppo"


@dataclass(frozen=True, kw_only=True)
class Mt50Trpo(OnMt50, Mt10Trpo):
    """MT50 by one TRPO that is told the task's number (Yu et al. 2021)."""

    name: ClassVar[str] = "mt50-trpo"


CONTROL_STUDIES = (
    Mt10Single,
    Mt10MtSac,
    Mt10MtmhSac,
    Mt10PCGrad,
    Mt10Wide,
    Mt10Ppo,
    Mt10Trpo,
    Mt10Riddle,
    Mt50Single,
    Mt50MtSac,
    Mt50MtmhSac,
    Mt50PCGrad,
    Mt50Wide,
    Mt50Ppo,
    Mt50Trpo,
)
