"""Which tiles GPU kernels of float16 can have, and which of them the cost model takes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import TypeVar

from mncc.kernels.gpu_fused import FusedTiles
from mncc.kernels.gpu_product import ProductTiles
from mncc.kernels.gpu_space import SPARE_REGISTERS, Tiles, joined, pictures, pixel_tiles, slices_of
from mncc.kernels.gpu_target import WARP, GpuTarget
from mncc.kernels.gpu_tiles import FRAGMENT, OCTET, WarpTiles, rounded, steps_at_once, vector_lanes
from mncc.kernels.gpu_time import (
    BEGIN,
    FETCH,
    LAUNCH,
    MOST_FRAGMENTS,
    SHARED_BYTES,
    STEP,
    GpuPrediction,
    Work,
    barrier,
    copy_work,
    fetch,
    fragments_work,
    multiply_share,
    predict,
    unload_work,
)
from mncc.kernels.gpu_traffic import Moved, moved_by_warp_fused, moved_by_warp_product, tensor_bytes
from mncc.kernels.gpu_warp_fused import WarpFused, WarpFusedShape
from mncc.kernels.gpu_warp_product import WarpProduct, WarpProductShape

AnyTiles = TypeVar("AnyTiles", ProductTiles, FusedTiles)
WARPS = (4, 8)
"""Of a block."""
SPLITS = (1, 2, 4)
"""Warps that share the depth of a product, so that each has more of its fragments."""
DENSE = 0.5
"""The least part of a product's loop that is to multiply, where that costs no more than..."""
MORE = 1.2
"""... this, of the least cost: what the model does not know better anyway."""
MOST_DEPTH = 512
"""Of a chunk."""
FLAT = (16, 32, 64, 128)
"""Pixels of a tile of a row."""


