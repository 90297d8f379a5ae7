"""The cost model of a chain and the tiles that it chooses: registers and issue slots per tile, caches per step."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

from mncc.kernels.chain import Chain, ChainTiles, Stage, can_split_channels, fuses_band, scratch_layout
from mncc.kernels.target import Target
from mncc.kernels.tiles import ConvTile, cover_channels, cover_pixels, scratch_floats

FMA_LATENCY = 8
"""Slots; a tile with fewer accumulators in flight waits for its own sums."""
FEW_PIXELS = 64
"""Up to here a pointwise convolution takes the whole picture as one row, so that no tile is cut at a row's end, and
tasks share out its channels."""
SMALL_PIXELS = 14 * 14
"""Up to here, with inputs of four times as many, tasks share out the channels of several stages: rows would be too few
to share out evenly, and each task would compute those at its edges for itself."""
STEP_PIXELS = 112
"""Of the output, what a step makes at least: every step reads all weights again."""
STORE_OVERHEAD = 3
"""Slots a pixel of a tile spends on its stores, however few: they go to places far apart, so that narrow tiles of
many pixels touch more cache lines and pages than wide tiles of few."""
TILE_OVERHEAD = 12
"""Slots a tile spends on loop control and addresses, beside its arithmetic."""
DEPTHWISE_PIXELS = 8
"""Past this many pixels a depthwise tile gains nothing: its inputs come from the L1 cache at full speed."""
NARROW_SLOT = 1.06
"""What vectors narrower than the widest cost beyond their share: more instructions for the same work."""
LOAD_OVERHEAD = 0.1
"""Slots a load costs although it runs beside the multiplications; four times that where a panel of weights does not
stay in the L1 cache."""
L1_SHARE = 0.6
"""Of the L1 cache, what a panel of weights may fill so that it stays there from tile to tile."""
HEAVY_SHARE = 0.2
"""Of the L2 cache: weights of a stage beyond this are not read again for every band of rows."""
L2_SHARE = 0.75
"""Of the L2 cache, what a step's scratch may fill; weights and tensors pass through the rest."""


def choose_tiles(chain: Chain, target: Target) -> ChainTiles:
    """The default tiles of a chain on a target."""
    stages = tuple(_stage_tile(chain, index, target) for index in range(len(chain.stages)))
    only = chain.stages[0]
    if len(chain.stages) == 1 and (chain.pool or _shares_channels(chain, only)):
        return ChainTiles(only.height, only.height, "channels", stages)
    in_phases = _phase_tiles(chain, stages) if _is_small(chain) and can_split_channels(chain) else None
    return in_phases or _choose_strip(chain, stages, target)


def _is_small(chain: Chain) -> bool:
    sizes = [stage.height * stage.width for stage in chain.stages]
    return sizes[-1] <= SMALL_PIXELS and max(*sizes, chain.height * chain.width) <= 4 * SMALL_PIXELS


def _shares_channels(chain: Chain, stage: Stage) -> bool:
    """True where few rows meet much weight: tasks then share out channels, and each reads only its own weights."""
    dense = stage.kind == "conv" and stage.pointwise and stage.groups == 1
    return dense and stage.height * stage.width <= FEW_PIXELS and not any(map(any, chain.output_pads))


def _phase_tiles(chain: Chain, stages: tuple[ConvTile, ...]) -> ChainTiles | None:
    """Tiles of two phases: the depthwise stage's vectors fill the tiles of the product before it; None where no vectors
    do."""
    height, middle = chain.last.height, len(stages) - 2
    cuts = cover_channels(chain.stages[0].channels, stages[0].channels, stages[0].lanes)
    lanes = stages[middle].lanes
    while lanes > 1 and any(s.start % lanes or s.width % lanes for s in cuts):
        lanes //= 2
    if lanes < stages[middle].lanes // 2:
        return None
    tile = replace(stages[middle], channels=lanes, lanes=lanes)
    return ChainTiles(height, height, "channels", (*stages[:middle], tile, stages[-1]))


