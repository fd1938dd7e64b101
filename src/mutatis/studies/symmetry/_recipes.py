"""The studies of learned symmetries that can be run by name."""

from dataclasses import dataclass
from typing import ClassVar

import jax

from mutatis.studies.symmetry._few_shot import SymmetryGlyphs, SymmetryOmniglot
from mutatis.studies.symmetry._study import Families, Family, SymmetryStudy
from mutatis.symmetry._candidate_lists import line_candidates, ring_candidates
from mutatis.symmetry._image_problems import ImageProblem, patch_problems
from mutatis.symmetry._problems import LinearProblem


@dataclass(frozen=True, kw_only=True)
class Symmetry1d(SymmetryStudy):
    """Maps of a line of 70 numbers: a convolution, and locally connected maps of rank 2 and 5 (Zhou et al. 2021)."""

    name: ClassVar[str] = "symmetry-1d"
    methods: tuple[str, ...] = (
        "MSR",
        "MSR, ridge",
        "MSR, low rank, ridge",
        "MAML-FC",
        "MAML-LC",
        "MAML-Conv",
        "Meta-Curvature",
        "true U",
        "wrong U",
        "random U",
    )
    ranks: tuple[int, ...] = (1, 2, 5)
    """Rank of the maps: 1 is the convolution, translation is broken the more the higher it is."""

    def data(self, seed: int) -> Families:
        """One family for every rank; what is fixed of its maps is drawn from the seed."""
        candidates = line_candidates(70, 68)
        return Families(
            {
                f"rank {rank}": Family(
                    LinearProblem(
                        rank,
                        key=jax.random.key(seed),
                        support=self.support,
                        query=self.query,
                        tasks_per_step=self.tasks_per_step,
                    ),
                    candidates,
                )
                for rank in self.ranks
            }
        )


@dataclass(frozen=True, kw_only=True)
class Symmetry2d(SymmetryStudy):
    """Images seen through filters that turn by 45 degrees and flip; no test of sharing (Zhou et al. 2021)."""

    name: ClassVar[str] = "symmetry-2d"
    methods: tuple[str, ...] = ("MSR, Kronecker", "MAML-Conv 3 x 3", "MAML-Conv 3 x 3, untuned", "true U")
    steps: int = 200
    held_out: int = 200
    evaluate_every: int = 20
    steps_per_dispatch: int = 10

    def data(self, seed: int) -> Families:
        """Eight turns, and eight turns with their mirror images."""
        del seed

        def family(*, flip: bool) -> Family:
            problem = ImageProblem(
                8, flip=flip, support=self.support, query=self.query, tasks_per_step=self.tasks_per_step
            )
            return Family(problem, ring_candidates())

        return Families({"turns": family(flip=False), "turns and flips": family(flip=True)})


@dataclass(frozen=True, kw_only=True)
class SymmetryScarce(SymmetryStudy):
    """A few 3 x 3 patches a task, too few to learn a map from unless what it shares under turns and flips is known."""

    name: ClassVar[str] = "symmetry-scarce"
    methods: tuple[str, ...] = (
        "MSR, ridge",
        "MSR, Kronecker, ridge",
        "MSR, 5 Kronecker terms, ridge",
        "MSR, soft permutations, ridge",
        "true U, ridge",
        "wrong U, ridge",
        "random U, ridge",
        "MAML-FC",
    )
    steps: int = 4000
    support: int = 4
    query: int = 64
    groups: tuple[str, ...] = ("pixel C4", "pixel D4", "ring C8", "ring D8", "bank C8", "bank D8")
    """Groups of turns (C) and of turns and flips (D): of all nine pixels, along the border, or of steerable filters."""

    def data(self, seed: int) -> Families:
        """The groups of turns of a patch."""
        del seed
        problems = patch_problems(support=self.support, query=self.query, tasks_per_step=self.tasks_per_step)
        unknown = [name for name in self.groups if name not in problems]
        if unknown or not self.groups:
            raise ValueError(f"groups is {self.groups}; name some of: {', '.join(problems)}.")
        return Families({name: Family(problems[name], ring_candidates()) for name in self.groups})


SYMMETRY_STUDIES = (Symmetry1d, Symmetry2d, SymmetryScarce, SymmetryGlyphs, SymmetryOmniglot)
