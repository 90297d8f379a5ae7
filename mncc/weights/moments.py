"""Estimated mean and variance of every channel, carried through a network.

Random weights need batch-norm statistics that belong to them; these are estimates of what a pass over data would
collect, for inputs of mean 0 and variance 1, with activations taken as normal and independent. An operator without
a rule here keeps its inputs' average moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from mncc.network.ops import (
    Activation,
    Add,
    AvgPool,
    ChannelShuffle,
    Concat,
    Conv2d,
    Dense,
    Depthwise,
    GlobalPool,
    MaxPool,
    Mean,
    Multiply,
    Norm,
    Op,
    Reshape,
    Slice,
)
from mncc.network.types import TensorType

ROWS = 2**22
"""Weights that are converted to float64 at once."""


@dataclass(frozen=True)
class Moments:
    """Mean and variance along the last axis of a value, float64."""

    mean: np.ndarray
    variance: np.ndarray

    def averaged(self, size: int) -> Moments:
        """The same average mean and total variance for `size` channels."""
        mean = self.mean.mean()
        variance = self.variance.mean() + self.mean.var()
        return Moments(np.full(size, mean), np.full(size, variance))


Weights = Mapping[str, np.ndarray]


def carry(
    op: Op, inputs: Sequence[Moments], types: Sequence[TensorType], result: TensorType, weights: Weights
) -> Moments:
    """The moments of an operator's result, from those of its inputs."""
    moments = _carry(op, inputs, types, weights)
    size = result.shape[-1]
    return moments if len(moments.mean) == size else moments.averaged(size)


@singledispatch
def _carry(op: Op, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    return inputs[0]


@_carry.register
def _(op: Conv2d, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    kh, kw, depth, out = weights["kernel"].shape
    width = out // op.groups
    means, variances = [], []
    for group in range(op.groups):
        channels = slice(group * depth, (group + 1) * depth)
        kernel = weights["kernel"][..., group * width : (group + 1) * width].reshape(kh * kw, depth, width)
        source = Moments(inputs[0].mean[channels], inputs[0].variance[channels])
        taps = [_matrix(tap, source) for tap in kernel]
        means.append(sum(tap.mean for tap in taps))
        variances.append(sum(tap.variance for tap in taps))
    return _biased(Moments(np.concatenate(means), np.concatenate(variances)), weights)


@_carry.register
def _(op: Depthwise, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    kernel = weights["kernel"].astype(np.float64)
    mean = kernel.sum((0, 1)) * inputs[0].mean[:, None]
    variance = (kernel**2).sum((0, 1)) * inputs[0].variance[:, None]
    return _biased(Moments(mean.ravel(), variance.ravel()), weights)


@_carry.register
def _(op: Dense, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    return _biased(_matrix(weights["kernel"], inputs[0]), weights)


def _matrix(kernel: np.ndarray, source: Moments) -> Moments:
    """Sums of independent channels, weighted with an (in, out) matrix; in slabs, so that no copy is large."""
    mean, variance = np.zeros(kernel.shape[1]), np.zeros(kernel.shape[1])
    step = max(1, ROWS // kernel.shape[1])
    for start in range(0, kernel.shape[0], step):
        slab = kernel[start : start + step].astype(np.float64)
        mean += source.mean[start : start + step] @ slab
        variance += source.variance[start : start + step] @ (slab * slab)
    return Moments(mean, variance)


def _biased(moments: Moments, weights: Weights) -> Moments:
    return Moments(moments.mean + weights["bias"], moments.variance) if "bias" in weights else moments


@_carry.register
def _(op: Norm, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    gamma, beta, mean, variance = (weights[r].astype(np.float64) for r in ("gamma", "beta", "mean", "variance"))
    scale = gamma / np.sqrt(variance + op.epsilon)
    return Moments((inputs[0].mean - mean) * scale + beta, inputs[0].variance * scale**2)


@_carry.register
def _(op: Activation, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    """By Gauss-Hermite quadrature over a normal distribution."""
    nodes, shares = np.polynomial.hermite_e.hermegauss(63)
    shares = shares / shares.sum()
    x = inputs[0].mean[:, None] + np.sqrt(inputs[0].variance)[:, None] * nodes
    y = _activate(op, x)
    mean = y @ shares
    return Moments(mean, np.maximum((y - mean[:, None]) ** 2 @ shares, 0))


def _activate(op: Activation, x: np.ndarray) -> np.ndarray:
    gate = np.clip(x + 3, 0, 6) / 6
    sigmoid = 1 / (1 + np.exp(-np.clip(x, -60, 60)))
    values: dict[str, np.ndarray] = {
        "relu": np.maximum(x, 0),
        "relu6": np.clip(x, 0, 6),
        "hard_sigmoid": gate,
        "hard_swish": x * gate,
        "sigmoid": sigmoid,
        "swish": x * sigmoid,
        "leaky": np.where(x > 0, x, op.slope * x),
    }
    return values[op.kind]


@_carry.register
def _(op: Add, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    a, b = inputs
    return Moments(a.mean + b.mean, a.variance + b.variance)


@_carry.register
def _(op: Multiply, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    a, b = inputs
    variance = a.variance * b.variance + a.variance * b.mean**2 + b.variance * a.mean**2
    return Moments(a.mean * b.mean, variance)


@_carry.register
def _(op: Concat, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    if op.axis not in (-1, types[0].rank - 1):
        return Moments(
            np.mean([moments.mean for moments in inputs], 0), np.mean([moments.variance for moments in inputs], 0)
        )
    return Moments(
        np.concatenate([moments.mean for moments in inputs]), np.concatenate([moments.variance for moments in inputs])
    )


@_carry.register
def _(op: Slice, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    if op.axis not in (-1, types[0].rank - 1):
        return inputs[0]
    return Moments(inputs[0].mean[op.start : op.stop], inputs[0].variance[op.start : op.stop])


@_carry.register
def _(op: ChannelShuffle, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    def shuffle(array: np.ndarray) -> np.ndarray:
        return array.reshape(op.groups, -1).T.ravel()

    return Moments(shuffle(inputs[0].mean), shuffle(inputs[0].variance))


@_carry.register
def _(op: Reshape, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    size, channels = op.shape[-1], types[0].shape[-1]
    if size % channels:
        return inputs[0]
    return Moments(np.tile(inputs[0].mean, size // channels), np.tile(inputs[0].variance, size // channels))


@_carry.register(AvgPool)
@_carry.register(GlobalPool)
@_carry.register(Mean)
def _(op: Op, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    """The average of n elements, taken for sqrt(n) independent ones: neighbours in a picture are alike.

    A global maximum keeps its input's moments, roughly.
    """
    if isinstance(op, GlobalPool):
        count = types[0].shape[1] * types[0].shape[2] if op.kind == "avg" else 1
    elif isinstance(op, AvgPool):
        count = op.kernel[0] * op.kernel[1]
    else:
        assert isinstance(op, Mean)
        count = types[0].shape[op.axis]
    return Moments(inputs[0].mean, inputs[0].variance / np.sqrt(count))


@_carry.register
def _(op: MaxPool, inputs: Sequence[Moments], types: Sequence[TensorType], weights: Weights) -> Moments:
    """The largest of n normal elements: sqrt(2 ln n) deviations above the mean, and less spread."""
    count = op.kernel[0] * op.kernel[1]
    rise = np.sqrt(2 * np.log(count)) * 0.7
    return Moments(inputs[0].mean + rise * np.sqrt(inputs[0].variance), inputs[0].variance * 0.6)
