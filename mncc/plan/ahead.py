"""Pass on the plan: which weights a kernel fetches from memory for those behind it, and what for itself.

The numbers are fitted to measurements on Zen 4 (1 MB of L2 cache), one core. With fetched weights MobileNetV2's kernels
of 14x14 and 7x7 pixels, of 0.2 to 1.8 MB and up to 23 M multiply-adds, take 2 to 7 % less and its classifier half;
those of 50 M in MobileNetV1 and ResNet-50, of 1 to 9 MB, gain no more than the fetching costs. These fetch their own
weights a panel ahead, and take 1 to 8 % less, most where pages of memory lie scattered. Kernels of many pixels that
begin with a window, and fetch no weights, fetch the input of their next step: the first two of MobileNetV1 take 1 to
3 % less, and MobileNetV2's first.
"""

from __future__ import annotations

from dataclasses import replace

from mncc.kernels.ahead import (
    RATES,
    Ahead,
    NextPanel,
    NextRows,
    Steps,
    fetching_rate,
    fetching_steps,
    next_panel,
    next_rows,
)
from mncc.kernels.chain import Chain, ChainTiles
from mncc.kernels.strassen import StrassenTiles
from mncc.kernels.target import Target
from mncc.kernels.tiles import FLOATS_PER_LINE
from mncc.plan.model import Plan, PlannedKernel

FEW_WEIGHTS = 65536
"""Bytes; they arrive from memory within a few microseconds."""
SHORT_KERNEL, SHORT_OF_L3 = 14, 0.875
"""L2 caches that memory could fill while a kernel multiplies, or of the L3 cache, into which the L2 cache overflows; a
longer one hardly waits, and what is fetched for it leaves the caches again before it is used, or takes the place of
what the running kernel needs."""
LARGEST_INDEX = 2**31 - 1
"""Of the places that a kernel fetches from, counted over all its steps: it computes them in 32 bits."""
KEPT_SHARE = 0.5
"""Of the largest cache; what is fetched farther ahead than this would be gone when its kernel comes."""


def look_ahead(plan: Plan) -> Plan:
    """The packed weights are one stream in the order of the kernels. Each kernel fetches the part of it up to the end
    of the next kernel's, which starts behind its own; or farther ahead, where the next ones are too short to fetch all
    that comes after them. Weights at the end of that part that nobody waits for are left out."""
    if plan.precision.values != "float32":
        return plan  # The steps that fetch are those of float32 products.
    kernels, target = plan.kernels, plan.target
    weights: list[Ahead | None] = [None] * len(kernels)
    farthest = int(KEPT_SHARE * max(target.l2, target.l3) / 4)
    until = plan.weight_bytes // 4
    for number in reversed(range(len(kernels) - 1)):
        kernel, following = kernels[number], kernels[number + 1]
        waited = not _fetches_own(following, target) and _is_waited_for(following, target)
        start = _end(kernel if waited else following)
        until = min(until, _end(kernel) + farthest)
        if until <= start:
            until = _end(kernel)
            continue
        floats, rate = _fetched(kernel, target, until - start)
        if floats:
            until -= floats
            weights[number] = Ahead(until - kernel.weights_offset // 4, floats, rate)
            until = until if until > start else _end(kernel)
    fetching = (_with_own(*each, target) for each in zip(kernels, weights, strict=True))
    return replace(plan, kernels=tuple(fetching))


def _with_own(kernel: PlannedKernel, weights: Ahead | None, target: Target) -> PlannedKernel:
    """The kernel with the `weights` that it fetches for others, and what it fetches for itself."""
    own = _own(kernel, target)
    if own is not None:
        return replace(kernel, ahead=replace(weights or Ahead(0, 0, own.rate), own=own))
    return replace(kernel, ahead=weights or _next_rows(kernel, target))


def _own(kernel: PlannedKernel, target: Target) -> NextPanel | None:
    fetching = _fetching(kernel)
    if fetching is None or not target.own_ahead or kernel.images > 1:
        return None
    _, tiles, steps = fetching
    return next_panel(*fetching, rate=fetching_rate(tiles, steps, target) or RATES[-1])


def _fetches_own(kernel: PlannedKernel, target: Target) -> bool:
    if isinstance(kernel.tiles, StrassenTiles):
        return kernel.tiles.fetches
    return _own(kernel, target) is not None


def _next_rows(kernel: PlannedKernel, target: Target) -> NextRows | None:
    """Of a batch too: every image has rows of its own."""
    fetching = _fetching(kernel)
    return next_rows(*fetching) if fetching and target.own_ahead else None


def _fetching(kernel: PlannedKernel) -> tuple[Chain, ChainTiles, Steps] | None:
    """A chain, its tiles and the steps of its product that fetch; None where a kernel has none."""
    spec, tiles = kernel.spec, kernel.tiles
    if type(spec) is not Chain or not isinstance(tiles, ChainTiles):
        return None
    steps = fetching_steps(spec, tiles)
    return (spec, tiles, steps) if steps else None


def _end(kernel: PlannedKernel) -> int:
    """Where a kernel's weights end, in floats."""
    return kernel.weights_offset // 4 + kernel.weight_floats


def _is_waited_for(kernel: PlannedKernel, target: Target) -> bool:
    """True where a kernel would wait for weights that lie in memory."""
    arriving = target.memory_bytes * kernel.macs / target.lanes
    most = max(SHORT_KERNEL * target.l2, SHORT_OF_L3 * target.l3)
    return kernel.weight_floats * 4 >= FEW_WEIGHTS and arriving < most


def _fetched(kernel: PlannedKernel, target: Target, wanted: int) -> tuple[int, int]:
    """How many floats a kernel can fetch of those wanted, and how many in a step for each row, as slowly as a power of
    two allows. None where it has no product with room, and none for a batch, whose images read the weights again."""
    fetching = _fetching(kernel)
    if fetching is None or kernel.images > 1:
        return 0, 0
    _, tiles, steps = fetching
    rate, own = fetching_rate(tiles, steps, target), _own(kernel, target)
    count = steps.panels * steps.turns(own) * steps.depth
    if count * rate > LARGEST_INDEX:
        return 0, 0
    while rate > RATES[-1] and count * rate // 2 >= wanted:
        rate //= 2
    floats = min(wanted, count * rate // FLOATS_PER_LINE * FLOATS_PER_LINE)
    return (floats, rate) if floats >= steps.depth * rate > 0 else (0, 0)
