"""The family for dense 3x3 convolutions of stride 1: Winograd's F(size x size, 3x3) on strips of output tiles.

A strip's tiles are transformed to (size + 2)^2 values a channel, multiplied, a matrix product at each of these
positions, and transformed back. With size 4 a product takes 36 multiplications where the convolution takes 144.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mncc.kernels.chain import Chain
from mncc.kernels.tiles import (
    FLOATS_PER_LINE,
    ConvTile,
    Scratch,
    Segment,
    aligned,
    cover_channels,
    pack_panels,
)
from mncc.kernels.toom import kernel_matrix
from mncc.network.window import Pads


@dataclass(frozen=True)
class Winograd(Chain):
    """A chain of one dense 3x3 stage of stride and dilation 1, computed in tiles of `size` x `size` output pixels.

    It reads its padding from its input's borders where they are wide enough, and else fills in zeros itself.
    """

    family: ClassVar[str] = "winograd"

    size: int = 4

    def __post_init__(self) -> None:
        """Raises AssertionError for a chain that the family does not take."""
        only = self.stages[0]
        dense = only.kind == "conv" and only.groups == only.shuffle == 1 and not self.pool
        assert dense and (only.kernel, only.stride, only.dilation) == ((3, 3), (1, 1), (1, 1)), only
        assert len(self.stages) == 1, "a Winograd convolution stands alone"

    @property
    def patch(self) -> int:
        """Input rows, and columns, behind a tile."""
        return self.size + 2

    @property
    def positions(self) -> int:
        """Values of a transformed tile in one channel, each with a product of its own."""
        return self.patch**2

    @property
    def tile_rows(self) -> int:
        """Rows of tiles that cover the output."""
        return -(-self.last.height // self.size)

    @property
    def tile_columns(self) -> int:
        """Tiles in a row."""
        return -(-self.last.width // self.size)

    @property
    def wanted_pads(self) -> Pads:
        """Borders of the input with which no tile reaches out of its memory."""
        (top, _), (left, _) = self.stages[0].padding
        bottom = self.tile_rows * self.size + 2 - top - self.height
        right = self.tile_columns * self.size + 2 - left - self.width
        return (top, max(0, bottom)), (left, max(0, right))


@dataclass(frozen=True)
class WinogradTiles:
    """The knobs.

    `strip`: rows of tiles that are transformed together, and for which the weights are read once.
    `split`: what tasks share out, `rows` of tiles or, where one strip holds all, `channels` (tiles of the output's).
    `product`: the register tile, `cols` tiles x `channels` output channels. `lanes`: channels of a vector in the
    input's transform.
    """

    strip: int
    split: Literal["rows", "channels"]
    product: ConvTile
    lanes: int


def segments(spec: Winograd, tiles: WinogradTiles) -> tuple[Segment, ...]:
    """How the output channels are cut."""
    return cover_channels(spec.last.channels, tiles.product.channels, tiles.product.lanes)


def items(spec: Winograd, tiles: WinogradTiles) -> int:
    """Work items of one image: rows of tiles, or tiles of channels."""
    if tiles.split == "rows":
        return spec.tile_rows
    return sum(s.count for s in segments(spec, tiles))


def scratch_layout(spec: Winograd, tiles: WinogradTiles) -> tuple[Scratch, ...]:
    """A strip's transformed input and its products, both position by position; `rows` counts positions, `cols`
    tiles, of which there are enough for whole register tiles."""
    cols = -(-tiles.strip * spec.tile_columns // tiles.product.cols) * tiles.product.cols
    layout: list[Scratch] = []
    for stage, channels in enumerate((spec.channels, spec.last.channels)):
        offset = aligned(layout[-1].floats) if layout else 0
        layout.append(Scratch(stage, spec.positions, *_spread(cols, channels), offset))
    return tuple(layout)


def _spread(cols: int, channels: int) -> tuple[int, int, int]:
    """Columns, channels and pitch: the values of a tile at its positions, and those of neighbouring tiles, lie an odd
    number of lines apart, so that they do not fall on the same sets of the L1 cache."""
    lines = aligned(channels) // FLOATS_PER_LINE | 1
    return cols | 1, channels, lines * FLOATS_PER_LINE


def weight_layout(spec: Winograd) -> tuple[int, int]:
    """Where the biases begin in the kernel's weights, and the size of these, in floats."""
    bias = aligned(spec.positions * spec.channels * spec.last.channels)
    return bias, bias + aligned(spec.last.channels)


def pack(spec: Winograd, tiles: WinogradTiles, arrays: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """One flat float32 array from `kernel` (3, 3, in, out) and `bias` (out,): the panels of every position, transformed
    in float64 and rounded once, then the biases."""
    kernel, matrix = arrays[0]["kernel"].astype(np.float64), kernel_matrix(spec.size)
    transformed = np.einsum("ay,bx,yxio->abio", matrix, matrix, kernel, optimize=True)
    flat = transformed.reshape(spec.positions, spec.channels, spec.last.channels)
    bias, total = weight_layout(spec)
    packed = np.zeros(total, np.float32)
    packed[: flat.size] = np.concatenate([pack_panels(position, segments(spec, tiles)) for position in flat])
    packed[bias : bias + spec.last.channels] = arrays[0]["bias"]
    return packed


def describe(spec: Winograd, tiles: WinogradTiles) -> list[str]:
    """The tiles, then the stage, for printed plans."""
    stage, tile = spec.last, tiles.product
    act = f" {stage.activation.describe()}" if stage.activation else ""
    return [
        f"F({spec.size}x{spec.size}, 3x3) on {spec.tile_rows}x{spec.tile_columns} tiles, strip {tiles.strip} "
        f"split {tiles.split}",
        f"  conv 3x3x{stage.channels}{act} -> {stage.height}x{stage.width}: tile "
        f"{tile.cols} tiles x {tile.channels} channels, {tile.lanes} lanes",
    ]
