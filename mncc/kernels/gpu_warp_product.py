"""The GPU family of one convolution in float16 on tensor cores: warps multiply fragments of 16 x 16 and add up in
float32. The depth is that of the unrolled window, taps x input channels, so that a stem's three channels fill it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from mncc.kernels.gpu_product import GpuProduct, ProductShape, ProductTiles
from mncc.kernels.gpu_tiles import FRAGMENT, WarpTiles, half_pitch, padded_matrix, rounded


@dataclass(frozen=True)
class WarpProduct(GpuProduct):
    """As its base, of float16."""

    family: ClassVar[str] = "gpu_warp_product"

    @property
    def unrolled(self) -> int:
        """Multiply-adds behind one element: taps x channels of its group, in this order."""
        return self.taps * self.inputs


@dataclass(frozen=True)
class WarpProductShape(ProductShape):
    """Sizes that follow, in pixels, and in numbers of the type that is named. `tiles.chunk` counts unrolled depth."""

    spec: WarpProduct
    tiles: ProductTiles

    @property
    def sums(self) -> WarpTiles:
        """How warps share the product."""
        assert isinstance(self.tiles.sums, WarpTiles)
        return self.tiles.sums

    @cached_property
    def steps(self) -> int:
        """Chunks that one block takes."""
        chunks = -(-self.spec.unrolled // self.tiles.chunk)
        return -(-chunks // self.tiles.slices)

    @property
    def pitch(self) -> int:
        """float16 numbers from pixel to pixel in shared memory."""
        return half_pitch(self.tiles.chunk)

    @property
    def join_pitch(self) -> int:
        """Floats from pixel to pixel of sums that meet in shared memory: an odd multiple of eight, so that the four
        rows in which half a warp writes eight of them each lie in different banks."""
        return rounded(self.sums.width + 8, 16) - 8

    @property
    def weights_pitch(self) -> int:
        """The same from one row of weights to the next."""
        return half_pitch(self.sums.width)

    @property
    def window_halves(self) -> int:
        """Shared memory of the input, unrolled."""
        return self.sums.height * self.pitch

    @property
    def staged_halves(self) -> int:
        """Shared memory of a chunk's weights."""
        return self.tiles.chunk * self.weights_pitch

    @property
    def chunk_weights(self) -> int:
        """float16 weights of one chunk of one tile of channels, in global memory."""
        return self.tiles.chunk * self.sums.width

    @property
    def staged_floats(self) -> int:
        """Shared memory of sums on their way out, a fragment of each warp; where sums meet, all of them are there."""
        return staged_floats(self.sums) if not self.joins else 0

    @property
    def shared_bytes(self) -> int:
        """Of a block."""
        return 2 * (self.window_halves + self.staged_halves) + 4 * (
            self.staged_floats + self.join_floats + self.pool_floats
        )

    @property
    def pool_floats(self) -> int:
        """Shared memory of a pool's biases; its pixels stay where the sums have met."""
        return self.sums.width if self.spec.pool else 0

    @property
    def bias(self) -> int:
        """Where the biases begin, in floats."""
        return self.panels * self.chunks * self.chunk_weights // 2

    @property
    def weight_floats(self) -> int:
        """Packed weights in floats: per tile of channels its chunks in float16, then all biases in float32."""
        return self.bias + self.panels * self.sums.width


def staged_floats(tiles: WarpTiles) -> int:
    """A fragment of every warp on its way out."""
    return tiles.warps * FRAGMENT**2


def pack(spec: WarpProduct, tiles: ProductTiles, arrays: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """One flat array, in the memory of float32, from `kernel` (kh, kw, in / groups, out) and `bias` (out,): per tile of
    output channels and per chunk of the unrolled depth a (chunk, width) matrix of float16, zeros where a tile or chunk
    is not full; then the biases in float32."""
    shape, width = WarpProductShape(spec, tiles), tiles.sums.width
    matrix = arrays[0]["kernel"].reshape(spec.unrolled, spec.last.channels)
    parts = []
    for group in np.split(matrix, spec.last.groups, axis=1):
        full = padded_matrix(group, shape.depth, shape.group_panels * width)
        panels = full.reshape(shape.chunks, tiles.chunk, shape.group_panels, width).transpose(2, 0, 1, 3)
        parts.append(panels.ravel())
    packed = np.zeros(shape.weight_floats, np.float32)
    packed[: shape.bias].view(np.float16)[...] = np.concatenate(parts)
    packed[shape.bias :][: spec.last.channels] = arrays[0]["bias"]
    return packed


def describe(spec: WarpProduct, tiles: ProductTiles) -> list[str]:
    """Two lines for printed plans."""
    shape, stage = WarpProductShape(spec, tiles), spec.last
    size = "x".join(map(str, (*stage.kernel, spec.channels, stage.channels)))
    size += f" in {stage.groups} groups" if stage.groups > 1 else ""
    act = f" {stage.activation.describe()}" if stage.activation else ""
    return [
        f"conv {size} / {stage.stride[0]}{act} -> {stage.height}x{stage.width}{' pool' if spec.pool else ''}",
        f"  blocks {'x'.join(map(str, shape.grid))} of {tiles.rows}x{tiles.cols} pixels x {tiles.sums.width} channels, "
        f"depth {tiles.chunk} at once, {tiles.slices} slices, {tiles.sums.describe()}, {shape.shared_bytes} bytes "
        "shared; tensor cores",
    ]
