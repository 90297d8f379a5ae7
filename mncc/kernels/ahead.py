"""What a chain fetches before it is needed, spread over the steps of one of its products: weights of kernels behind it,
and its own next panel; or the rows of its input that are read next.

Between two runs of a network other work takes its weights out of the caches. A kernel with few pixels then waits for
its own; while products compute, the memory is idle. A panel goes through the L1 cache from the second tile on; the
first one waits at each page of memory, where the processor's own prefetching stops. A large input waits outside the L2
cache, and a stage with windows reads it in strides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from mncc.kernels.chain import Chain, ChainTiles, in_steps, segments, weight_layout
from mncc.kernels.target import Target
from mncc.kernels.tiles import FLOATS_PER_LINE, cut_row, stored_in_float

FEW_CHANNELS = 4
"""Up to here a product's loop over input channels is unrolled: a step of its own would cost as much as its work."""
SHORT = 64
"""Steps; a tile of fewer would spend too much on the addresses of what it fetches."""
LATE_SHARE = 0.5
"""Of the multiplications of the heaviest product: a later product with this many fetches instead, so that less of the
kernel's own weights comes between the fetching and the use."""
RATES = (FLOATS_PER_LINE, FLOATS_PER_LINE // 2, FLOATS_PER_LINE // 4)
"""Floats that a step may fetch for each row of its tile; below a line, steps after one another fetch the same."""


def pick(condition: bool, one: Any, other: Any) -> Any:
    """One of two numbers."""
    return one if condition else other


@dataclass(frozen=True)
class NextPanel:
    """The panel of weights behind the one that a product is multiplying, of `floats`; the second panel lies `start`
    floats behind the kernel's first. The last `turns` tiles of a panel fetch the next one, `rate` floats in a step."""

    start: int
    floats: int
    turns: int
    rate: int


@dataclass(frozen=True)
class Ahead:
    """What a kernel fetches of the packed weights: `floats` of later kernels', `start` floats behind the first of its
    own, `rate` in a step for each row of its tile. Whole lines, but for the rate, which may be a fraction of one. `own`
    is what it fetches for itself in steps of other tiles."""

    start: int
    floats: int
    rate: int
    own: NextPanel | None = None


@dataclass(frozen=True)
class NextRows:
    """The rows of the input that the chain's next step is the first to read, `floats` of them with what lies beside the
    picture, `rate` in every step of the product; of that, a step of the chain makes `rows`."""

    floats: int
    rate: int
    rows: int


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

    def fetched(
        self,
        ahead: Ahead,
        panel: Any,
        row: Any,
        tile: Any,
        step: Any,
        most: Callable[..., Any] = max,
        choose: Callable[[Any, Any, Any], Any] = pick,
    ) -> Any:
        """The float, counted from the kernel's own first, whose line a step fetches: a number, or an expression of a
        schedule with its `most` and `choose`. In the order of memory over panels, rows, tiles and steps, and as late as
        the rate allows: tiles whose turn comes before the first line fetch what the first one does; a branch around the
        fetching gained nothing."""
        turn, turns, own = row * self.tiles + tile, self.turns(ahead.own), ahead.own
        span = self.depth * ahead.rate
        skipped = self.panels * turns * span - ahead.floats
        later = ahead.start + most((panel * turns + turn) * span - skipped, 0)
        if own is None:
            return later + step * ahead.rate
        begin = own.start + panel * own.floats + most(turn - turns, 0) * (self.depth * own.rate)
        if ahead.floats == 0:
            return begin + step * own.rate
        last = turn >= turns
        rate = ahead.rate if ahead.rate == own.rate else choose(last, own.rate, ahead.rate)
        return choose(last, begin, later) + step * rate

    def fetched_of_rows(self, ahead: NextRows, panel: Any, row: Any, tile: Any, step: Any) -> Any:
        """The float, counted from the first that the chain's next step is the first to read, whose line a step fetches;
        `row` counts from the first that this step of the chain makes."""
        return (((panel * ahead.rows + row) * self.tiles + tile) * self.depth + step) * ahead.rate

    def stood_for(self, tile: Any, count: int, least: Callable[..., Any] = min) -> list[Any]:
        """Which of a row's tiles one of only `count` fetches for, where wider ones cover the end of the channels:
        numbers, or expressions of a schedule with its `least`. Together they stand for all."""
        if count == self.tiles:
            return [tile]
        each = -(-self.tiles // count)
        return [least(tile * self.tiles // count + more, self.tiles - 1) for more in range(each)]

    def turns(self, own: NextPanel | None) -> int:
        """Tiles of a panel that may fetch later kernels' weights."""
        return self.rows * self.tiles - (own.turns if own else 0)


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
    columns = sum(segment.count for segment in cut_row(stage.width, tiles.stages[index]))
    return Steps(index, stage.height, panels, columns, chain.depth(index))


def fetching_rate(tiles: ChainTiles, steps: Steps, target: Target) -> int:
    """The most floats in a step for each row of its tile that memory delivers beside the multiplications; 0 where not
    even a quarter of a line arrives in time."""
    tile = tiles.stages[steps.stage]
    arriving = target.memory_bytes * tile.accumulators / 4 / tile.rows
    return next((rate for rate in RATES if rate <= arriving), 0)


def next_panel(chain: Chain, tiles: ChainTiles, steps: Steps, rate: int) -> NextPanel | None:
    """What a product can fetch for itself, `rate` floats in a step for each row of its tile; None where its panels are
    read again and so stay in a cache, where it shares its kernel with an expansion, whose weights come between, and
    where too few tiles go over a panel to fetch one."""
    stage, tile, each = chain.stages[steps.stage], tiles.stages[steps.stage], stored_in_float(chain.weights_dtype)
    turns = -(-tile.channels // (each * rate))
    once = tiles.split == "channels" or tiles.band == chain.last.height
    if not once or len(chain.stages) > 2 or stage.groups > 1 or steps.panels == 1 or turns > steps.rows * steps.tiles:
        return None
    panel = steps.depth * tile.channels // each
    return NextPanel(weight_layout(chain)[0][steps.stage].kernel // each + panel, panel, turns, rate)


def next_rows(chain: Chain, tiles: ChainTiles, steps: Steps) -> NextRows | None:
    """The input that a product can fetch for the chain's next step, as slowly as a power of two allows; None where all
    is one step, and where the first stage is a product that reads the input in the order of memory."""
    if not in_steps(chain, tiles) or chain.stages[0].pointwise:
        return None
    made = tiles.strip * prod(stage.stride[0] for stage in chain.stages[steps.stage + 1 :])
    read = tiles.strip * prod(stage.stride[0] for stage in chain.stages)
    (left, right), each = chain.input_pads[1], chain.channels + chain.input_spare
    floats, count = read * (left + chain.width + right) * each, steps.panels * made * steps.tiles * steps.depth
    rate = 1
    while rate < FLOATS_PER_LINE and count * rate < floats:
        rate *= 2
    return NextRows(floats, rate, made)
