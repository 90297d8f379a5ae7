"""The GPU family of one convolution: pixels x channels of the output a block, the depth in chunks of input channels
through shared memory. Pointwise convolutions, dense layers, stems and 3x3 convolutions are all this. Each group of a
grouped one is a product of its own: a block makes channels of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from mncc.kernels.chain import Chain, Stage
from mncc.kernels.gpu_tiles import HELD, QUAD, ThreadTiles, joined_pitch, padded_matrix, pitch, rounded


@dataclass(frozen=True)
class GpuProduct(Chain):
    """A chain of one stage that mixes all channels, or those of each group."""

    family: ClassVar[str] = "gpu_product"

    images: int = 1
    """Of the batch, all in one launch."""

    def __post_init__(self) -> None:
        """Raises AssertionError for a chain that the family does not take."""
        assert len(self.stages) == 1 and groups_multiply(self.last) and not (self.pool and self.last.groups > 1)

    @property
    def taps(self) -> int:
        """Positions of its window."""
        return self.last.kernel[0] * self.last.kernel[1]

    @property
    def inputs(self) -> int:
        """Input channels of a group."""
        return self.channels // self.last.groups

    @property
    def outputs(self) -> int:
        """Output channels of a group."""
        return self.last.channels // self.last.groups


def multiplies(stages: Sequence[Stage]) -> bool:
    """True for stages of which the first is a product over all channels in the order in which they lie."""
    return stages[0].groups == 1 and groups_multiply(stages[0])


def groups_multiply(stage: Stage) -> bool:
    """True for a product over the channels of each group in that order."""
    return stage.kind == "conv" and stage.shuffle == 1


@dataclass(frozen=True)
class ProductTiles:
    """The knobs: a block computes `rows` x `cols` pixels and `sums.width` channels; `chunk` input channels lie in
    shared memory at once. Of the chunks `slices` blocks take a part each, whose sums meet in a second launch."""

    rows: int
    cols: int
    chunk: int
    slices: int
    sums: ThreadTiles


@dataclass(frozen=True)
class ProductShape:
    """Sizes that follow from a product and its tiles, in pixels and floats."""

    spec: GpuProduct
    tiles: ProductTiles

    @property
    def group_panels(self) -> int:
        """Tiles of a group's output channels."""
        return -(-self.spec.outputs // self.tiles.sums.width)

    @property
    def panels(self) -> int:
        """Tiles of output channels, group after group."""
        return self.spec.last.groups * self.group_panels

    @property
    def grid(self) -> tuple[int, int, int]:
        """Slices of panels, tiles of columns and of rows."""
        last, tiles = self.spec.last, self.tiles
        return self.panels * tiles.slices, -(-last.width // tiles.cols), -(-last.height // tiles.rows)

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of the input behind a tile."""
        stage = self.spec.last
        return tuple(
            (size - 1) * stride + (kernel - 1) * dilation + 1
            for size, stride, kernel, dilation in zip(
                (self.tiles.rows, self.tiles.cols), stage.stride, stage.kernel, stage.dilation, strict=True
            )
        )  # type: ignore[return-value]

    @property
    def pixels(self) -> int:
        """Output pixels of a tile."""
        return self.tiles.rows * self.tiles.cols

    @cached_property
    def steps(self) -> int:
        """Chunks that one block takes."""
        chunks = -(-self.spec.inputs // self.tiles.chunk)
        return -(-chunks // self.tiles.slices)

    @property
    def chunks(self) -> int:
        """Chunks of a group's input channels; the last may be nothing but padding."""
        return self.steps * self.tiles.slices

    @property
    def depth(self) -> int:
        """A group's input channels with the padding of the last chunk."""
        return self.chunks * self.tiles.chunk

    @property
    def stages_weights(self) -> bool:
        """True where weights go through shared memory; where a thread alone needs them they do not."""
        return self.tiles.sums.down > 1

    @property
    def pitch(self) -> int:
        """Of a pixel in shared memory."""
        return pitch(self.tiles.chunk, self.tiles.sums.across)

    @property
    def window_floats(self) -> int:
        """Shared memory of the input."""
        return self.window[0] * self.window[1] * self.pitch

    @property
    def chunk_weights(self) -> int:
        """Weights of one chunk of one tile of channels."""
        return self.spec.taps * self.tiles.chunk * self.tiles.sums.width

    @property
    def held(self) -> int:
        """Registers of a thread for what the next chunk needs from memory, which is on its way while one is computed; 0
        where there is no next one, or too much of it."""
        threads, window = self.tiles.sums.threads, self.window[0] * self.window[1] * self.tiles.chunk
        runs = [window, self.chunk_weights] if self.stages_weights else [window]
        floats = sum(rounded(-(-run // threads), QUAD) for run in runs)
        return floats if self.steps > 1 and floats <= HELD else 0

    @property
    def joins(self) -> bool:
        """True where sums meet in shared memory: parts of the depth, or pixels of a pool."""
        return self.tiles.sums.split > 1 or self.spec.pool

    @property
    def join_pitch(self) -> int:
        """Of a pixel where sums meet."""
        return joined_pitch(self.tiles.sums)

    @property
    def join_floats(self) -> int:
        """Shared memory of sums that meet."""
        sums = self.tiles.sums
        return sums.split * sums.height * self.join_pitch if self.joins else 0

    @property
    def pool_floats(self) -> int:
        """Shared memory of the pixels of a pool."""
        return self.pixels * self.join_pitch if self.spec.pool else 0

    @property
    def shared_bytes(self) -> int:
        """The most that a block needs; what meets at the end can lie where the chunks were."""
        weights = self.chunk_weights if self.stages_weights else 0
        return 4 * (self.window_floats + weights + self.join_floats + self.pool_floats)

    @property
    def weight_floats(self) -> int:
        """Packed weights: per tile of channels its chunks, then all biases."""
        return self.panels * (self.chunks * self.chunk_weights + self.tiles.sums.width)

    @property
    def bias(self) -> int:
        """Where the biases begin."""
        return self.panels * self.chunks * self.chunk_weights


def pack(spec: GpuProduct, tiles: ProductTiles, arrays: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """One flat float32 array from `kernel` (kh, kw, in / groups, out) and `bias` (out,): per tile of output channels
    and per chunk of input channels the taps' (chunk, width) matrices, zeros where a tile or chunk is not full; then
    the biases."""
    shape, width = ProductShape(spec, tiles), tiles.sums.width
    count = shape.group_panels
    kernel = arrays[0]["kernel"].reshape(spec.taps, spec.inputs, spec.last.channels)
    parts = []
    for group in np.split(kernel, spec.last.groups, axis=2):
        full = np.stack([padded_matrix(tap, shape.depth, count * width) for tap in group])
        panels = full.reshape(spec.taps, shape.chunks, tiles.chunk, count, width).transpose(3, 1, 0, 2, 4)
        parts.append(panels.ravel())
    bias = np.zeros(shape.panels * width, np.float32)
    bias[: spec.last.channels] = arrays[0]["bias"]
    return np.concatenate([*parts, bias]).astype(np.float32)


def describe(spec: GpuProduct, tiles: ProductTiles) -> list[str]:
    """Two lines for printed plans."""
    shape, stage = ProductShape(spec, tiles), spec.last
    size = "x".join(map(str, (*stage.kernel, spec.channels, stage.channels)))
    size += f" in {stage.groups} groups" if stage.groups > 1 else ""
    act = f" {stage.activation.describe()}" if stage.activation else ""
    return [
        f"conv {size} / {stage.stride[0]}{act} -> {stage.height}x{stage.width}{' pool' if spec.pool else ''}",
        f"  blocks {'x'.join(map(str, shape.grid))} of {tiles.rows}x{tiles.cols} pixels x {tiles.sums.width} channels, "
        f"{tiles.chunk} input channels at once, {tiles.slices} slices, {tiles.sums.describe()}, "
        f"{shape.shared_bytes} bytes shared",
    ]
