"""Adaptive models in scikit-learn's terms: arrays and groups in, predictions out."""

from mutatis.estimators._base import AbstractAdaptiveEstimator as AbstractAdaptiveEstimator
from mutatis.estimators._classifier import AdaptiveClassifier as AdaptiveClassifier
from mutatis.estimators._regressor import AdaptiveRegressor as AdaptiveRegressor
from mutatis.estimators._scorer import GroupScorer as GroupScorer
from mutatis.estimators._scorer import group_scorer as group_scorer
from mutatis.estimators._stream import AbstractStream as AbstractStream
from mutatis.estimators._stream import ClassifierStream as ClassifierStream
from mutatis.estimators._stream import RegressorStream as RegressorStream
