"""Weightings: how the tasks of an outer step share it, one file per family."""

from mutatis.weightings._aligned import AlignedMTL as AlignedMTL
from mutatis.weightings._average import Average as Average
from mutatis.weightings._bargain import NashMTL as NashMTL
from mutatis.weightings._conflict_averse import CAGrad as CAGrad
from mutatis.weightings._fair import QFair as QFair
from mutatis.weightings._fast_adaptive import FAMO as FAMO
from mutatis.weightings._gradient_norm import GradNorm as GradNorm
from mutatis.weightings._impartial import IMTLG as IMTLG
from mutatis.weightings._minimum_norm import MGDA as MGDA
from mutatis.weightings._random import RandomWeights as RandomWeights
from mutatis.weightings._robust import GroupDRO as GroupDRO
from mutatis.weightings._surgery import PCGrad as PCGrad
from mutatis.weightings._uncertainty import UncertaintyWeights as UncertaintyWeights
