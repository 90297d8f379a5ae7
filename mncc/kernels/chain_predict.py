"""How long a chain with its tiles takes on one core, predicted by cause: for printed plans, and to choose tiles by."""

from __future__ import annotations

from collections import Counter
from functools import cache

from mncc.kernels.chain import (
    Chain,
    ChainTiles,
    can_split_channels,
    fuses_band,
    scratch_layout,
    shared_array,
    task_steps,
    weight_layout,
)
from mncc.kernels.register_cost import L3_EXPOSED, Pass, depthwise_slots, product_slots
from mncc.kernels.slots import Prediction, Slots, stall
from mncc.kernels.target import Target
from mncc.kernels.tiles import ConvTile, scratch_floats

PASS_SLOTS = 100
"""Slots that a pass of a stage takes to find its rows."""
NEAR_SHARE = 0.5
"""Of the L2 cache: a tensor that is larger was pushed out of it, at least in part, before its reader comes to it."""
SCRATCH_SHARE = 0.75
"""Of the L2 cache, what scratch may fill; weights and tensors pass through the rest."""
SMALL_PIXELS = 14 * 14
"""Up to here, with inputs of four times as many, tasks share out the channels of several stages: rows would be too few
to share out evenly, and each task would compute those at its edges for itself."""


def takes_phases(chain: Chain) -> bool:
    """True where tasks share out the channels of several stages, in two phases, if there are tiles that fit."""
    sizes = [stage.height * stage.width for stage in chain.stages]
    small = sizes[-1] <= SMALL_PIXELS and max(*sizes, chain.height * chain.width) <= 4 * SMALL_PIXELS
    return small and can_split_channels(chain)


def predict(chain: Chain, tiles: ChainTiles, target: Target) -> Prediction:
    """The parts of a chain's time."""
    stages = []
    passes = stage_passes(chain, tiles.strip, tiles.band)
    for index, tile in enumerate(tiles.stages):
        total = Slots()
        for rows, count in passes[index]:
            total += pass_slots(chain, index, tile, rows, target).times(count)
        stages.append(total)
    compute = sum(slots.total for slots in stages)
    counts = [sum(count for _, count in each) for each in passes]
    weights = weight_layout(chain)[1] * 4
    per_slot = target.l3_bytes if weights <= target.l3 else target.memory_bytes
    transfer = _outer_bytes(chain, tiles, counts, target) / per_slot
    return Prediction(chain.macs / target.lanes, tuple(stages), Slots(memory=stall(compute, transfer, L3_EXPOSED)))


@cache
def pass_slots(chain: Chain, index: int, tile: ConvTile, rows: int, target: Target) -> Slots:
    """One pass of a stage over `rows` rows of its output."""
    stage = chain.stages[index]
    _, width, channels = chain.in_shape(index)
    depth, line, widened = stage.depth(channels), width * channels * 4, chain.widens(index, tile.steps)
    alone = index == 0 and len(chain.stages) == 3 and takes_phases(chain)
    work = Pass(stage, depth, stage.channels // stage.groups, stage.width, rows, line, widened, alone)
    cost = depthwise_slots if stage.kind == "depthwise" else product_slots
    return cost(tile, work, target) + Slots(tiles=PASS_SLOTS)


@cache
def stage_passes(chain: Chain, strip: int, band: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """For every stage, over how many rows it goes at a time, and how often."""
    count, cut = len(chain.stages), ChainTiles(strip, band, "rows", ())
    found: list[Counter[int]] = [Counter() for _ in range(count)]
    for step in task_steps(chain, cut, 0, chain.last.height):
        for index, (low, high) in enumerate(step[1:]):
            most = band if fuses_band(chain, max(0, min(index, count - 2))) else max(1, high - low)
            for begin in range(low, high, most):
                found[index][min(most, high - begin)] += 1
    return tuple(tuple(sorted(each.items())) for each in found)


def largest_pass(chain: Chain, tiles: ChainTiles, index: int) -> int:
    """The rows that stage `index` goes over at a time, as a rule; one where nothing reads any of its rows."""
    return max((rows for rows, _ in stage_passes(chain, tiles.strip, tiles.band)[index]), default=1)


def _outer_bytes(chain: Chain, tiles: ChainTiles, passes: list[int], target: Target) -> float:
    """Bytes that come from behind the L2 cache or go there: the weights once, or for every pass where they and the
    scratch do not fit; tensors, and what lies in scratch, where they do not fit."""
    weights = [chain.depth(i) * s.channels * 4 for i, s in enumerate(chain.stages)]
    between = shared_array(chain, tiles)
    scratch = (scratch_floats(scratch_layout(chain, tiles)) + (between.floats if between else 0)) * 4
    held = sum(weights) + scratch <= target.l2
    moved = float(sum(weights) if held else sum(w * n for w, n in zip(weights, passes, strict=True)))
    source = chain.height * chain.width * chain.channels * 4
    made = chain.last.channels * 4 * (1 if chain.pool else chain.last.height * chain.last.width)
    made_between = sum(s.height * s.width * s.channels * 4 for s in chain.stages[:-1])
    spilled = min(1.0, max(0.0, scratch / target.l2 - SCRATCH_SHARE))
    moved += spilled * 3 * made_between
    for size, ways in ((source, 1), (made if chain.residual else 0, 1), (made, 2)):
        moved += ways * size if size > NEAR_SHARE * target.l2 else 0
    return moved
