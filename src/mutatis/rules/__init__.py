"""Rules: the inner loops, one file each."""

from mutatis.rules._belief import Belief as Belief
from mutatis.rules._belief import Believing as Believing
from mutatis.rules._context import Conditioned as Conditioned
from mutatis.rules._context import ContextMean as ContextMean
from mutatis.rules._curvature import MetaCurvature as MetaCurvature
from mutatis.rules._curvature import channels_first as channels_first
from mutatis.rules._curvature import channels_last as channels_last
from mutatis.rules._gradient import GradientSteps as GradientSteps
from mutatis.rules._in_context import InContext as InContext
from mutatis.rules._in_context import InContextModel as InContextModel
from mutatis.rules._in_context import causal_cross_entropy as causal_cross_entropy
from mutatis.rules._laplacian import LaplacianAdjustment as LaplacianAdjustment
from mutatis.rules._loss import LearnedLoss as LearnedLoss
from mutatis.rules._loss import cross_entropy as cross_entropy
from mutatis.rules._loss import entropy as entropy
from mutatis.rules._moments import BatchMoments as BatchMoments
from mutatis.rules._none import NoAdaptation as NoAdaptation
from mutatis.rules._prototypes import Prototypes as Prototypes
from mutatis.rules._rates import Positive as Positive
from mutatis.rules._rates import per_element as per_element
from mutatis.rules._rates import per_tensor as per_tensor
from mutatis.rules._ridge import Ridge as Ridge
from mutatis.rules._ridge_head import RidgeHead as RidgeHead
