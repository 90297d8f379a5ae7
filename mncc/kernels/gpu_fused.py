"""The GPU family that fuses a depthwise convolution with the one before it, the pointwise one behind it, or both.

A block makes a tile of the output. Channels of the depthwise convolution pass through shared memory in chunks: their
expansion, the depthwise convolution, and what they add to the projection, whose sums stay in registers. Where tiles of
pixels are too few to fill the GPU, slices of the chunks are other blocks' work; their sums meet in a second launch.
Without a convolution behind it a block makes one chunk of the depthwise convolution's own output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import ClassVar

import numpy as np

from mncc.kernels.chain import Chain, Stage
from mncc.kernels.gpu_layout import Chunk, ChunkLayout, chunk_layout, window_pitch
from mncc.kernels.gpu_product import multiplies
from mncc.kernels.gpu_tiles import HELD, QUAD, ThreadTiles, padded_matrix, pitch, rounded

LINE = 16
"""Floats: compilers put shared arrays on so many."""


@dataclass(frozen=True)
class GpuFused(Chain):
    """[convolution,] depthwise [, pointwise]."""

    family: ClassVar[str] = "gpu_fused"

    images: int = 1
    """Of the batch, all in one launch."""

    def __post_init__(self) -> None:
        """Raises AssertionError for a chain that the family does not take."""
        assert fuses(self.stages) and not self.pool, self.stages

    @cached_property
    def middle(self) -> int:
        """The number of the depthwise stage."""
        return int(self.stages[0].kind != "depthwise")

    @cached_property
    def lead(self) -> Stage | None:
        """The convolution before it."""
        return self.stages[0] if self.middle else None

    @cached_property
    def depthwise(self) -> Stage:
        """The stage in the middle."""
        return self.stages[self.middle]

    @cached_property
    def tail(self) -> Stage | None:
        """The product behind it."""
        return self.stages[-1] if self.middle < len(self.stages) - 1 else None


def fuses(stages: Sequence[Stage]) -> bool:
    """True for stages that one kernel of this family can be. A depthwise convolution that comes first may read shuffled
    channels: it takes them from where they lie."""
    kinds = [stage.kind for stage in stages]
    if kinds.count("depthwise") != 1 or any(stage.shuffle > 1 for stage in stages[1:]):
        return False
    before, after = stages[: kinds.index("depthwise")], stages[kinds.index("depthwise") + 1 :]
    leads = not before or (len(before) == 1 and multiplies(before))
    return leads and (not after or (len(after) == 1 and after[0].pointwise and multiplies(after)))


@dataclass(frozen=True)
class FusedTiles:
    """The knobs: `rows` x `cols` output pixels a block, `chunk` channels of the depthwise convolution at once, the
    chunks in `slices` blocks; how the `threads` share the two products, and that each computes `run` pixels in a row
    of the depthwise convolution."""

    rows: int
    cols: int
    chunk: int
    slices: int
    threads: int
    run: int
    lead: ThreadTiles | None
    tail: ThreadTiles | None


@dataclass(frozen=True)
class ChunkPlace:
    """Where, in floats from the start of a chunk's weights, they lie: the lead's, its biases, the depthwise taps and
    biases, and the end."""

    lead: int
    lead_bias: int
    taps: int
    taps_bias: int
    floats: int


@dataclass(frozen=True)
class LeadAxis:
    """Of an axis of the window that the depthwise convolution reads, what the lead makes: `size` positions, before
    which at most `most` are left out that lie outside of the picture; whether all are `inside`, in all tiles."""

    size: int
    most: int
    inside: bool

    def first(self, begin: int) -> int:
        """Where in a window they begin that begins at such a position of the picture."""
        return left_out(begin, self.most)


def left_out(begin: int, most: int) -> int:
    """Positions in front of a picture, of at most so many, in a window that begins at such a one."""
    return min(max(0, -begin), most)


@cache
def lead_axis(made: int, tile: int, step: tuple[int, int], window: int, whole: int, clips: bool) -> LeadAxis:
    """That of `made` positions of the output in tiles, of a depthwise convolution of such (stride, padding), which
    reads a window of an axis of `whole`."""
    begins = [at * step[0] - step[1] for at in range(0, made, tile)]
    parts = [min(whole, begin + window) - max(0, begin) for begin in begins]
    size = max(1, *parts) if clips else window
    axis = LeadAxis(size, window - size, False)
    starts = [begin + axis.first(begin) for begin in begins]
    return replace(axis, inside=all(start >= 0 and start + size <= whole for start in starts))


@dataclass(frozen=True)
class FusedShape:
    """Sizes that follow from a fused kernel and its tiles, in pixels and floats."""

    spec: GpuFused
    tiles: FusedTiles

    clips: ClassVar[bool] = True
    """Whether the lead makes no more of an axis than any tile has of the picture: of two tiles side by side each lacks
    the padding of one side."""

    @cached_property
    def steps(self) -> int:
        """Chunks that one block takes: those of its slice, or one where nothing is summed up."""
        chunks = -(-self.spec.depthwise.channels // self.tiles.chunk)
        return -(-chunks // self.tiles.slices) if self.spec.tail else 1

    @property
    def chunks(self) -> int:
        """Chunks of channels; the last may be nothing but padding."""
        if self.spec.tail:
            return self.steps * self.tiles.slices
        return -(-self.spec.depthwise.channels // self.tiles.chunk)

    @property
    def panels(self) -> int:
        """Parts of the projection's channels, each of which computes the chunks anew."""
        return -(-self.spec.tail.channels // self.width) if self.spec.tail else 1

    @property
    def grid(self) -> tuple[int, int, int]:
        """Panels of slices, or chunks; tiles of columns and of rows."""
        last = self.spec.last
        return (
            self.panels * self.chunks // self.steps,
            -(-last.width // self.tiles.cols),
            -(-last.height // self.tiles.rows),
        )

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

    @cached_property
    def lead_axes(self) -> tuple[LeadAxis, LeadAxis]:
        """The rows and the columns of that window that the lead makes. Zeros lie around them."""
        spec, tiles, axes = self.spec, self.tiles, []
        clips, stage = self.clips and spec.lead is not None, spec.depthwise
        for axis, (tile, made) in enumerate(((tiles.rows, spec.last.height), (tiles.cols, spec.last.width))):
            step, whole = (stage.stride[axis], stage.padding[axis][0]), spec.in_shape(spec.middle)[axis]
            axes.append(lead_axis(made, tile, step, self.middle[axis], whole, clips))
        rows, columns = axes
        return rows, columns

    @property
    def lead_size(self) -> tuple[int, int]:
        """Rows and columns that the lead makes."""
        rows, columns = self.lead_axes
        return rows.size, columns.size

    @property
    def lead_pixels(self) -> int:
        """Of these."""
        return self.lead_size[0] * self.lead_size[1]

    @property
    def made_rows(self) -> int:
        """Pixels that the lead's threads make, in whole tiles."""
        assert self.tiles.lead is not None
        return rounded(self.lead_pixels, self.tiles.lead.height)

    @cached_property
    def window(self) -> tuple[int, int]:
        """Rows and columns of the input behind a tile."""
        return _window(self.lead_size, self.spec.lead) if self.spec.lead else self.middle

    @property
    def depth(self) -> int:
        """Input channels of the lead with padding."""
        return rounded(self.spec.channels, QUAD)

    @cached_property
    def window_quads(self) -> int:
        """From pixel to pixel of the lead's input in shared memory, such that threads do not meet in banks; 0 where
        some do."""
        lead, tiles = self.spec.lead, self.tiles.lead
        assert lead is not None and tiles is not None
        return window_pitch(self.depth // QUAD, self.window, self.lead_size, lead.stride, tiles.across)

    @property
    def input_pitch(self) -> int:
        """Of the lead's input in shared memory."""
        assert self.tiles.lead is not None
        return self.window_quads * QUAD or pitch(self.depth, self.tiles.lead.across)

    @property
    def free(self) -> bool:
        """True where no two threads ask a bank of shared memory at once."""
        return self.layout.free and (self.spec.lead is None or self.window_quads > 0)

    @cached_property
    def layout(self) -> ChunkLayout:
        """Of a chunk's pixels in shared memory."""
        tiles, stage = self.tiles, self.spec.depthwise
        size = (tiles.rows, tiles.cols)
        lead, tail = ((each.across, each.down) if each else None for each in (tiles.lead, tiles.tail))
        chunk = Chunk(tiles.chunk // QUAD, *self.middle, self.lead_size, size, tiles.run, stage.stride, lead, tail)
        return chunk_layout(chunk)

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
        return ChunkPlace(0, lead_bias, taps, taps_bias, taps_bias + chunk)

    @property
    def width(self) -> int:
        """Channels of the projection that a block makes; 0 without one."""
        return self.tiles.tail.width if self.tiles.tail else 0

    @property
    def tail_floats(self) -> int:
        """The projection's weights of one chunk and panel."""
        return self.tiles.chunk * self.width

    @property
    def tail(self) -> int:
        """Where the projection's weights begin in the kernel's: behind all chunks; panel after panel."""
        return self.chunks * self.weights.floats

    @property
    def bias(self) -> int:
        """Where the projection's biases begin."""
        return self.tail + self.panels * self.chunks * self.tail_floats

    @property
    def weight_floats(self) -> int:
        """All weights of the kernel."""
        return self.bias + (self.panels * self.width if self.spec.tail else 0)

    @property
    def window_floats(self) -> int:
        """Shared memory of the lead's input."""
        return self.window[0] * self.window[1] * self.input_pitch if self.spec.lead else 0

    @property
    def middle_floats(self) -> int:
        """Shared memory of what the depthwise convolution reads."""
        return self.middle[0] * self.layout.row * QUAD

    @property
    def made_floats(self) -> int:
        """Shared memory of what the projection reads."""
        return self.tiles.tail.height * self.layout.made * QUAD if self.tiles.tail else 0

    @property
    def held(self) -> int:
        """Registers of a thread for what the next chunk needs from memory, which is on its way while one is computed; 0
        where there is no next one, or too much of it."""
        threads, lead = self.tiles.threads, self.weights.lead_bias
        runs = [lead, self.weights.floats - lead, self.tail_floats]
        runs += [] if self.spec.lead else [self.middle_pixels * self.tiles.chunk]
        floats = sum(rounded(-(-run // threads), QUAD) for run in runs)
        return floats if self.steps > 1 and floats <= HELD else 0

    @property
    def shares(self) -> bool:
        """True where the projection's weights lie where the lead's were: registers hold them until these are done."""
        return self.held > 0 and self.spec.lead is not None

    @property
    def staged_floats(self) -> int:
        """Shared memory of a chunk's weights but for those of products."""
        return self.weights.floats - self.weights.lead_bias

    @property
    def product_floats(self) -> tuple[int, int]:
        """Shared memory of the lead's weights of a chunk, and of the projection's, or of both."""
        lead, tail = self.weights.lead_bias, self.tail_floats
        return (max(lead, tail), 0) if self.shares else (lead, tail)

    @property
    def shared_bytes(self) -> int:
        """Of a block: its arrays, each on a line, and what the last slice counts by."""
        parts = (self.window_floats, self.staged_floats, *self.product_floats, self.middle_floats, self.made_floats)
        return 4 * sum(rounded(part, LINE) for part in parts) + 4


@dataclass(frozen=True)
class PackedShape(FusedShape):
    """The same with nothing between pixels in shared memory, whether threads meet in banks or not: what others need at
    least, without looking for their layout."""

    @cached_property
    def window_quads(self) -> int:
        """From pixel to pixel of the lead's input."""
        return self.depth // QUAD

    @cached_property
    def layout(self) -> ChunkLayout:
        """Of a chunk's pixels."""
        quads = self.tiles.chunk // QUAD
        return ChunkLayout(quads, quads * self.middle[1], quads)


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
    runs = packed[: shape.tail].reshape(shape.chunks, places.floats)

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
        full = padded_matrix(matrix, whole, shape.panels * shape.width)
        packed[shape.tail : shape.bias] = full.reshape(whole, shape.panels, -1).transpose(1, 0, 2).ravel()
        packed[shape.bias : shape.bias + spec.tail.channels] = arrays[-1]["bias"]
    return packed


def executed_macs(spec: GpuFused, tiles: FusedTiles) -> int:
    """Multiply-adds of one image with what neighbouring blocks compute twice, without padding."""
    if not spec.lead:
        return spec.macs + (FusedShape(spec, tiles).panels - 1) * spec.stage_macs(0)
    stage, shape = spec.depthwise, FusedShape(spec, tiles)
    whole, made, tile = spec.in_shape(spec.middle), (stage.height, stage.width), (tiles.rows, tiles.cols)
    pixels = 1
    for axis in range(2):
        begins = [begin * stage.stride[axis] - stage.padding[axis][0] for begin in range(0, made[axis], tile[axis])]
        pixels *= sum(min(whole[axis], begin + shape.middle[axis]) - max(0, begin) for begin in begins)
    once = spec.stage_macs(spec.middle) + pixels * spec.lead.channels * spec.depth(0)
    return once * shape.panels + (spec.stage_macs(len(spec.stages) - 1) if spec.tail else 0)


def describe(spec: GpuFused, tiles: FusedTiles) -> list[str]:
    """A line a stage, then how blocks and threads share them, for printed plans."""
    return describe_shape(FusedShape(spec, tiles))


def describe_shape(shape: FusedShape) -> list[str]:
    """The same of a kernel and its tiles."""
    spec, tiles, lines = shape.spec, shape.tiles, []
    for index, stage in enumerate(spec.stages):
        mixed = [] if stage.kind == "depthwise" else [spec.in_channels(index)]
        size = "x".join(map(str, (*stage.kernel, *mixed, stage.channels)))
        act = f" {stage.activation.describe()}" if stage.activation else ""
        size += f" of {stage.shuffle} shuffled groups" if stage.shuffle > 1 else ""
        lines.append(f"{stage.kind} {size} / {stage.stride[0]}{act} -> {stage.height}x{stage.width}")
    lines.append(
        f"  blocks {'x'.join(map(str, shape.grid))} of {tiles.rows}x{tiles.cols} pixels, {shape.steps} steps of "
        f"{tiles.chunk} channels, {tiles.slices} slices, {tiles.threads} threads, {shape.shared_bytes} bytes shared"
    )
    for name, part in (("expand", tiles.lead), ("project", tiles.tail)):
        if part:
            lines.append(f"  {name}: {part.describe()}")
    return lines
