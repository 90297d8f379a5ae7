"""Predicted times on a GPU, from counts alone: nothing here was measured on one. They choose tiles and what is fused,
and are never shown as a speed."""

from __future__ import annotations

from dataclasses import dataclass

from mncc.kernels.gpu_target import WARP, GpuTarget
from mncc.kernels.gpu_tiles import FRAGMENT, OCTET, QUAD, ThreadTiles, WarpTiles, round_cost, steps_at_once

LAUNCH = 2.5e-6
"""Seconds from one kernel of a graph to the next that depends on it."""
FETCH = 700
"""Cycles from a load of global memory, through a barrier, to the first use."""
BEGIN = 600
"""Cycles that a block takes to begin and to end."""
STEP = 30
"""Cycles of a barrier, or of a load from shared memory to its use."""
SCHEDULERS = 4
"""Of a multiprocessor; each issues one instruction of a warp a cycle."""
L2_BYTES = 12
"""Bytes a cycle that the L2 cache gives each multiprocessor while all ask: less than large boards have (about 30 on an
A100), so that of equal tiles those win that read less again."""
BYTE = 0.5e-12
"""Seconds that a byte from or to the L2 cache counts where tiles and fusion are chosen, beside the predicted time, in
which bytes mostly hide behind other things: what one takes at 2 TB/s. (These boards' caches give 1 to 7 TB/s.) In
float32 targets say it themselves (`GpuTarget.byte`)."""
SHARED_BYTES = 128
"""Bytes a cycle that shared memory gives a multiprocessor."""
TENSOR_ISSUES = 2
"""Instructions of a product of fragments."""
MOST_FRAGMENTS = 8
"""Of a warp; each is eight registers of a thread."""
MOST_ROUND = 9
"""Instructions of a round of a product's loop for its addresses and its end, at most: `round_cost` is what is usual."""


@dataclass(frozen=True)
class Work:
    """What one block does, counted for all its threads in warps of 32: multiply-adds, other instructions, cycles of
    shared memory; bytes that it moves from and to global memory; the cycles that all of a block wait, for fetches and
    barriers, if it is alone on a multiprocessor; those that a warp waits for loads from shared memory while others may
    go on; and products of fragments on tensor cores."""

    multiplies: float = 0
    others: float = 0
    shared: float = 0
    moved: float = 0
    waits: float = 0
    stalls: float = 0
    tensor: float = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.multiplies + other.multiplies,
            self.others + other.others,
            self.shared + other.shared,
            self.moved + other.moved,
            self.waits + other.waits,
            self.stalls + other.stalls,
            self.tensor + other.tensor,
        )

    def times(self, count: float) -> Work:
        """This `count` times."""
        return Work(
            self.multiplies * count,
            self.others * count,
            self.shared * count,
            self.moved * count,
            self.waits * count,
            self.stalls * count,
            self.tensor * count,
        )


@dataclass(frozen=True)
class GpuPrediction:
    """The time of one image: `seconds`, that of its multiply-adds alone at the peak, and what the blocks are. `moved`
    are the bytes that all blocks together load and store, `unique` those of the tensors and weights."""

    seconds: float
    ideal: float
    blocks: int
    resident: int
    moved: float
    unique: float
    target: GpuTarget
    tensor: bool = False
    """Whether the peak is that of the tensor cores."""
    byte: float = BYTE
    """Seconds that a byte moved counts."""

    @property
    def cost(self) -> float:
        """What tiles and fusion are chosen by."""
        return self.seconds + self.byte * self.moved

    def describe(self) -> str:
        """The line of a printed plan."""
        peak = "tensor cores'" if self.tensor else "FMA"
        return (
            f"{self.blocks} blocks, {self.resident} at once on each of {self.target.multiprocessors} multiprocessors; "
            f"moves its bytes {self.moved / self.unique:.1f} times; estimated {self.seconds * 1e6:.1f} us, "
            f"{self.ideal * 1e6:.1f} us at the {peak} peak (static, not timed)"
        )


def product_work(tiles: ThreadTiles, depth: int, bytes_from_memory: bool = False) -> Work:
    """A product of all threads over `depth`. A warp's loads of one row of values, or of one channel's weights, are one
    access where its threads read the same."""
    warps, share = tiles.threads / WARP, depth / tiles.split
    steps = share / QUAD
    across = min(tiles.across, WARP)
    value_cycles = max(1.0, WARP / across * QUAD * 4 / SHARED_BYTES)
    weight_cycles = 0 if bytes_from_memory else max(1.0, across * QUAD * 4 / SHARED_BYTES)
    loads = tiles.pixels + tiles.channels
    return Work(
        multiplies=warps * share * tiles.pixels * tiles.channels,
        others=warps * steps * (loads + 2),
        shared=warps * steps * (tiles.pixels * value_cycles + tiles.channels * weight_cycles),
        stalls=steps * STEP,
    )


