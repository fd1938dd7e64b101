"""Adaptation to group shift: data with groups, tasks drawn from them, the field's methods, and how they are judged."""

from mutatis.shift._evaluate import predict_batches as predict_batches
from mutatis.shift._evaluate import predict_source as predict_source
from mutatis.shift._evaluate import predict_stream as predict_stream
from mutatis.shift._groups import GroupedData as GroupedData
from mutatis.shift._groups import Groups as Groups
from mutatis.shift._methods import METHODS as METHODS
from mutatis.shift._methods import Method as Method
from mutatis.shift._networks import Networks as Networks
from mutatis.shift._sampling import GroupArrays as GroupArrays
from mutatis.shift._sampling import GroupSampler as GroupSampler
