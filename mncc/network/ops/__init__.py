"""The operators: one file each, with its attributes, shape rule, cost, compute definition and torch twin."""

from mncc.network.ops.activation import Activation
from mncc.network.ops.add import Add
from mncc.network.ops.base import Op, ShapeError
from mncc.network.ops.concat import Concat
from mncc.network.ops.conv import Conv2d
from mncc.network.ops.dense import Dense
from mncc.network.ops.depthwise import Depthwise
from mncc.network.ops.multiply import Multiply
from mncc.network.ops.norm import Norm
from mncc.network.ops.pool import AvgPool, MaxPool
from mncc.network.ops.reduce import GlobalPool, Mean
from mncc.network.ops.reshape import Reshape
from mncc.network.ops.shuffle import ChannelShuffle
from mncc.network.ops.slice import Slice
from mncc.network.ops.softmax import Softmax
from mncc.network.ops.upsample import Upsample

__all__ = [
    "Activation",
    "Add",
    "AvgPool",
    "ChannelShuffle",
    "Concat",
    "Conv2d",
    "Dense",
    "Depthwise",
    "GlobalPool",
    "MaxPool",
    "Mean",
    "Multiply",
    "Norm",
    "Op",
    "Reshape",
    "ShapeError",
    "Slice",
    "Softmax",
    "Upsample",
]
