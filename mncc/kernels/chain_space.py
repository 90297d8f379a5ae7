"""What a chain's tiles can be: every register tile that fits into the registers, every cut into strips and bands.

The cost model picks from here; `chain_knobs.py` declares it as decisions, for what measures. The register tiles of two
stages hardly touch one another (each stage streams through its own loops), so the cost model goes stage by stage, and
then over the cuts: the sum of the parts instead of their product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from mncc.kernels.ahead import FEW_CHANNELS
from mncc.kernels.chain import Chain, ChainTiles, Stage, fuses_band
from mncc.kernels.half import MOST_STEPS
from mncc.kernels.target import Target
from mncc.kernels.tiles import AT_ONCE, ConvTile, cover_channels, cut_row

MOST_VECTORS = 8
"""Vectors of channels in a product's tile; past it there are more loads of weights than pixels can use."""
MOST_ROWS = 4
"""Rows of a register tile; it takes several only where it is as wide as the picture."""
WEIGHTS_LIVE = 4
"""Registers for weights beside inputs taken by lane: two are loaded while two are multiplied."""
CONVERTED = 3
"""Registers that weights need besides, where they are converted as they are loaded; with fewer, sums are spilled."""
CONVERTED_TAPS = 4
"""Registers that a depthwise stage's weights need besides, where they are converted."""
HALF = 4
"""Registers that float16 leaves free besides: its lanes are those of the first sixteen registers alone, and with fewer
LLVM moves inputs to and fro between registers, and some through the stack."""
SHALLOW = 4
"""Registers that a product leaves free besides whose whole reduction is one iteration: its sums are finished there too,
and clipped to numbers that lie in registers."""
MOST_HALF = 8
"""Pixels of a product's tile in float16, where it takes inputs by lane: their vectors fill half of those sixteen
registers, and LLVM gives the others to sums."""
AWKWARD = range(9, 14)
"""Sums of a tile in float16 beside which some of their float32 sums find registers, and not all: LLVM puts those first
and inputs on the stack."""
KEPT = 16
"""Vectors of weights, all that a product in float16 has, up to which LLVM may unroll its loop and load them, and the
biases, once for all tiles."""
DUPLICATED = 4
"""Registers for inputs that fill one with the same number: LLVM loads some before it multiplies with those before, and
twice as many where steps are unrolled."""
LONG = 64
"""Steps of a reduction from which on a loop is unrolled."""
MOST_DEPTHWISE = 14
"""Pixels of a depthwise tile's row."""


