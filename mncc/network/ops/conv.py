"""Convolution over (H, W), in groups, with stride, dilation and explicit padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mncc.network.ops.base import Op, ShapeError
from mncc.network.types import TensorType
from mncc.network.window import Pads, Pair, output_size

if TYPE_CHECKING:
    import torch
    from tvm import te


@dataclass(frozen=True)
class Conv2d(Op):
    """(N, H, W, C) -> (N, H', W', channels); kernel (kh, kw, C / groups, channels)."""

    name: ClassVar[str] = "conv"

    channels: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pads = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = False
