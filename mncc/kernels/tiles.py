"""How channels and pixels are cut into register tiles, and how the weights of a tile lie in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mncc.kernels.precision import StoredType

LINE = 64
"""Bytes; weights, scratch and workspace tensors begin on this boundary."""
FLOATS_PER_LINE = LINE // 4

AT_ONCE = 8
"""Steps of a product that takes its inputs by lane: a reduction of no more is one iteration. A loop over so few LLVM
unrolls for some processors and not for others."""


@dataclass(frozen=True)
class ConvTile:
    """The register tile of one stage: rows x cols pixels times `channels` output channels in vectors of `lanes`.

    `steps` of a product's reduction have each pixel's inputs loaded as one vector, whose lanes they multiply by; 1
    where an instruction reads one input from memory and multiplies all lanes by it, and then `unroll` steps, which
    divide the innermost reduction, are an iteration of the loop.

    What `cols` leaves over of a row of pixels is one narrow tile; or, where these are cut `evenly`, several are a
    little narrower, and those of fewer channels, at their end, have more pixels (`tile_of`)."""

    rows: int
    cols: int
    channels: int
    lanes: int
    steps: int = 1
    evenly: bool = False
    unroll: int = 1

    @property
    def accumulators(self) -> int:
        """Vector registers that hold the tile's sums."""
        return self.rows * self.cols * -(-self.channels // self.lanes)


@dataclass(frozen=True)
class Segment:
    """`count` tiles of `width` elements from `start` on; `lanes` elements go into one vector."""

    start: int
    count: int
    width: int
    lanes: int = 1


def cover_channels(channels: int, width: int, lanes: int) -> tuple[Segment, ...]:
    """Cuts `channels` into tiles of `width` and, for the rest, ever narrower vectors down to single elements.

    No lane is wasted and nothing is masked: 24 channels with width 32 are 16 + 8, 1001 are 31 x 32 + 8 + 1.
    """
    segments = []
    if channels >= width:
        segments.append(Segment(0, channels // width, width, lanes))
    start = channels // width * width
    while start < channels:
        while lanes > channels - start:
            lanes //= 2
        here = (channels - start) // lanes * lanes
        segments.append(Segment(start, 1, here, lanes))
        start += here
    return tuple(segments)


def cover_pixels(pixels: int, width: int) -> tuple[Segment, ...]:
    """Cuts a row of `pixels` into tiles of `width` and one for the rest."""
    full = pixels // width
    segments = [Segment(0, full, width)] if full else []
    if pixels % width:
        segments.append(Segment(full * width, 1, pixels % width))
    return tuple(segments)


def cover_evenly(pixels: int, width: int) -> tuple[Segment, ...]:
    """Cuts a row of `pixels` into as few tiles of up to `width` as it takes, with none much narrower, if that can be:
    below two thirds of the width a tile has too few sums to hide a multiplication's latency. 56 pixels in tiles of 6
    are eight of 6 and two of 4."""
    count = -(-pixels // width)
    lacking, least = count * width - pixels, min(-(-2 * width // 3), pixels // count)
    narrow, rest = divmod(lacking, width - least) if lacking else (0, 0)
    segments: list[Segment] = []
    start = 0
    for number, each in ((count - narrow - (rest > 0), width), (narrow, least), (int(rest > 0), width - rest)):
        if number:
            segments.append(Segment(start, number, each))
        start += number * each
    return tuple(segments)


def cut_row(pixels: int, tile: ConvTile) -> tuple[Segment, ...]:
    """How a row of pixels is cut into such tiles."""
    return cover_evenly(pixels, min(tile.cols, pixels)) if tile.evenly else cover_pixels(pixels, tile.cols)


FEW_PIXELS = 8
"""Of a tile at the end of the channels: with more, or in two rows, LLVM computes their addresses anew in every step."""


def tile_of(tile: ConvTile, segment: Segment) -> ConvTile:
    """The tile that covers a segment of channels, where `tile` covers all but the end. Cut `evenly`, one of fewer
    vectors takes as many pixels of a row as the same registers hold the sums and weights of: too few sums do not hide a
    multiplication's latency. Steps of a single vector are not unrolled: LLVM multiplies each into the register of its
    input, and moves the sums through the stack at the end of an iteration."""
    vectors, columns = -(-segment.width // segment.lanes), tile.cols
    if tile.evenly and tile.rows == 1:
        registers = tile.accumulators + -(-tile.channels // tile.lanes)
        columns = max(columns, min(registers // vectors - 1, FEW_PIXELS))
    unroll = tile.unroll if vectors > 1 else 1
    return replace(tile, cols=columns, channels=segment.width, lanes=segment.lanes, unroll=unroll)


def aligned(floats: int) -> int:
    """`floats` rounded up to whole 64-byte lines."""
    return -(-floats // FLOATS_PER_LINE) * FLOATS_PER_LINE


def stored_in_float(dtype: StoredType) -> int:
    """Elements of a type that take the memory of one float32."""
    return 4 // np.dtype(dtype).itemsize


def pack_panels(matrix: np.ndarray, segments: tuple[Segment, ...]) -> np.ndarray:
    """(K, N) weights -> for every tile of N its K x width panel, one after the other; flat float32.

    The microkernel then reads its weights in one ascending stream.
    """
    panels = [
        matrix[:, s.start + t * s.width : s.start + (t + 1) * s.width].ravel() for s in segments for t in range(s.count)
    ]
    return np.concatenate(panels).astype(np.float32)


def panel_offset(segment: Segment, depth: int) -> int:
    """Where, in floats from the start of a packed (depth, N) matrix, the first panel of a segment lies."""
    return segment.start * depth


@dataclass(frozen=True)
class Block:
    """`channels` of `columns` pixels that lie side by side."""

    columns: int
    channels: int


PANEL = -1
"""Instead of a stage's number: the weights of a panel, of whichever stage multiplies, in the type it multiplies in."""


@dataclass(frozen=True)
class Scratch:
    """One array of a task's scratch, which stage `stage` (or PANEL) reads: `rows` x `cols` x `channels` elements at
    `offset`, one pixel `pitch` behind the other, all counted in elements. With a `block` of pixels and channels, a row
    is cut into so many pixels, of which the block's channels lie side by side, and then as many of the next channels;
    `pitch` is only how many channels there are."""

    stage: int
    rows: int
    cols: int
    channels: int
    pitch: int
    offset: int
    dtype: StoredType = "float32"
    block: Block | None = None

    @property
    def name(self) -> str:
        """What schedules and manifests call it."""
        return "panel" if self.stage == PANEL else f"mid{self.stage}"

    @property
    def floats(self) -> int:
        """Elements, without the rounding to whole lines."""
        return self.rows * self.cols * self.pitch

    @property
    def each(self) -> int:
        """Bytes of an element."""
        return np.dtype(self.dtype).itemsize

    @property
    def bytes(self) -> int:
        """Whole lines."""
        return -(-self.floats * self.each // LINE) * LINE


@dataclass(frozen=True)
class Phase:
    """Work of a kernel that tasks share out before any of them goes on: `items` of one image, contiguous for a task.
    Of several images, all make the same `block` of items, with the same weights, before one makes the next."""

    items: int
    block: int


def one_phase(items: int) -> tuple[Phase, ...]:
    """The phases of a kernel that tasks share out at once, image by image."""
    return (Phase(items, items),)


SHARED_SETS = 2048
"""Bytes: lines of one channel of a product's pixels that lie this far apart, or a multiple of it, fall on one or two of
the L1 cache's 64 sets."""


def spread(channels: int, shared_sets: int = SHARED_SETS) -> int:
    """The pitch at which pixels are read from different sets of the L1 cache: no multiple of `shared_sets` bytes."""
    return channels + FLOATS_PER_LINE if channels * 4 % shared_sets == 0 else channels


def spread_block(columns: int, channels: int) -> Block:
    """A block of whole rows, of which a tile reads a few lines a block: from different sets of the L1 cache, as a
    block is no multiple of 256 bytes behind the other."""
    return Block(columns + FLOATS_PER_LINE // channels if columns * channels * 4 % 256 == 0 else columns, channels)


def scratch_floats(layout: tuple[Scratch, ...]) -> int:
    """Floats that the arrays of a task's scratch take together."""
    return sum(aligned(array.floats) for array in layout)
