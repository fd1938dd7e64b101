"""Mutatis: models that change what has to be changed, and no more.

A method is a row of five values: a model, a rule (the inner loop), a direction, a weighting and an optimiser.
"""

from mutatis._citation import citation as citation
from mutatis._diagnose import diagnose as diagnose
from mutatis._diagnosis import Diagnosis as Diagnosis
from mutatis._direction import AbstractDirection as AbstractDirection
from mutatis._direction import Displacement as Displacement
from mutatis._direction import FirstOrder as FirstOrder
from mutatis._direction import Implicit as Implicit
from mutatis._direction import Unrolled as Unrolled
from mutatis._outer import History as History
from mutatis._outer import OuterState as OuterState
from mutatis._outer import outer_init as outer_init
from mutatis._outer import outer_scan as outer_scan
from mutatis._outer import outer_step as outer_step
from mutatis._rule import AbstractRule as AbstractRule
from mutatis._rule import AbstractStatistic as AbstractStatistic
from mutatis._rule import Learner as Learner
from mutatis._rule import adapt as adapt
from mutatis._rule import adapt_stream as adapt_stream
from mutatis._task import Task as Task
from mutatis._tree import Fixed as Fixed
from mutatis._tree import ravel as ravel
from mutatis._tree import trainable as trainable
from mutatis._weighting import AbstractWeighting as AbstractWeighting
from mutatis.nn import is_filter as is_filter
from mutatis.nn import is_symmetry as is_symmetry
from mutatis.nn import materialise as materialise
from mutatis.nn import not_ as not_
from mutatis.nn import reparameterise as reparameterise
from mutatis.rules import BatchMoments as BatchMoments
from mutatis.rules import Belief as Belief
from mutatis.rules import Believing as Believing
from mutatis.rules import Conditioned as Conditioned
from mutatis.rules import ContextMean as ContextMean
from mutatis.rules import GradientSteps as GradientSteps
from mutatis.rules import InContext as InContext
from mutatis.rules import InContextModel as InContextModel
from mutatis.rules import LaplacianAdjustment as LaplacianAdjustment
from mutatis.rules import LearnedLoss as LearnedLoss
from mutatis.rules import MetaCurvature as MetaCurvature
from mutatis.rules import NoAdaptation as NoAdaptation
from mutatis.rules import Positive as Positive
from mutatis.rules import Prototypes as Prototypes
from mutatis.rules import Ridge as Ridge
from mutatis.rules import RidgeHead as RidgeHead
from mutatis.rules import causal_cross_entropy as causal_cross_entropy
from mutatis.rules import channels_first as channels_first
from mutatis.rules import channels_last as channels_last
from mutatis.rules import cross_entropy as cross_entropy
from mutatis.rules import entropy as entropy
from mutatis.rules import per_element as per_element
from mutatis.rules import per_tensor as per_tensor
from mutatis.weightings import FAMO as FAMO
from mutatis.weightings import IMTLG as IMTLG
from mutatis.weightings import MGDA as MGDA
from mutatis.weightings import AlignedMTL as AlignedMTL
from mutatis.weightings import Average as Average
from mutatis.weightings import CAGrad as CAGrad
from mutatis.weightings import GradNorm as GradNorm
from mutatis.weightings import GroupDRO as GroupDRO
from mutatis.weightings import NashMTL as NashMTL
from mutatis.weightings import PCGrad as PCGrad
from mutatis.weightings import QFair as QFair
from mutatis.weightings import RandomWeights as RandomWeights
from mutatis.weightings import UncertaintyWeights as UncertaintyWeights

__version__ = "0.1.0"
