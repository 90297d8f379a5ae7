"""The GPU family that fuses a depthwise convolution with the one before it, the pointwise one behind it, or both.

A block makes a tile of the output. Channels of the depthwise convolution pass through shared memory in chunks: their
expansion, the depthwise convolution, and what they add to the projection, whose sums stay in registers. Without a
convolution behind it a block makes one chunk of the depthwise convolution's own output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from mncc.kernels.chain import Chain, Stage
from mncc.kernels.gpu_product import multiplies
from mncc.kernels.gpu_tiles import QUAD, ThreadTiles, padded_matrix, pitch, rounded


@dataclass(frozen=True)
class GpuFused(Chain):
    """[convolution,] depthwise [, pointwise]."""

    family: ClassVar[str] = "gpu_fused"

    def __post_init__(self) -> None:
        """Raises AssertionError for a chain that the family does not take."""
        assert fuses(self.stages) and not self.pool, self.stages

    @property
    def middle(self) -> int:
        """The number of the depthwise stage."""
        return int(self.stages[0].kind != "depthwise")

    @property
    def lead(self) -> Stage | None:
        """The convolution before it."""
        return self.stages[0] if self.middle else None

    @property
    def depthwise(self) -> Stage:
        """The stage in the middle."""
        return self.stages[self.middle]

    @property
    def tail(self) -> Stage | None:
        """The product behind it."""
        return self.stages[-1] if self.middle < len(self.stages) - 1 else None


def fuses(stages: Sequence[Stage]) -> bool:
    """True for stages that one kernel of this family can be."""
    kinds = [stage.kind for stage in stages]
    if kinds.count("depthwise") != 1 or any(stage.shuffle > 1 for stage in stages):
        return False
    before, after = stages[: kinds.index("depthwise")], stages[kinds.index("depthwise") + 1 :]
    leads = not before or (len(before) == 1 and multiplies(before))
    return leads and (not after or (len(after) == 1 and after[0].pointwise and multiplies(after)))


@dataclass(frozen=True)
class FusedTiles:
    """The knobs: `rows` x `cols` output pixels a block, `chunk` channels of the depthwise convolution at once; how the
    `threads` share the two products, and that each computes `run` pixels in a row of the depthwise convolution."""

    rows: int
    cols: int
    chunk: int
    threads: int
    run: int
    lead: ThreadTiles | None
    tail: ThreadTiles | None


@dataclass(frozen=True)
class ChunkPlace:
    """Where, in floats from the start of a chunk's weights, they lie: the lead's, its biases, the depthwise taps and
    biases, the tail's, and the end."""

    lead: int
    lead_bias: int
    taps: int
    taps_bias: int
    tail: int
    floats: int


