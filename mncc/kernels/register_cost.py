"""What register tiles cost, in slots: the time of one multiplication of full vectors at the machine's peak.

A stage's work of `depth` multiply-adds for each element takes rows x width x channels x depth / lanes slots where
nothing is lost. This module says what is lost inside of a core: tiles too small to hide the latency of their sums,
epilogues, tails, and waiting for the L2 cache. What passes between kernels is chain_predict's.

Where a constant is a fact of a machine it stands in the target's file. Those below are properties of the code that the
microkernel becomes, counted in its assembly and fitted to times of single kernels on a Zen 4 core with AVX-512 and
with AVX2 (`python -m bench.tiles`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mncc.kernels.chain import Stage
from mncc.kernels.slots import Slots, stall
from mncc.kernels.target import Target
from mncc.kernels.tiles import FLOATS_PER_LINE, ConvTile, Segment, cover_channels, cut_row, tile_of

INSTRUCTION_SLOTS = 0.4
"""Slots of an instruction of an epilogue; stores and addresses disappear under the next tile's multiplications."""
TILE_SLOTS = 9.0
"""Slots a tile spends on loop control and addresses, beside its arithmetic."""
NARROW_SLOT = 1.05
"""What vectors narrower than the widest cost beyond their share: more instructions for the same work."""
UNEVEN = 0.5
"""Slots that a step waits besides where its sums are few, as each is ready a little late now and then."""
ROW_SLOTS = 38.0
"""Slots that a panel spends on every row of tiles: its loops begin anew, and with them the streams that they read."""
WEIGHTS_EXPOSED, INPUTS_EXPOSED, SCATTERED_EXPOSED, DEPTHWISE_EXPOSED, L3_EXPOSED = 0.05, 0.3, 0.7, 0.15, 0.13
"""Of the time that bytes take from a cache, what is felt although the core multiplies meanwhile. Weights are one
stream, which the prefetchers hide; a product's inputs are a stream a pixel, which they lose where there are many."""
SPLIT_LINE = 10.0
"""Slots a pixel for a cache line of its output that two panels of channels write: what V1's first kernels and
SqueezeNet's expansions take longer on Zen 3 with tiles of 24 channels than with those of 16."""
WIDEN_SLOTS = 2.0
"""Slots of a vector of weights that is converted into scratch: half a load, the conversion, half a store, waiting."""
STREAMS = 8
"""Pixels of a tile past which its inputs are scattered."""
L1_SHARE = 0.6
"""Of the L1 cache, what a panel of weights may fill so that it stays there from tile to tile."""

INSTRUCTIONS = {"relu": 1, "relu6": 2, "leaky": 3, "hard_sigmoid": 4, "hard_swish": 5, "sigmoid": 25, "swish": 26}
"""Of each activation, a vector; a sigmoid is a polynomial and a division."""


@dataclass(frozen=True)
class Pass:
    """What one stage does between two changes of the stage: `rows` of `width` pixels, `channels` of one group with
    `depth` multiply-adds each. `line` is the bytes of an input row. `widened`: every panel of weights is converted
    first. `alone`: a panel's output lies by itself, not beside the next one's."""

    stage: Stage
    depth: int
    channels: int
    width: int
    rows: int
    line: int
    widened: bool = False
    alone: bool = False

    @property
    def input_bytes(self) -> int:
        """The input rows behind the pass."""
        return self.stage.rows_needed(self.rows) * self.line


def epilogue_slots(stage: Stage) -> float:
    """Slots a vector of outputs."""
    return INSTRUCTION_SLOTS * INSTRUCTIONS[stage.activation.kind] if stage.activation else 0.0


def vector_slot(lanes: int, target: Target) -> float:
    """Slots of one multiplication of `lanes` elements."""
    return 1.0 if lanes == target.lanes else NARROW_SLOT * max(lanes, target.full) / target.lanes