def warp_sharing(pixels: int, width: int, warps: int) -> Iterator[WarpTiles]:
    """The ways in which so many warps share a product of `pixels` x `width` channels: all of whose fragments they
    have, and as few others as that takes."""
    down_all, across_all = -(-pixels // FRAGMENT), -(-width // FRAGMENT)
    for across in (1, 2, 4, 8):
        if warps % across or across > across_all:
            continue
        down = warps // across
        rows, columns = -(-down_all // down), -(-across_all // across)
        if rows * columns <= MOST_FRAGMENTS and rows <= 4 and down * (rows - 1) < down_all and down < 2 * down_all:
            yield WarpTiles(rows * FRAGMENT, columns * FRAGMENT, across, down)


def warp_registers(tiles: WarpTiles) -> int:
    """Registers of a thread: sums, the fragments that meet in them, addresses."""
    down, across = tiles.fragments
    sums = down * across * OCTET
    return max(tiles.kept, sums + OCTET * (down + across)) + SPARE_REGISTERS


@cache
def choose_product(spec: WarpProduct, target: GpuTarget) -> ProductTiles | None:
    """The tiles of the least cost, or rather those that multiply more and cost little more; None where none fit."""

    def bound(tiles: ProductTiles) -> float:
        waits = WarpProductShape(spec, tiles).steps * (FETCH + 2 * STEP)
        return _least_cost(waits, moved_by_warp_product(spec, tiles), target)

    def moving(tiles: ProductTiles) -> Hashable:
        sums = tiles.sums
        return tiles.rows, tiles.cols, tiles.chunk, tiles.slices, sums.width, sums.height, sums.split > 1

    def dense(tiles: ProductTiles) -> bool:
        return multiply_share(WarpProductShape(spec, tiles).sums, tiles.chunk) >= DENSE

    def cost(tiles: ProductTiles) -> float:
        return predict_product(spec, tiles, target).cost

    return _chosen(product_space(spec, target), [(moving, bound)], cost, dense)


def _least_cost(waits: float, moved: Moved, target: GpuTarget) -> float:
    """What tiles cost at least: that of their bytes, and that a block waits for so many cycles after it began."""
    return LAUNCH + (BEGIN + waits) / (target.ghz * 1e9) + target.half_byte * moved.total


def _chosen(
    space: Iterable[AnyTiles],
    bounds: Sequence[tuple[Callable[[AnyTiles], Hashable], Callable[[AnyTiles], float]]],
    cost: Callable[[AnyTiles], float],
    dense: Callable[[AnyTiles], bool],
) -> AnyTiles | None:
    """The first of the least cost, of those that are dense and cost little more than it; of all if none is. Only those
    are looked at that may be near the least by all `bounds`: what tiles have of which a lower bound of the cost is a
    function, and that function."""
    known: list[Callable[[AnyTiles], float]] = [_remembered(parts, bound) for parts, bound in bounds]
    least, costs = float("inf"), []
    for lowest, number, tiles in sorted((known[0](tiles), number, tiles) for number, tiles in enumerate(space)):
        if lowest > least * MORE:
            break
        if any(bound(tiles) > least * MORE for bound in known[1:]):
            continue
        each = cost(tiles)
        least = min(least, each)
        costs.append((each, number, tiles))
    allowed = [each for each in costs if each[0] <= least * MORE and dense(each[2])]
    return min(allowed or costs, default=(0.0, 0, None))[2]


def _remembered(
    parts: Callable[[Tiles], Hashable], function: Callable[[Tiles], float]
) -> Callable[[Tiles], float]:
    """The function, called once for all tiles with the same parts."""
    known: dict[Hashable, float] = {}

    def value(tiles: Tiles) -> float:
        key = parts(tiles)
        if key not in known:
            known[key] = function(tiles)
        return known[key]

    return value


def product_space(spec: WarpProduct, target: GpuTarget) -> Iterator[ProductTiles]:
    """All tiles that fit."""
    depth = rounded(spec.unrolled, FRAGMENT)
    chunks = sorted({min(size, depth) for size in (32, 64, 128, 256)} | _wholes(depth))
    widths = sorted({min(size, rounded(spec.outputs, FRAGMENT)) for size in (16, 32, 64, 128)})
    for (rows, cols), warps, width, split in product(pixel_tiles(spec, FLAT), WARPS, widths, SPLITS):
        for sums, chunk in product(warp_sharing(rows * cols, width, warps // split), chunks):
            if chunk % (FRAGMENT * split):
                continue
            tiles = ProductTiles(rows, cols, chunk, 1, replace(sums, split=split))
            shape = WarpProductShape(spec, tiles)
            if shape.shared_bytes <= target.tile_shared:
                across, columns, down = shape.grid
                cuts = [1] if spec.pool else slices_of(shape.steps, across * columns * down, target)
                yield from (replace(tiles, slices=slices) for slices in cuts)


def _wholes(depth: int) -> set[int]:
    """The depth at once, or in two chunks, where that is not much."""
    return {size for size in (depth, depth // 2) if size <= MOST_DEPTH and size % FRAGMENT == 0}


def predict_product(spec: WarpProduct, tiles: ProductTiles, target: GpuTarget) -> GpuPrediction:
    """Chunk after chunk: fetch, barrier, multiply, barrier."""
    shape = WarpProductShape(spec, tiles)
    sums, threads = shape.sums, shape.sums.threads
    lanes = vector_lanes(OCTET, spec.inputs) if spec.input_dtype == "float16" else 1
    real = min(sums.height, shape.pixels) * tiles.chunk
    work = half_copy(real, lanes) + half_copy(shape.chunk_weights) + fetch(1) + barrier(2)
    work += fragments_work(sums, tiles.chunk)
    work = work.times(shape.steps) + unload_work(sums) + Work(waits=BEGIN)
    work += Work(others=sums.kept * threads / WARP * 3)
    if spec.pool:
        work += Work(shared=shape.join_floats * 2 / WARP, waits=100 + 10 * shape.pixels)
    across, columns, rows = shape.grid
    unique = tensor_bytes(spec) + 4 * shape.weight_floats
    blocks = across * columns * rows * spec.images
    moved = moved_by_warp_product(spec, tiles).total / (across * columns * rows)
    work = replace(work + joined(spec, tiles), moved=moved)
    registers, shared = warp_registers(sums), shape.shared_bytes
    return predict(target, work, blocks, threads, registers, shared, spec.macs, unique, target.half_byte)


def half_copy(halves: float, lanes: int = OCTET) -> Work:
    """float16 numbers from global to shared memory, so many an access, as `copy_work` counts them."""
    work = copy_work(0, halves, lanes)
    return Work(others=work.others, shared=work.shared / 2, moved=work.moved / 2)


@cache
def choose_fused(spec: WarpFused, target: GpuTarget) -> FusedTiles | None:
    """As `choose_product`, by the larger of the two products' loops; of two as large by that which multiplies less."""

    def moving(tiles: FusedTiles) -> Hashable:
        tail = tiles.tail
        return tiles.rows, tiles.cols, tiles.chunk, tiles.slices, (tail.width, tail.height) if tail else None

    def bound(tiles: FusedTiles) -> float:
        waits = WarpFusedShape(spec, tiles).steps * (FETCH + (4 if spec.tail else 2) * STEP)
        return _least_cost(waits, moved_by_warp_fused(spec, tiles), target)

    def working(tiles: FusedTiles) -> Hashable:
        return tiles.threads, moving(tiles)

    def dense(tiles: FusedTiles) -> bool:
        depths = (tiles.lead, WarpFusedShape(spec, tiles).depth), (tiles.tail, tiles.chunk)
        loops = [
            (part.kept * steps_at_once(depth // FRAGMENT), -share)
            for part, depth in depths
            if isinstance(part, WarpTiles) and (share := multiply_share(part, depth))
        ]
        return -max(loops, default=(0, 0.0))[1] >= DENSE

    def cost(tiles: FusedTiles) -> float:
        return predict_fused(spec, tiles, target).cost

    bounds = (moving, bound), (working, lambda tiles: _least_fused(spec, tiles, target))
    return _chosen(fused_space(spec, target), bounds, cost, dense)


def fused_space(spec: WarpFused, target: GpuTarget) -> Iterator[FusedTiles]:
    """All tiles that fit."""
    last, channels = spec.last, spec.depthwise.channels
    chunks = sorted({min(size, rounded(channels, FRAGMENT)) for size in (16, 32, 48, 64, 96)})
    for (rows, cols), warps, chunk in product(pictures(last.height, last.width), WARPS, chunks):
        run = next(size for size in (4, 3, 2, 1) if cols % size == 0)
        for tail, lead in product(_tails(spec, rows * cols, warps), _leads(spec, (rows, cols), chunk, warps)):
            tiles = FusedTiles(rows, cols, chunk, 1, warps * WARP, run, lead, tail)
            shape = WarpFusedShape(spec, tiles)
            if shape.shared_bytes > target.tile_shared:
                continue
            across, columns, grid_rows = shape.grid
            slices = slices_of(shape.steps, across * columns * grid_rows, target) if tail else [1]
            yield from (replace(tiles, slices=count) if count > 1 else tiles for count in slices)


def _tails(spec: WarpFused, pixels: int, warps: int) -> list[WarpTiles | None]:
    """The projection whole, or in two or four panels."""
    if not spec.tail:
        return [None]
    found: dict[WarpTiles | None, None] = {}
    for panels in (1, 2, 4):
        width = rounded(-(-spec.tail.channels // panels), FRAGMENT)
        found |= dict.fromkeys(warp_sharing(pixels, width, warps))
    return list(found)


def _leads(spec: WarpFused, tile: tuple[int, int], chunk: int, warps: int) -> Iterator[WarpTiles | None]:
    """The expansion in as many rounds as leave a warp one or two fragments."""
    if not spec.lead:
        yield None
        return
    pixels = WarpFusedShape(spec, FusedTiles(*tile, chunk, 1, warps * WARP, 1, None, None)).middle_pixels
    down_all = -(-pixels // FRAGMENT)
    for across in (1, 2, 4):
        if warps % across or chunk % (across * FRAGMENT):
            continue
        down, columns = warps // across, chunk // across // FRAGMENT
        if columns > 4:
            continue
        for most in (1, 2):
            rounds = -(-down_all // (down * most))
            yield WarpTiles(-(-down_all // (down * rounds)) * FRAGMENT, columns * FRAGMENT, across, down)


def fused_registers(tiles: FusedTiles) -> int:
    """Registers of a thread: the projection's sums stay while the expansion and the depthwise convolution run."""
    kept = tiles.tail.kept if tiles.tail else 0
    passing = [4 * (tiles.run + tiles.run + 2 + 3) + OCTET + SPARE_REGISTERS]
    passing += [warp_registers(part) for part in (tiles.lead,) if isinstance(part, WarpTiles)]
    passing += [warp_registers(part) - kept for part in (tiles.tail,) if isinstance(part, WarpTiles)]
    return kept + max(passing)


def predict_fused(spec: WarpFused, tiles: FusedTiles, target: GpuTarget) -> GpuPrediction:
    """Chunk after chunk: fetch the weights, expand, depthwise, project, a barrier behind each."""
    shape = WarpFusedShape(spec, tiles)
    work = _step_work(shape)
    if isinstance(tiles.lead, WarpTiles):
        parts = shape.made_rows // tiles.lead.height
        kept = keep_work(tiles.lead.fragments[0] * tiles.lead.fragments[1] * tiles.lead.warps)
        work += (fragments_work(tiles.lead, shape.depth) + kept).times(parts)
    if isinstance(tiles.tail, WarpTiles):
        work += fragments_work(tiles.tail, tiles.chunk)
    work = work.times(shape.steps)
    if isinstance(tiles.tail, WarpTiles):
        work += unload_work(tiles.tail)
    return _predicted(shape, target, work, fused_registers(tiles), shape.shared_bytes)


def _least_fused(spec: WarpFused, tiles: FusedTiles, target: GpuTarget) -> float:
    """What tiles cost at least however warps share the products, with as many blocks at once as there can be."""
    shape = WarpFusedShape(spec, tiles)
    work, warps = _step_work(shape), tiles.threads / WARP
    if spec.lead:
        sums = -(-shape.lead_pixels // FRAGMENT) * tiles.chunk // FRAGMENT
        work += _least_product(sums, shape.depth) + keep_work(sums)
    sums = tiles.tail.height * shape.width // FRAGMENT**2 if tiles.tail else 0
    work = (work + _least_product(sums, tiles.chunk)).times(shape.steps) + _least_unload(sums, warps)
    return _predicted(shape, target, work, SPARE_REGISTERS, 0).cost


def keep_work(sums: int) -> Work:
    """What becomes of so many fragments of a lead's sums: of each two that a lane has side by side, of four, it rounds,
    clips and stores both at once; of each row it loads what outside of the picture is zero."""
    stored = 2 * FRAGMENT**2 / SHARED_BYTES
    return Work(others=sums * (4 * 3 + 2), shared=sums * (stored + 2))


def _least_product(sums: int, depth: int) -> Work:
    """Of so many fragments of sums: a warp has eight at most, and of these loads six."""
    steps = depth // FRAGMENT
    return Work(others=sums * steps * 6 / MOST_FRAGMENTS, waits=steps * STEP if sums else 0, tensor=sums * steps)


def _least_unload(sums: int, warps: float) -> Work:
    """Their way through shared memory, shared out evenly."""
    one = unload_work(WarpTiles(FRAGMENT, FRAGMENT, 1, 1))
    return replace(one.times(sums), waits=one.waits * sums / warps)


def _step_work(shape: WarpFusedShape) -> Work:
    """Of a chunk all but the products."""
    spec, tiles = shape.spec, shape.tiles
    work = half_copy(shape.places.halves) + copy_work(0, shape.chunk_biases) + fetch(1) + barrier(4 if spec.tail else 2)
    if not spec.lead:
        work += half_copy(shape.middle_pixels * tiles.chunk, _lanes(spec))
    if spec.tail:
        work += half_copy(shape.tail_halves)
    return work + _depthwise_work(shape)


def _predicted(shape: WarpFusedShape, target: GpuTarget, work: Work, registers: int, shared: int) -> GpuPrediction:
    """The time of that work and of what a block does once, with so many registers a thread and bytes of shared memory
    a block."""
    spec, tiles = shape.spec, shape.tiles
    if spec.lead:
        work += half_copy(shape.middle_pixels * shape.depth, _lanes(spec)) + fetch(1)
        if shape.picture_halves:
            work += half_copy(shape.picture_halves, _lanes(spec)) + barrier(1)
    if isinstance(tiles.tail, WarpTiles):
        work += Work(others=tiles.tail.kept * tiles.tail.warps * 3)
    work += Work(waits=BEGIN)
    chunks, columns, rows = shape.grid
    unique = tensor_bytes(spec) + 4 * shape.weight_floats
    blocks = chunks * columns * rows * spec.images
    moved = moved_by_warp_fused(spec, tiles).total / (chunks * columns * rows)
    work = replace(work + joined(spec, tiles), moved=moved)
    return predict(target, work, blocks, tiles.threads, registers, shared, spec.macs, unique, target.half_byte)


def _lanes(spec: WarpFused) -> int:
    """Numbers of the input that are loaded at once."""
    return vector_lanes(OCTET, spec.channels) if spec.input_dtype == "float16" and spec.depthwise.shuffle == 1 else 1


def _depthwise_work(shape: WarpFusedShape) -> Work:
    """A thread makes runs of pixels of eight channels, two at once."""
    tiles, stage = shape.tiles, shape.spec.depthwise
    warps = tiles.threads / WARP
    rounds = -(-(tiles.chunk // OCTET * shape.pixels // tiles.run) // tiles.threads)
    span = (tiles.run - 1) * stage.stride[1] + (stage.kernel[1] - 1) * stage.dilation[1] + 1
    loads = stage.kernel[0] * (span + stage.kernel[1]) + 2 * tiles.run
    return Work(
        multiplies=rounds * warps * tiles.run * OCTET // 2 * shape.taps,
        others=rounds * warps * (loads + (OCTET + 2) * tiles.run + 20),
        shared=rounds * warps * loads * 4,
        waits=rounds * STEP * stage.kernel[0],
    )