@dataclass(frozen=True)
class FusedShape:
    """Sizes that follow from a fused kernel and its tiles, in pixels and floats."""

    spec: GpuFused
    tiles: FusedTiles

    @property
    def chunks(self) -> int:
        """Chunks of channels."""
        return -(-self.spec.depthwise.channels // self.tiles.chunk)

    @property
    def steps(self) -> int:
        """Chunks that one block takes: all that the projection needs, else one."""
        return self.chunks if self.spec.tail else 1

    @property
    def grid(self) -> tuple[int, int, int]:
        """Chunks that blocks share out, tiles of columns and of rows."""
        last = self.spec.last
        return self.chunks // self.steps, -(-last.width // self.tiles.cols), -(-last.height // self.tiles.rows)

    @property
    def pixels(self) -> int:
        """Output pixels of a tile."""
        return self.tiles.rows * self.tiles.cols

    @cached_property
    def middle(self) -> tuple[int, int]:
        """Rows and columns that the depthwise convolution reads for a tile."""
        return _window((self.tiles.rows, self.tiles.cols), self.spec.depthwise)

    @property
    def middle_pixels(self) -> int:
        """Of that window."""
        return self.middle[0] * self.middle[1]

    @property
    def made_rows(self) -> int:
        """Pixels that the lead's threads write, in whole tiles."""
        assert self.tiles.lead is not None
        return rounded(self.middle_pixels, self.tiles.lead.height)

    @cached_property
    def window(self) -> tuple[int, int]:
        """Rows and columns of the input behind a tile."""
        return _window(self.middle, self.spec.lead) if self.spec.lead else self.middle

    @property
    def depth(self) -> int:
        """Input channels of the lead with padding."""
        return rounded(self.spec.channels, QUAD)

    @property
    def input_pitch(self) -> int:
        """Of the lead's input in shared memory."""
        return pitch(self.depth)

    @property
    def chunk_pitch(self) -> int:
        """Of a chunk's pixels in shared memory."""
        return pitch(self.tiles.chunk)

    @property
    def lead_taps(self) -> int:
        """Positions of the lead's window."""
        return self.spec.lead.kernel[0] * self.spec.lead.kernel[1] if self.spec.lead else 0

    @property
    def taps(self) -> int:
        """Positions of the depthwise window."""
        return self.spec.depthwise.kernel[0] * self.spec.depthwise.kernel[1]

    @cached_property
    def weights(self) -> ChunkPlace:
        """The layout of one chunk's weights."""
        chunk = self.tiles.chunk
        lead_bias = self.lead_taps * self.depth * chunk
        taps = lead_bias + (chunk if self.spec.lead else 0)
        taps_bias = taps + self.taps * chunk
        tail = taps_bias + chunk
        return ChunkPlace(0, lead_bias, taps, taps_bias, tail, tail + chunk * self.width)

    @property
    def width(self) -> int:
        """Channels of the projection with padding; 0 without one."""
        return self.tiles.tail.width if self.tiles.tail else 0

    @property
    def bias(self) -> int:
        """Where the projection's biases begin in the kernel's weights."""
        return self.chunks * self.weights.floats

    @property
    def weight_floats(self) -> int:
        """The kernel's weights: chunk after chunk, then the projection's biases."""
        return self.bias + self.width

    @property
    def window_floats(self) -> int:
        """Shared memory of the lead's input."""
        return self.window[0] * self.window[1] * self.input_pitch if self.spec.lead else 0

    @property
    def middle_floats(self) -> int:
        """Shared memory of what the depthwise convolution reads."""
        rows = self.made_rows if self.spec.lead else self.middle_pixels
        return rows * self.chunk_pitch

    @property
    def made_floats(self) -> int:
        """Shared memory of what the projection reads."""
        return self.tiles.tail.height * self.chunk_pitch if self.tiles.tail else 0

    @property
    def shared_bytes(self) -> int:
        """Of a block."""
        return 4 * (self.window_floats + self.weights.floats + self.middle_floats + self.made_floats)


def _window(size: tuple[int, int], stage: Stage) -> tuple[int, int]:
    """Rows and columns of a stage's input behind some of its output."""
    (rows, cols), stride, kernel, dilation = size, stage.stride, stage.kernel, stage.dilation
    return (
        (rows - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1,
        (cols - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1,
    )


def pack(spec: GpuFused, tiles: FusedTiles, arrays: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """One flat float32 array from every stage's `kernel` and `bias`, chunk after chunk as `ChunkPlace` says, zeros
    where channels are padding."""
    shape, chunk = FusedShape(spec, tiles), tiles.chunk
    places, whole = shape.weights, shape.chunks * chunk
    packed = np.zeros(shape.weight_floats, np.float32)
    runs = packed[: shape.bias].reshape(shape.chunks, places.floats)

    def fill(start: int, matrix: np.ndarray) -> None:
        """A matrix of (rows, channels of the depthwise stage), cut along the channels."""
        cut = padded_matrix(matrix, matrix.shape[0], whole).reshape(-1, shape.chunks, chunk).transpose(1, 0, 2)
        runs[:, start : start + cut[0].size] = cut.reshape(shape.chunks, -1)

    if spec.lead:
        kernel = arrays[0]["kernel"].reshape(shape.lead_taps, spec.channels, spec.lead.channels)
        padded = np.pad(kernel, ((0, 0), (0, shape.depth - spec.channels), (0, 0)))
        fill(places.lead, padded.reshape(-1, spec.lead.channels))
        fill(places.lead_bias, arrays[0]["bias"][None])
    middle = arrays[spec.middle]
    fill(places.taps, middle["kernel"].reshape(shape.taps, spec.depthwise.channels))
    fill(places.taps_bias, middle["bias"][None])
    if spec.tail:
        matrix = arrays[-1]["kernel"].reshape(spec.depthwise.channels, spec.tail.channels)
        cut = padded_matrix(matrix, whole, shape.width).reshape(shape.chunks, -1)
        runs[:, places.tail : places.tail + cut.shape[1]] = cut
        packed[shape.bias : shape.bias + spec.tail.channels] = arrays[-1]["bias"]
    return packed


def executed_macs(spec: GpuFused, tiles: FusedTiles) -> int:
    """Multiply-adds of one image with what neighbouring blocks compute twice, without padding."""
    if not spec.lead:
        return spec.macs
    stage, shape = spec.depthwise, FusedShape(spec, tiles)
    whole, made, tile = spec.in_shape(spec.middle), (stage.height, stage.width), (tiles.rows, tiles.cols)
    pixels = 1
    for axis in range(2):
        begins = [begin * stage.stride[axis] - stage.padding[axis][0] for begin in range(0, made[axis], tile[axis])]
        pixels *= sum(min(whole[axis], begin + shape.middle[axis]) - max(0, begin) for begin in begins)
    return spec.macs - spec.stage_macs(0) + pixels * spec.lead.channels * spec.depth(0)


def describe(spec: GpuFused, tiles: FusedTiles) -> list[str]:
    """A line a stage, then how blocks and threads share them, for printed plans."""
    shape, lines = FusedShape(spec, tiles), []
    for index, stage in enumerate(spec.stages):
        mixed = [] if stage.kind == "depthwise" else [spec.in_channels(index)]
        size = "x".join(map(str, (*stage.kernel, *mixed, stage.channels)))
        act = f" {stage.activation.describe()}" if stage.activation else ""
        lines.append(f"{stage.kind} {size} / {stage.stride[0]}{act} -> {stage.height}x{stage.width}")
    lines.append(
        f"  blocks {'x'.join(map(str, shape.grid))} of {tiles.rows}x{tiles.cols} pixels, {shape.steps} steps of "
        f"{tiles.chunk} channels, {tiles.threads} threads, {shape.shared_bytes} bytes shared"
    )
    for name, part in (("expand", tiles.lead), ("project", tiles.tail)):
        if part:
            lines.append(f"  {name}: {part.describe()}")
    return lines