def fragments_work(tiles: WarpTiles, depth: int) -> Work:
    """A product of all warps over `depth` on tensor cores. A fragment is 512 bytes of shared memory."""
    down, across = tiles.fragments
    steps = depth // FRAGMENT // tiles.split
    rounds, loads = steps // steps_at_once(steps), down + across
    return Work(
        others=tiles.warps * (steps * loads + rounds * round_cost(rounds)),
        shared=tiles.warps * steps * loads * 2 * FRAGMENT**2 / SHARED_BYTES,
        waits=(steps + rounds) * STEP,
        tensor=tiles.warps * steps * down * across,
    )


def multiply_share(tiles: WarpTiles, depth: int) -> float:
    """Of the instructions in the loop of that product the part that multiplies, on tensor cores of sm_80 and later,
    which take two for a fragment; 0 where it is no loop."""
    steps, (down, across) = depth // FRAGMENT // tiles.split, tiles.fragments
    at_once = steps_at_once(steps)
    if steps == at_once:
        return 0.0
    multiplies, others = at_once * down * across * TENSOR_ISSUES, at_once * (down + across)
    if (down == 1 and across > 2 and at_once in (3, 5)) or (down * across >= MOST_FRAGMENTS and at_once == 3):
        # As nvcc writes them, up to three quarters of the sums are moved to other registers at the end of a round.
        others += down * across * OCTET * 3 // 4
    return multiplies / (multiplies + others + MOST_ROUND)


def unload_work(tiles: WarpTiles) -> Work:
    """Sums through shared memory, a fragment of each warp at once: stored as they lie, read back in rows. Parts of the
    depth are stored all together, and each thread adds up what it has."""
    down, across = tiles.fragments
    count = down * across
    stored = 2 * 4 * FRAGMENT**2 / SHARED_BYTES
    if tiles.split > 1:
        loads = tiles.kept * tiles.split / QUAD
        others = tiles.warps * (count * 6 + loads * (1 + QUAD))
        return Work(others=others, shared=tiles.warps * count * 2 * stored, waits=STEP * (1 + tiles.split))
    return Work(others=tiles.warps * count * 14, shared=tiles.warps * count * 2 * stored, waits=count * 3 * STEP)


def copy_work(threads: int, floats: float, lanes: int = QUAD, stored: bool = True) -> Work:
    """Floats from global to shared memory; about six instructions an access, for its address and its guard."""
    accesses = floats / lanes / WARP
    return Work(others=accesses * 6, shared=accesses * lanes * 4 * WARP / SHARED_BYTES * stored, moved=floats * 4)


def barrier(count: int) -> Work:
    """Barriers, and what a warp waits at them."""
    return Work(waits=count * STEP)


def fetch(count: float) -> Work:
    """Waits for global memory."""
    return Work(waits=count * FETCH)


def cycles_alone(work: Work, warps: float, target: GpuTarget) -> float:
    """What a block alone takes: its warps on the schedulers, one instruction after the other. Where a multiply-add
    takes the multipliers two cycles, the scheduler issues something else in the second; not counted on beside tensor
    cores, whose instructions are few."""
    issued = work.multiplies * max(1, WARP * SCHEDULERS / target.lanes)
    issued = issued + work.others if work.tensor else max(issued, work.multiplies + work.others)
    issued += work.tensor * max(TENSOR_ISSUES, FRAGMENT**3 * SCHEDULERS / target.tensor)
    return work.waits + max(issued / min(warps, SCHEDULERS), work.stalls + issued / warps)


def in_steps(step: Work, count: int, ahead: bool, warps: float, target: GpuTarget) -> Work:
    """That step so many times, each of which waits for memory, unless that is asked `ahead` while the step before is
    computed."""
    if not ahead:
        return (step + fetch(1)).times(count)
    left = max(0.0, FETCH - cycles_alone(step, warps, target))
    return step.times(count) + fetch(1) + Work(waits=(count - 1) * left)


def predict(
    target: GpuTarget, work: Work, blocks: int, threads: int, registers: int, shared: int, macs: float, unique: float,
    byte: float = BYTE,
) -> GpuPrediction:  # fmt: skip
    """The time of `blocks` blocks of that work. `unique` are the bytes of tensors and weights, moved once; `byte` is
    what one moved counts."""
    resident = target.resident_blocks(threads, registers, shared)
    tensor = work.tensor > 0
    ideal = 2 * macs / (target.tensor_flops if tensor else target.flops)
    if not resident:
        return GpuPrediction(float("inf"), ideal, blocks, 0, 0.0, unique, target, tensor, byte)
    each = -(-blocks // target.multiprocessors)
    busy = max(
        work.multiplies * WARP / target.lanes,
        (work.multiplies + work.others + work.tensor * TENSOR_ISSUES) / SCHEDULERS,
        work.shared,
        work.moved / L2_BYTES,
        work.tensor * FRAGMENT**3 / target.tensor,
    )
    alone = cycles_alone(work, -(-threads // WARP), target)
    rounds = -(-each // resident)
    cycles = max(each * busy, rounds * alone)
    seconds = max(cycles / (target.ghz * 1e9), unique / target.memory) + LAUNCH
    return GpuPrediction(seconds, ideal, blocks, resident, work.moved * blocks, unique, target, tensor, byte)
