"""Weights that a chain fetches for the kernels behind it, spread over the steps of one of its products.

Between two runs of a network other work takes its weights out of the caches. A kernel with few pixels then waits for
its own; while products compute, the memory is idle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mncc.kernels.chain import Chain, ChainTiles, segments
from mncc.kernels.target import Target
from mncc.kernels.tiles import FLOATS_PER_LINE, cover_pixels

FEW_CHANNELS = 4
"""Up to here a product's loop over input channels is unrolled: a step of its own would cost as much as its work."""
SHORT = 64
"""Steps; a tile of fewer would spend too much on the addresses of what it fetches."""
LATE_SHARE = 0.5
"""Of the multiplications of the heaviest product: a later product with this many fetches instead, so that less of the
kernel's own weights comes between the fetching and the use."""
RATES = (FLOATS_PER_LINE, FLOATS_PER_LINE // 2, FLOATS_PER_LINE // 4)
"""Floats that a step may fetch for each row of its tile; below a line, steps after one another fetch the same."""


@dataclass(frozen=True)
class Ahead:
    """What a kernel fetches of the packed weights: `floats` of them, `start` floats behind the first of its own, `rate`
    in a step for each row of its tile. Whole lines, but for the rate, which may be a fraction of one."""

    start: int
    floats: int
    rate: int


@dataclass(frozen=True)
class Steps:
    """The steps of a stage's product: one for each of `rows` of pixels (a tile of several rows counts for each of
    them), `panels` of all groups, `tiles` along a row, and `depth` steps of the reduction."""

    stage: int
    rows: int
    panels: int
    tiles: int
    depth: int

    @property
    def count(self) -> int:
        """All of them."""
        return self.rows * self.panels * self.tiles * self.depth

    def fetched(self, ahead: Ahead, panel: Any, row: Any, tile: Any, step: Any, most: Callable[..., Any] = max) -> Any:
        """The float, counted from the kernel's own first, whose line a step fetches: a number, or an expression of a
        schedule with its `most`. In the order of memory over panels, rows, tiles and steps, and as late as the rate
        allows: tiles whose turn comes before the first line fetch what the first one does; a branch around the fetching
        gained nothing."""
        span = self.depth * ahead.rate
        skipped = self.rows * self.panels * self.tiles * span - ahead.floats
        first = most(((panel * self.rows + row) * self.tiles + tile) * span - skipped, 0)
        return ahead.start + first + step * ahead.rate


def fetching_steps(chain: Chain, tiles: ChainTiles) -> Steps | None:
    """The steps of the product that fetches: the last of those that are heavy and whose reduction is a loop."""
    products = [
        index
        for index, stage in enumerate(chain.stages)
        if stage.kind == "conv"
        and chain.in_channels(index) // stage.groups > FEW_CHANNELS
        and chain.depth(index) >= SHORT
    ]
    if not products:
        return None
    index = max(i for i in products if chain.stage_macs(i) >= LATE_SHARE * max(map(chain.stage_macs, products)))
    stage = chain.stages[index]
    panels = stage.groups * sum(segment.count for segment in segments(chain, tiles, index))
    columns = sum(segment.count for segment in cover_pixels(stage.width, tiles.stages[index].cols))
    return Steps(index, stage.height, panels, columns, chain.depth(index))


def fetching_rate(tiles: ChainTiles, steps: Steps, target: Target) -> int:
    """The most floats in a step for each row of its tile that memory delivers beside the multiplications; 0 where not
    even a quarter of a line arrives in time."""
    tile = tiles.stages[steps.stage]
    arriving = target.memory_bytes * tile.accumulators / 4 / tile.rows
    return next((rate for rate in RATES if rate <= arriving), 0)
