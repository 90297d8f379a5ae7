"""The tiles that a chain gets: those of its space for which the least time is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from math import gcd

from mncc.kernels.chain import Chain, ChainTiles, Stage, phases, scratch_layout
from mncc.kernels.chain_predict import SCRATCH_SHARE, largest_pass, pass_slots, predict, takes_phases
from mncc.kernels.chain_space import cuts, fits_phases, stage_tiles, two_row_tiles
from mncc.kernels.target import Target
from mncc.kernels.tiles import ConvTile, scratch_floats

FEW_PIXELS = 64
"""Up to here a pointwise convolution takes the whole picture as one row, so that no tile is cut at a row's end, and
tasks share out its channels."""
FIRST_ROWS = 14
"""Rows for which register tiles are chosen before it is known how rows are cut."""
FEWEST_ITEMS = 4
"""Of the first of two phases: with fewer, rows are shared out better."""
NEARLY = 1.05
"""What a register tile may take longer so that there are as many."""
CLEARLY = 1.015
"""What a tile takes longer than one of parts of two rows that is chosen in its place."""
SAME = 1.002
"""Register tiles whose predicted times differ by less than this are taken for equally fast."""
AS_GOOD = 1.01
"""Cuts whose predicted times differ by less than this count as equally fast; the one with the least scratch wins."""


@cache
def choose_tiles(chain: Chain, target: Target) -> ChainTiles:
    """The default tiles of a chain on a target."""
    count = len(chain.stages)
    rows = [stage.height if chain.pool or count == 1 else min(stage.height, FIRST_ROWS) for stage in chain.stages]
    stages = _fastest_tiles(chain, rows, target)
    only = chain.stages[0]
    if count == 1 and (chain.pool or _shares_channels(chain, only)):
        return ChainTiles(only.height, only.height, "channels", stages)
    in_phases = _phase_tiles(chain, target) if takes_phases(chain) else None
    if in_phases is not None:
        return in_phases
    found = _fastest_cut(chain, tuple(cuts(chain, stages)), target)
    rows = [largest_pass(chain, found, index) for index in range(count)]
    stages = _over_rows(chain, _fastest_tiles(chain, rows, target), rows, target)
    return ChainTiles(found.strip, found.band, found.split, stages)


def _fits(chain: Chain, tiles: ChainTiles, target: Target) -> bool:
    """True where the L2 cache holds the scratch beside what passes through."""
    return scratch_floats(scratch_layout(chain, tiles)) * 4 <= SCRATCH_SHARE * target.l2


def as_fast_joined(whole: Chain, parts: Sequence[Chain], target: Target) -> bool:
    """True where a chain takes about as long as the parts that it is made of, or less, and its scratch fits into the
    L2 cache."""
    if not _fits(whole, choose_tiles(whole, target), target):
        return False
    together, *apart = (predict(chain, choose_tiles(chain, target), target).slots.total for chain in (whole, *parts))
    return together <= AS_GOOD * sum(apart)


def _shares_channels(chain: Chain, stage: Stage) -> bool:
    """True where few rows meet much weight: tasks then share out channels, and each reads only its own weights."""
    dense = stage.kind == "conv" and stage.pointwise and stage.groups == 1
    return dense and stage.height * stage.width <= FEW_PIXELS and not any(map(any, chain.output_pads))


def _phase_tiles(chain: Chain, target: Target) -> ChainTiles | None:
    """Tiles of two phases; None where there are none that fit."""
    stages = tuple(_fastest_tile(chain, i, stage.height, target) for i, stage in enumerate(chain.stages))
    if len(stages) > 2:
        stages = (_narrow_tile(chain, stages[0], target), *stages[1:])
    over_rows = _over_rows(chain, stages, [stage.height for stage in chain.stages], target)
    return _in_phases(chain, over_rows, target) or _in_phases(chain, stages, target)


def _in_phases(chain: Chain, stages: tuple[ConvTile, ...], target: Target) -> ChainTiles | None:
    """Two phases of these tiles; None where no vectors of the depthwise stage fill the tiles of the product before it,
    or the first phase would have too few items."""
    height, middle = chain.last.height, len(chain.stages) - 2
    tile = stages[middle]
    lanes = most = max(gcd(chain.stages[middle].channels, tile.lanes), target.narrow[-1])
    while lanes >= max(1, most // 2):
        fitting = (*stages[:middle], replace(tile, channels=lanes, lanes=lanes), stages[-1])
        found = ChainTiles(height, height, "channels", fitting)
        if fits_phases(chain, fitting) and phases(chain, found)[0].items >= FEWEST_ITEMS:
            return found
        lanes //= 2
    return None


def _narrow_tile(chain: Chain, fastest: ConvTile, target: Target) -> ConvTile:
    """A tile of the first stage that leaves enough items to share out, where one is nearly as fast as the fastest."""
    stage = chain.stages[0]
    narrow = [t for t in stage_tiles(chain, 0, target) if t.channels * FEWEST_ITEMS <= stage.channels]
    times = {
        tile: _time(chain, 0, tile, stage.height, target) for tile in (*narrow, fastest) if tile.rows <= stage.height
    }
    near = [tile for tile in narrow if times.get(tile, float("inf")) <= NEARLY * times[fastest]]
    return fastest if fastest in narrow or not near else min(near, key=lambda tile: times[tile])


def _fastest_tiles(chain: Chain, rows: Sequence[int], target: Target) -> tuple[ConvTile, ...]:
    """The register tiles of all stages, which go over `rows` rows at a time."""
    stages = [_fastest_tile(chain, index, count, target) for index, count in enumerate(rows)]
    for index in range(1, len(stages)):
        stages[index] = _fitting_tile(chain, index, rows[index], (stages[index - 1], stages[index]), target)
    return tuple(stages)


def _over_rows(
    chain: Chain, found: tuple[ConvTile, ...], rows: Sequence[int], target: Target
) -> tuple[ConvTile, ...]:
    """Tiles of parts of two rows in place of those that are clearly slower, where steps make as many."""
    stages = list(found)
    for index, tile in enumerate(found):
        others = two_row_tiles(chain, index, target) if rows[index] > 1 else ()
        times = {other: _time(chain, index, other, rows[index], target) for other in others}
        if times and min(times.values()) * CLEARLY <= _time(chain, index, tile, rows[index], target):
            stages[index] = min(times, key=lambda other: (times[other], other.accumulators))
    return tuple(stages)


def _fitting_tile(chain: Chain, index: int, rows: int, found: tuple[ConvTile, ConvTile], target: Target) -> ConvTile:
    """Of a product whose inputs a depthwise stage leaves side by side (`kernels.chain.Block`), a tile about as fast
    with which they can be cut into tiles, where there is one."""
    writer, tile = found
    if tile.steps == 1 or chain.stages[index - 1].kind != "depthwise" or writer.cols % tile.cols == 0:
        return tile
    most = AS_GOOD * _time(chain, index, tile, rows, target)
    fitting = [t for t in stage_tiles(chain, index, target) if t.rows == 1 and writer.cols % t.cols == 0]
    times = {other: _time(chain, index, other, rows, target) for other in fitting}
    near = [other for other, time in times.items() if time <= most]
    return min(near, key=lambda other: times[other]) if near else tile


def _fastest_tile(chain: Chain, index: int, rows: int, target: Target) -> ConvTile:
    """The register tile of a stage that goes over `rows` rows at a time; of those that are as fast, the one with the
    widest vectors, whose instructions are fewest."""
    found = [tile for tile in stage_tiles(chain, index, target) if tile.rows <= rows]
    times = {tile: _time(chain, index, tile, rows, target) for tile in found}
    least = SAME * min(times.values())
    widest = max(tile.lanes for tile, time in times.items() if time <= least)
    return min((t for t in found if t.lanes == widest), key=lambda t: (times[t], t.accumulators, t.rows))


def _time(chain: Chain, index: int, tile: ConvTile, rows: int, target: Target) -> float:
    """Slots of a pass, or of the whole kernel where it is but one: behind its transfers the tile may not matter."""
    if len(chain.stages) == 1 and rows == chain.last.height:
        return predict(chain, ChainTiles(rows, rows, "channels", (tile,)), target).slots.total
    return pass_slots(chain, index, tile, rows, target).total


def _fastest_cut(chain: Chain, found: Sequence[ChainTiles], target: Target) -> ChainTiles:
    """Of the ways to cut the rows, the one with the least scratch among the fastest; with nothing between stages, one
    step or as few as the L2 cache holds the copied input of, so that every panel of weights is read once."""
    if len(chain.stages) == 1:
        return next((tiles for tiles in found if _fits(chain, tiles, target)), found[-1])
    times = [predict(chain, tiles, target).slots.total for tiles in found]
    good = [tiles for tiles, time in zip(found, times, strict=True) if time <= AS_GOOD * min(times)]
    # Of equal ones, where kernels fetch the rows of their next step, the one with the most steps.
    return min(good, key=lambda t: (scratch_floats(scratch_layout(chain, t)), t.strip if target.own_ahead else 0))
