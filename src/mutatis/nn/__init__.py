"""Layers and networks that map batches to batches; any other Equinox module works as well."""

from mutatis.nn._attention import Cache as Cache
from mutatis.nn._attention import LayerNorm as LayerNorm
from mutatis.nn._conv import Conv2d as Conv2d
from mutatis.nn._conv import conv2d as conv2d
from mutatis.nn._conv import max_pool2 as max_pool2
from mutatis.nn._convnet import context_net as context_net
from mutatis.nn._convnet import conv_net as conv_net
from mutatis.nn._convnet import loss_net as loss_net
from mutatis.nn._in_context import InContextClassifier as InContextClassifier
from mutatis.nn._in_context import in_context_net as in_context_net
from mutatis.nn._layers import Activation as Activation
from mutatis.nn._layers import Classifier as Classifier
from mutatis.nn._layers import Linear as Linear
from mutatis.nn._layers import PerExample as PerExample
from mutatis.nn._layers import Sequential as Sequential
from mutatis.nn._layers import mlp as mlp
from mutatis.nn._layers import relu as relu
from mutatis.nn._norm import BatchNorm as BatchNorm
from mutatis.nn._norm import Moments as Moments
from mutatis.nn._norm import batch_norms as batch_norms
from mutatis.nn._norm import norm_affine as norm_affine
