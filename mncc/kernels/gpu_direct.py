"""The GPU family for convolutions that no other takes: grouped ones, odd windows, shuffled channels. A thread computes
one element of the output, straight from global memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mncc.kernels.chain import Chain
from mncc.kernels.gpu_tiles import QUAD, rounded
from mncc.kernels.tiles import stored_in_float


@dataclass(frozen=True)
class GpuDirect(Chain):
    """A chain of one stage, of any kind, without a pool."""

    family: ClassVar[str] = "gpu_direct"

    images: int = 1
    """Of the batch, all in one launch."""

    def __post_init__(self) -> None:
        """Raises AssertionError for a chain that the family does not take."""
        assert len(self.stages) == 1 and not self.pool, self.stages


@dataclass(frozen=True)
class DirectTiles:
    """The knob: threads of a block."""

    threads: int


def bias_offset(spec: GpuDirect) -> int:
    """Where the biases begin, in floats."""
    return rounded(-(-spec.depth(0) * spec.last.channels // stored_in_float(spec.weights_dtype)), QUAD)


def weight_floats(spec: GpuDirect) -> int:
    """Weights and biases."""
    return rounded(bias_offset(spec) + spec.last.channels, QUAD)


def pack(spec: GpuDirect, tiles: DirectTiles, arrays: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """One flat array, in the memory of float32, from `kernel` (kh, kw, in / groups, out; depthwise kh, kw, channels, 1)
    and `bias`: the (depth, out) matrix in the type in which it is stored, then the biases in float32."""
    packed = np.zeros(weight_floats(spec), np.float32)
    matrix = arrays[0]["kernel"].reshape(spec.depth(0), spec.last.channels)
    packed.view(spec.weights_dtype)[: matrix.size] = matrix.ravel()
    packed[bias_offset(spec) :][: spec.last.channels] = arrays[0]["bias"]
    return packed


def describe(spec: GpuDirect, tiles: DirectTiles) -> list[str]:
    """A line for printed plans."""
    stage = spec.last
    size = "x".join(map(str, (*stage.kernel, stage.channels)))
    return [f"{stage.kind} {size} in {stage.groups} groups, an element a thread"]