def product_slots(tile: ConvTile, work: Pass, target: Target) -> Slots:
    """All tiles of a product's pass, tails included. A tile's step takes as long as its multiplications, its loads or
    the latency of its sums, and on some cores a little for every load besides."""
    multiply = tiles = streamed = scattered = waits = 0.0
    after, reread = epilogue_slots(work.stage), work.input_bytes / work.stage.groups
    if reread + work.depth * tile.channels * 4 <= target.l1:
        reread = 0.0
    for segment in cover_channels(work.channels, tile.channels, tile.lanes):
        vectors = -(-segment.width // segment.lanes)
        slot = vector_slot(segment.lanes, target)
        panel = work.depth * segment.width * 4
        for columns, high, count in _tiles(tile, segment, work):
            pixels = high * columns
            fma = slot * pixels * vectors
            loads = pixels / tile.steps + vectors
            step = max(fma, slot * loads / target.loads, slot * target.fma_latency) + slot * target.load_slots * loads
            step += UNEVEN * slot if pixels * vectors < target.enough_sums else 0.0
            once = after * fma + TILE_SLOTS
            multiply += segment.count * count * work.depth * fma
            tiles += segment.count * count * (work.depth * (step - fma) + once)
            if panel > L1_SHARE * target.l1:
                waits += segment.count * count * stall(work.depth * step, panel / target.l2_bytes, WEIGHTS_EXPOSED)
        streamed += 0 if panel > L1_SHARE * target.l1 else segment.count * panel / target.l2_bytes
        scattered += segment.count * reread / target.l2_bytes
        tiles += SPLIT_LINE * work.rows * work.width * _split_lines(segment, work, target)
        tiles += segment.count * ROW_SLOTS * -(-work.rows // tile.rows)
        tiles += segment.count * work.depth * vectors * WIDEN_SLOTS if work.widened else 0.0
    exposed = INPUTS_EXPOSED if tile.rows * tile.cols <= STREAMS else SCATTERED_EXPOSED
    waits += stall(multiply + tiles, scattered, exposed) + WEIGHTS_EXPOSED * streamed
    return Slots(multiply, tiles, waits).times(work.stage.groups)


def _split_lines(segment: Segment, work: Pass, target: Target) -> int:
    """Panels of a segment that end inside of a cache line of their output, where all pixels and groups are alike."""
    if work.alone or target.inputs != "memory" or work.channels % FLOATS_PER_LINE:
        return 0
    ends = range(segment.start + segment.width, segment.start + segment.count * segment.width + 1, segment.width)
    return sum(end % FLOATS_PER_LINE > 0 for end in ends)


def _tiles(tile: ConvTile, segment: Segment, work: Pass) -> Iterator[tuple[int, int, int]]:
    """Columns, rows and number of the tiles that cover a pass, for each panel of a segment."""
    for columns in cut_row(work.width, tile_of(tile, segment)):
        for high, count in ((tile.rows, work.rows // tile.rows), (1, work.rows % tile.rows)):
            if count:
                yield columns.width, high, count * columns.count


def depthwise_slots(tile: ConvTile, work: Pass, target: Target) -> Slots:
    """All tiles of a depthwise pass. A tile multiplies a vector of weights a tap, and loads every input of its window
    once a row of taps."""
    stage = work.stage
    multiply = tiles = 0.0
    (high, wide), (down, right) = stage.kernel, stage.stride
    after = epilogue_slots(stage)
    for segment in cover_channels(stage.channels, tile.channels, tile.lanes):
        slot = vector_slot(segment.lanes, target)
        for columns, rows, count in _tiles(tile, segment, work):
            vectors = -(-segment.width // segment.lanes)
            fma = slot * work.depth * columns * rows * vectors
            lines = min(high * rows, (rows - 1) * down + high)
            loads = slot * (work.depth + lines * min(wide * columns, (columns - 1) * right + wide)) * vectors
            once = after * slot * columns * rows * vectors + TILE_SLOTS
            waits = max(0.0, loads / target.loads - fma) + target.load_slots * loads
            multiply += segment.count * count * fma
            tiles += segment.count * count * (waits + once)
    transfer = _depthwise_bytes(tile, work, target) / target.l2_bytes
    return Slots(multiply, tiles, stall(multiply + tiles, transfer, DEPTHWISE_EXPOSED))


def _depthwise_bytes(tile: ConvTile, work: Pass, target: Target) -> float:
    """Bytes that come from the L2 cache: every input row for each row of taps, and all weights for every column of
    tiles, unless they stay in the L1 cache."""
    stage = work.stage
    rows = work.input_bytes if stage.reach * work.line <= target.l1 // 2 else work.rows * stage.kernel[0] * work.line
    weights = work.depth * stage.channels * 4
    reads = 1 if weights <= target.l1 // 4 else work.rows * -(-work.width // tile.cols)
    return rows + reads * weights