def stage_tiles(chain: Chain, index: int, target: Target) -> Iterator[ConvTile]:
    """The register tiles of one stage."""
    stage = chain.stages[index]
    if stage.kind == "depthwise":
        yield from depthwise_tiles(stage, target, chain.weights_dtype != chain.dtype)
    else:
        rows = stage.height if chain.pool or len(chain.stages) == 1 else min(stage.height, MOST_ROWS)
        steps = target.lanes if target.inputs == "lane" and chain.order(index) == 1 else 1
        as_loaded = chain.weights_dtype != chain.dtype and not chain.widens(index, steps)
        live = WEIGHTS_LIVE + (CONVERTED if as_loaded else 0)
        live += HALF if chain.dtype == "float16" else 0
        live += SHALLOW if steps > 1 and chain.depth(index) <= AT_ONCE else 0
        inner = chain.in_channels(index) // stage.groups
        unrolled = inner if steps == 1 and inner <= FEW_CHANNELS else 1
        tiles = product_tiles(stage.channels // stage.groups, stage.width, rows, target, steps, live, unrolled)
        unroll = steps_of_loop(chain, index, target)
        half = chain.dtype == "float16" and steps > 1
        depth, size = chain.depth(index), (stage.height, stage.width, stage.channels // stage.groups)
        fitting = (tile for tile in tiles if not half or _fits_half(tile, depth, size, target))
        yield from (replace(tile, unroll=unroll if tile.channels > tile.lanes else 1) for tile in fitting)


def steps_of_loop(chain: Chain, index: int, target: Target) -> int:
    """Steps in an iteration of a product's loop over its input channels. Where these come in the order of a shuffle,
    LLVM computes anew where each lies, and a step has to do with one."""
    inner = chain.in_channels(index) // chain.stages[index].groups
    whole = target.inputs == "memory" and chain.order(index) == 1 and inner % target.unroll == 0
    return target.unroll if whole and inner >= LONG else 1


def _fits_half(tile: ConvTile, depth: int, size: tuple[int, int, int], target: Target) -> bool:
    """True where LLVM keeps the inputs and sums of a tile in float16, and of those that are left at the ends of rows,
    columns and channels, in registers, as far as it was seen."""
    pixels, vectors = tile.rows * tile.cols, tile.channels // tile.lanes
    kept = AT_ONCE < depth <= KEPT // vectors
    if pixels > MOST_HALF or (kept and vectors * (depth + 1) + pixels * (vectors + 1) > target.registers):
        return False
    return depth <= MOST_STEPS or not any(sums in AWKWARD for sums in _sums(tile, size))


def _sums(tile: ConvTile, size: tuple[int, int, int]) -> Iterator[int]:
    """Vectors of sums of all tiles that cover (rows, columns, channels)."""
    rows = (tile.rows, 1) if size[0] % tile.rows else (tile.rows,)
    columns = [segment.width for segment in cut_row(size[1], tile)]
    vectors = [-(-s.width // s.lanes) for s in cover_channels(size[2], tile.channels, tile.lanes)]
    yield from (high * wide * count for high, wide, count in product(rows, columns, vectors))


def two_row_tiles(chain: Chain, index: int, target: Target) -> Iterator[ConvTile]:
    """Tiles of parts of two rows that have enough sums, where each input comes from memory, from whatever row, and few
    registers hold less than a row: 14 pixels are tiles of 5, 5 and 4, but of two rows tiles of 4."""
    stage = chain.stages[index]
    channels = stage.channels // stage.groups
    if stage.kind == "depthwise" or chain.pool or stage.height < 2:
        return
    if not target.enough_sums or target.inputs != "memory":
        return
    for lanes, vectors in product(target.narrow, range(1, MOST_VECTORS + 1)):
        room, least = pixels_in_registers(vectors, 1, target), -(-target.enough_sums // vectors)
        if lanes * vectors <= whole(channels, lanes) and room < stage.width:
            widths, unroll = range(-(-least // 2), room // 2 + 1), steps_of_loop(chain, index, target)
            yield from (
                ConvTile(2, cols, lanes * vectors, lanes, 1, stage.width % cols > 0, unroll if vectors > 1 else 1)
                for cols in widths
            )


def product_tiles(
    channels: int,
    width: int,
    rows: int,
    target: Target,
    steps: int = 1,
    live: int = WEIGHTS_LIVE,
    unrolled: int = 1,
) -> Iterator[ConvTile]:
    """Tiles whose sums leave registers for what they multiply; several rows of pixels only where a row is a whole one,
    for pixels of one row serve as well."""
    for lanes, vectors, high in product(target.narrow, range(1, MOST_VECTORS + 1), range(1, min(rows, MOST_ROWS) + 1)):
        if vectors > 1 and lanes * vectors > whole(channels, lanes):
            continue
        room = pixels_in_registers(vectors, steps, target, live, unrolled) // high
        for cols in range(width if high > 1 else 1, min(width, room) + 1):
            wide = min(lanes * vectors, whole(channels, lanes))
            ends = width % cols > 0 or (high == 1 and cols < width and channels % wide > 0)
            yield ConvTile(high, cols, wide, lanes, steps, evenly=ends and target.enough_sums > 0)


def pixels_in_registers(vectors: int, steps: int, target: Target, live: int = WEIGHTS_LIVE, unrolled: int = 1) -> int:
    """How many pixels a product's tile can have: beside their sums, registers hold a row of weights and one input where
    it comes from memory; or by lane one vector of inputs a pixel and `live` of weights, or two inputs where a tile has
    one step; or, where an input fills a register, several inputs and the weights of `unrolled` steps."""
    if steps > 1:
        return (target.registers - live) // (vectors + 1)
    if target.inputs == "register":
        inputs = DUPLICATED if unrolled == 1 else 2 * DUPLICATED
        return (target.registers - unrolled * vectors - inputs) // vectors
    return (target.registers - vectors - (1 if target.inputs == "memory" else 2)) // vectors


def depthwise_tiles(stage: Stage, target: Target, converts: bool = False) -> Iterator[ConvTile]:
    """Vectors that divide the channels, or leave narrower ones over where instructions read inputs from memory, for a
    row of pixels whose sums leave registers for three weights and three inputs at a time. Where loads are instructions
    of their own, several rows share those of the rows between them, if there are registers to keep them."""
    rests = target.inputs == "memory"
    found = [n for n in target.narrow if stage.channels % n == 0 or (rests and stage.channels > n)]
    shares = target.inputs == "lane" and stage.stride[0] == 1
    most = min(stage.height, MOST_ROWS) if shares else 1
    registers = target.registers - (CONVERTED_TAPS if target.inputs == "lane" and converts else 0)
    for lanes, rows in product(found or [target.narrow[-1]], range(1, most + 1)):
        for cols in range(1, min(stage.width, MOST_DEPTHWISE // rows) + 1):
            if cols == rows == 1 or _depthwise_registers(stage, rows, cols, target) <= registers:
                yield ConvTile(rows, cols, lanes, lanes)


def _depthwise_registers(stage: Stage, rows: int, cols: int, target: Target) -> int:
    """Registers that LLVM uses for a depthwise tile. Inputs of windows in strides that lie at fixed distances it loads
    in the order of memory, one pointer for all, before it multiplies."""
    wide, sums = min(stage.kernel[1], 3), rows * cols
    if target.inputs == "memory":
        return sums + 2 * wide + 2
    if rows == 1:
        taps = min(stage.kernel[0] * stage.kernel[1], 9)
        return sums + taps + (3 if target.inputs == "lane" else 4 if stage.stride[1] == 1 else 5)
    return sums + (rows - 1) * ((cols - 1) * stage.stride[1] + stage.kernel[1]) + 2 * wide


def fits_phases(chain: Chain, stages: tuple[ConvTile, ...]) -> bool:
    """True where the vectors of a depthwise stage fill the tiles of the product before it, or all channels where there
    is none, as two phases need it."""
    if len(stages) == 1:
        return True
    lanes = stages[-2].lanes
    segments = cover_channels(chain.stages[0].channels, stages[0].channels, stages[0].lanes)
    if len(stages) == 2 and len(segments) > 1:
        return False
    return all(s.start % lanes == s.width % lanes == 0 for s in segments)


def whole(channels: int, lanes: int) -> int:
    """`channels` down to whole vectors, at least one vector."""
    return max(lanes, channels // lanes * lanes)


def cuts(chain: Chain, stages: tuple[ConvTile, ...]) -> Iterator[ChainTiles]:
    """Strips that are equally high, and bands that are, for rows that tasks share out."""
    for strip in parts(chain.last.height):
        fused = len(stages) > 1 and fuses_band(chain, len(stages) - 2)
        least = max(stages[-1].rows, stages[-2].rows) if fused else strip
        for band in parts(strip):
            if band >= min(least, strip):
                yield ChainTiles(strip, band, "rows", stages)


def parts(rows: int) -> tuple[int, ...]:
    """The heights of equal parts of `rows`, the highest first: 7, 4, 3, 2, 1 of 7."""
    return tuple(dict.fromkeys(-(-rows // count) for count in range(1, rows + 1)))