def _choose_strip(chain: Chain, stages: tuple[ConvTile, ...], target: Target) -> ChainTiles:
    """Steps of at least STEP_PIXELS of the output, all equally high; lower where their scratch would not fit into the
    L2 cache."""
    height = chain.last.height
    for count in range(_fewest_steps(chain), height + 1):
        tiles = _cut(chain, stages, target, -(-height // count))
        if scratch_floats(scratch_layout(chain, tiles)) * 4 <= L2_SHARE * target.l2:
            break
    return tiles


def _fewest_steps(chain: Chain) -> int:
    """Into how many steps a picture is cut where the caches have room. With nothing between stages, one is best: every
    panel of weights is read once."""
    if len(chain.stages) == 1:
        return 1
    return max(1, -(-chain.last.height // -(-STEP_PIXELS // chain.last.width)))


def in_long_steps(chain: Chain, tiles: ChainTiles, target: Target) -> bool:
    """True where the scratch of steps of half of STEP_PIXELS or more fits into the L2 cache."""
    whole = tiles.strip == chain.last.height or tiles.strip * chain.last.width >= STEP_PIXELS / 2
    return whole and scratch_floats(scratch_layout(chain, tiles)) * 4 <= L2_SHARE * target.l2


def _cut(chain: Chain, stages: tuple[ConvTile, ...], target: Target, strip: int) -> ChainTiles:
    """Tiles with steps of that many rows, and bands that keep what lies between two stages in the L1 cache."""
    band = strip
    if len(stages) > 1 and fuses_band(chain, len(stages) - 2):
        band = min(strip, max(stages[-1].rows, stages[-2].rows, _band_rows(chain, target)))
    return ChainTiles(strip, band, "rows", stages)


def _band_rows(chain: Chain, target: Target) -> int:
    """Rows between a depthwise stage and the pointwise one behind it: as many as half of the L1 cache holds, so that
    they are read back from there; where the weights fill much of the L2 cache, as many as half of that holds, since
    every band reads all weights again."""
    inner, last = chain.in_channels(len(chain.stages) - 1), chain.last
    heavy = inner * last.channels * 4 > HEAVY_SHARE * target.l2
    return max(1, (target.l2 if heavy else target.l1) // 2 // (last.width * inner * 4))


def _stage_tile(chain: Chain, index: int, target: Target) -> ConvTile:
    stage = chain.stages[index]
    rows = stage.height if chain.pool or len(chain.stages) == 1 else min(stage.height, 14)
    if stage.kind == "depthwise":
        return _depthwise_tile(stage, target)
    depth = stage.depth(chain.in_channels(index))
    return _product_tile(depth, stage.channels // stage.groups, stage.width, rows, target)


@cache
def _product_tile(depth: int, channels: int, width: int, rows: int, target: Target) -> ConvTile:
    """The register tile that is fastest for rows x width pixels and `channels` outputs of `depth` each."""
    candidates = []
    for lanes, vectors, high in product(target.narrow, range(1, 9), range(1, min(rows, 4) + 1)):
        room = (target.registers - vectors - 1) // vectors // high
        for cols in range(1, min(width, room) + 1):
            if high > 1 and cols != width:
                continue
            tile = ConvTile(high, cols, min(lanes * vectors, _whole(channels, lanes)), lanes)
            candidates.append((_product_cycles(tile, depth, channels, width, rows, target), tile.accumulators, tile))
    return min(candidates, key=lambda c: (c[0], c[1], c[2].rows))[2]


def _whole(channels: int, lanes: int) -> int:
    """`channels` down to whole vectors, at least one vector."""
    return max(lanes, channels // lanes * lanes)


def _product_cycles(tile: ConvTile, depth: int, channels: int, width: int, rows: int, target: Target) -> float:
    """Time for all tiles, tails included, in slots of one full vector multiplication. A tile's step takes as long as
    its multiplications, its loads (one a slot) or the latency of its sums, and a little for every load besides; its
    epilogue 2.5 slots an accumulator and some a pixel."""
    total = 0.0
    for columns in cover_pixels(width, tile.cols):
        for segment in cover_channels(channels, tile.channels, tile.lanes):
            vectors = -(-segment.width // segment.lanes)
            slot = 1.0 if segment.lanes == target.lanes else NARROW_SLOT * max(segment.lanes / target.lanes, 0.5)
            far = 4 if depth * segment.width * 4 > L1_SHARE * target.l1 else 1
            for high, count in ((tile.rows, rows // tile.rows), (1, rows % tile.rows)):
                pixels = high * columns.width
                loads = pixels + vectors * far
                step = slot * (max(pixels * vectors, pixels + vectors, FMA_LATENCY) + LOAD_OVERHEAD * loads)
                one = depth * step + 2.5 * slot * pixels * vectors + STORE_OVERHEAD * pixels + TILE_OVERHEAD
                total += one * count * columns.count * segment.count
    return total


def _depthwise_tile(stage: Stage, target: Target) -> ConvTile:
    """One vector of channels for pixels whose sums leave registers for three weights and three inputs at a time."""
    lanes = next((n for n in target.narrow if stage.channels % n == 0), target.narrow[-1])
    room = target.registers - 2 * min(stage.kernel[1], 3) - 2
    most = max(1, min(stage.width, room, DEPTHWISE_PIXELS))
    cols = min(range(1, most + 1), key=lambda n: (-(-stage.width // n), n))
    return ConvTile(1, cols, lanes, lanes)
