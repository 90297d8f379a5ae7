"""Windows and pixels as other engines count them: padding that covers ceil mode, taps of averages, nearest pixels."""

from __future__ import annotations

import numpy as np

from mncc.network.ops import AvgPool, MaxPool
from mncc.network.ops._compute import covering
from mncc.network.types import TensorType
from mncc.network.window import Pads


def covering_pads(op: MaxPool | AvgPool, given: TensorType, made: TensorType) -> Pads:
    """The padding that a pool's windows reach, ceil mode included; pixels that none reaches are no negative padding."""
    (_, h, w, _), (_, out_h, out_w, _) = given.shape, made.shape
    rows, columns = covering((h, w), (out_h, out_w), op.kernel, op.stride, op.padding)
    return (rows[0], max(rows[1], 0)), (columns[0], max(columns[1], 0))


def counted_taps(op: AvgPool, given: TensorType, made: TensorType, include_pad: bool) -> np.ndarray:
    """How many taps of every window count, (H', W'): those in the picture, and with `include_pad` on its padding.
    What a window of ceil mode has beyond the padding never counts."""
    axes = []
    for axis, (size, out) in enumerate(zip(given.shape[1:3], made.shape[1:3], strict=True)):
        before, after = op.padding[axis]
        low, high = (0, before + size + after) if include_pad else (before, before + size)
        first = np.arange(out) * op.stride[axis]
        axes.append(np.minimum(first + op.kernel[axis], high) - np.maximum(first, low))
    return np.outer(*axes)


def nearest_is_exact(size: int, out: int) -> bool:
    """Whether floor(i * scale), with the scale rounded to float32 as engines have it, is pixel floor(i * size / out)
    for every one of `out` pixels."""
    index = np.arange(out)
    rounded = np.floor(index.astype(np.float32) * np.float32(size / out)).astype(int)
    return bool(np.array_equal(rounded, index * size // out))
