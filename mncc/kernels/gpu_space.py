"""Which tiles GPU kernels can have, and which of them the cost model takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import TypeVar

from mncc.kernels.gpu_direct import DirectTiles, GpuDirect
from mncc.kernels.gpu_fused import FusedShape, FusedTiles, GpuFused, PackedShape
from mncc.kernels.gpu_join import join_of
from mncc.kernels.gpu_plain import GpuPlain, GpuPlainTiles
from mncc.kernels.gpu_product import GpuProduct, ProductShape, ProductTiles
from mncc.kernels.gpu_target import WARP, GpuTarget
from mncc.kernels.gpu_tiles import PHASE, QUAD, ThreadTiles, rounded
from mncc.kernels.gpu_time import (
    BEGIN,
    FETCH,
    LAUNCH,
    STEP,
    GpuPrediction,
    Work,
    barrier,
    copy_work,
    fetch,
    in_steps,
    predict,
    product_work,
)
from mncc.kernels.gpu_traffic import Moved, bytes_of, moved_by_fused, moved_by_product, tensor_bytes

Tiles = TypeVar("Tiles")

NONE = (True, float("inf"))
"""The rank of tiles that do not fit."""
THREADS = (128, 192, 256)
"""Threads of a block; more find too few pixels and channels."""
SUMS, LEAD_SUMS = 64, 32
"""The most sums that a thread keeps in registers, and those of an expansion, which are there beside others."""
FULL = 4
"""Blocks a multiprocessor beyond which the depth is not cut any more."""
CUTS = 6
"""Ways to cut the depth that are looked at."""
SPARE_REGISTERS = 40
"""Registers of a thread for addresses and loops."""
CHUNKS = (16, 32, 64)
"""Channels that a fused kernel takes at once."""
ROWS, COLUMNS = (1, 2, 4, 7, 8), (4, 7, 8, 14, 16)
"""Of a tile of a picture."""
LEAST_PIXELS, MOST_PIXELS = 8, 128
"""Of a tile, where the picture has as many."""
FLAT = (1, 8, 16, 28, 49, 64, 112)
"""Pixels of a tile of a row."""


def product_registers(tiles: ThreadTiles) -> int:
    """Registers of a thread: sums, four values of each pixel, weights, addresses."""
    return tiles.pixels * tiles.channels + tiles.pixels * QUAD + tiles.channels + SPARE_REGISTERS


def sharing(pixels: int, width: int, threads: int, split: int = 1) -> ThreadTiles | None:
    """The threads of a block on a product of `pixels` x all `width` channels; None where they do not fit."""
    for channels in (4, 8):
        across = -(-width // channels)
        while threads // split % across and across < threads:
            across += 1
        # Eight threads in a row are served together; the weights of two rows would lie in the same banks.
        if threads % (across * split) or (across > PHASE and across % PHASE):
            continue
        down = threads // split // across
        each = -(-pixels // down)
        # One pixel's eight channels are nine loads for 32 multiply-adds.
        if each * channels <= SUMS and each <= 16 and (each > 1 or channels == QUAD):
            return ThreadTiles(each, channels, across, down, split)
    return None


@cache
def choose_product(spec: GpuProduct, target: GpuTarget) -> ProductTiles | None:
    """The tiles of the least cost; None where none fit."""

    def bound(tiles: ProductTiles) -> float:
        return least_cost(spec, ProductShape(spec, tiles).grid, moved_by_product(spec, tiles), target)

    def rank(tiles: ProductTiles) -> tuple[bool, float]:
        return False, predict_product(spec, tiles, target).cost

    return cheapest(product_space(spec, target), (bound,), rank)


def cheapest(
    space: Iterable[Tiles],
    bounds: Sequence[Callable[[Tiles], float]],
    rank: Callable[[Tiles], tuple[bool, float]],
) -> Tiles | None:
    """The tiles of the lowest rank: whether they have a fault, and their cost; None where all cost infinity. Those that
    cost more than others without fault by one of their lower `bounds` are not ranked."""
    best, lowest = None, NONE
    for tiles in space:
        if not lowest[0] and any(bound(tiles) >= lowest[1] for bound in bounds):
            continue
        found = rank(tiles)
        if found < lowest:
            best, lowest = tiles, found
    return best


def least_cost(spec: GpuProduct | GpuFused, grid: tuple[int, int, int], moved: Moved, target: GpuTarget) -> float:
    """What tiles cost at least: that of their bytes, and their multiply-adds at the peak of those multiprocessors that
    have blocks."""
    blocks = grid[0] * grid[1] * grid[2]
    each = -(-blocks * spec.images // target.multiprocessors)
    return LAUNCH + each * spec.macs / blocks / (target.lanes * target.ghz * 1e9) + target.byte * moved.total


def product_space(spec: GpuProduct, target: GpuTarget) -> Iterator[ProductTiles]:
    """All tiles that fit."""
    depth = rounded(spec.inputs, QUAD)
    chunks = sorted({min(size, depth) for size in (32, 128, 512)})
    for (rows, cols), threads, split in product(reversed([*pixel_tiles(spec, FLAT)]), THREADS, (1, 2, 4, 8, 16, 32)):
        if threads % split:
            continue
        for channels, across in product((4, 8), (2, 4, 8, 16)):
            down, rest = divmod(threads // split, across)
            if rest or not down or channels * across > max(16, 2 * rounded(spec.outputs, 8)):
                continue
            each = -(-rows * cols // down)
            sums = ThreadTiles(each, channels, across, down, split)
            if each * channels > SUMS or each > 8 or down >= 2 * rows * cols:
                continue
            for chunk in chunks:
                tiles = ProductTiles(rows, cols, rounded(chunk, QUAD * split), 1, sums)
                if ProductShape(spec, tiles).shared_bytes <= target.tile_shared:
                    yield from (replace(tiles, slices=slices) for slices in _product_slices(spec, tiles, target))


def _product_slices(spec: GpuProduct, tiles: ProductTiles, target: GpuTarget) -> list[int]:
    shape = ProductShape(spec, tiles)
    across, columns, rows = shape.grid
    return [1] if shape.joins else slices_of(shape.steps, across * columns * rows, target, CUTS)


def slices_of(steps: int, blocks: int, target: GpuTarget, most: int = 2) -> list[int]:
    """Into how many slices of equal size the steps of so few blocks can be cut: the `most` ways with most slices, and
    not at all."""
    cuts = [steps // size for size in range(1, steps) if steps % size == 0]
    fits = [count for count in cuts if blocks * count <= FULL * target.multiprocessors]
    return [1, *fits[:most]]


def pixel_tiles(spec: GpuProduct, flat: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Rows and columns of a block's pixels; `flat` are the columns that tiles of a single row may have."""
    last = spec.last
    if spec.pool:
        yield last.height, last.width
    elif last.height == 1:
        yield from ((1, cols) for cols in sorted({min(cols, last.width) for cols in flat}))
    else:
        yield from pictures(last.height, last.width)


def pictures(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Rows and columns of tiles of a picture of that size."""
    rows, cols = sorted({min(side, height) for side in ROWS}), sorted({min(side, width) for side in COLUMNS})
    least = min(LEAST_PIXELS, rows[-1] * cols[-1])
    for pair in product(rows, cols):
        if least <= pair[0] * pair[1] <= MOST_PIXELS:
            yield pair


def predict_product(spec: GpuProduct, tiles: ProductTiles, target: GpuTarget) -> GpuPrediction:
    """Chunk after chunk: fetch, barrier, multiply, barrier."""
    shape, sums = ProductShape(spec, tiles), tiles.sums
    window = shape.window[0] * shape.window[1] * tiles.chunk
    lanes = 1 if spec.inputs % QUAD else QUAD
    work = copy_work(sums.threads, window, lanes) + barrier(2)
    work += copy_work(sums.threads, shape.chunk_weights, stored=shape.stages_weights)
    work += product_work(sums, spec.taps * tiles.chunk, not shape.stages_weights)
    if not shape.stages_weights:
        work += fetch(tiles.chunk / sums.split / QUAD / 8)
    work = in_steps(work, shape.steps, shape.held > 0, sums.threads / WARP, target)
    work += Work(others=sums.threads / WARP * sums.pixels * sums.channels * 2, waits=BEGIN)
    if shape.joins:
        work += Work(shared=2 * shape.join_floats / WARP, waits=100 + 10 * (shape.pixels if spec.pool else sums.split))
    across, columns, rows = shape.grid
    unique = tensor_bytes(spec) + 4 * shape.weight_floats
    moved = moved_by_product(spec, tiles).total / (across * columns * rows)
    blocks = across * columns * rows * spec.images
    work = replace(work + joined(spec, tiles), moved=moved)
    registers = product_registers(sums) + shape.held
    shared = shape.shared_bytes
    return predict(target, work, blocks, sums.threads, registers, shared, spec.macs, unique, target.byte)


def joined(spec: GpuProduct | GpuFused, tiles: ProductTiles | FusedTiles) -> Work:
    """Where there are slices: what every block leaves, and what the last one reads, shared out among all in what it
    moves but not in how long it takes."""
    join = join_of(spec, tiles)
    if join is None:
        return Work()
    accesses = join.block_floats / QUAD / WARP
    waits = 2 * FETCH + join.slices * (STEP + accesses)
    return Work(others=accesses * 10, moved=2 * 4 * join.block_floats, waits=waits)


@cache
def choose_fused(spec: GpuFused, target: GpuTarget) -> FusedTiles | None:
    """The tiles of the least cost, if there are any of those whose threads do not meet in shared memory's banks; None
    where none fit."""

    def bound(tiles: FusedTiles) -> float:
        return least_cost(spec, FusedShape(spec, tiles).grid, moved_by_fused(spec, tiles), target)

    def packed(tiles: FusedTiles) -> float:
        return predict_fused(spec, tiles, target, PackedShape).cost

    def rank(tiles: FusedTiles) -> tuple[bool, float]:
        shape = FusedShape(spec, tiles)
        fits = shape.shared_bytes <= target.tile_shared
        return (not shape.free, predict_fused(spec, tiles, target).cost) if fits else NONE

    return cheapest(fused_space(spec, target), (bound, packed), rank)


def fused_space(spec: GpuFused, target: GpuTarget) -> Iterator[FusedTiles]:
    """All tiles, of which shared memory may be too small for some."""
    last, channels = spec.last, spec.depthwise.channels
    chunks = sorted({min(size, rounded(channels, QUAD)) for size in CHUNKS})
    for (rows, cols), threads, chunk in product(reversed([*pictures(last.height, last.width)]), THREADS, chunks):
        run = next(size for size in (4, 3, 2, 1) if cols % size == 0)
        for tail, lead in product(_tails(spec, rows * cols, threads), _leads(spec, rows, cols, chunk, threads)):
            tiles = FusedTiles(rows, cols, chunk, 1, threads, run, lead, tail)
            shape = FusedShape(spec, tiles)
            across, columns, grid_rows = shape.grid
            slices = slices_of(shape.steps, across * columns * grid_rows, target, CUTS) if tail else [1]
            yield from (replace(tiles, slices=count) for count in slices)


def _tails(spec: GpuFused, pixels: int, threads: int) -> list[ThreadTiles | None]:
    """The projection whole, or in two, four or eight panels."""
    if not spec.tail:
        return [None]
    channels = rounded(spec.tail.channels, QUAD)
    found = [sharing(pixels, rounded(-(-channels // panels), QUAD), threads) for panels in (1, 2, 4, 8)]
    fits = [tiles for tiles in dict.fromkeys(found) if tiles and tiles.width <= 2 * rounded(channels, 8)]
    return list(fits[:3])


def _leads(spec: GpuFused, rows: int, cols: int, chunk: int, threads: int) -> Iterator[ThreadTiles | None]:
    if not spec.lead:
        yield None
        return
    pixels = FusedShape(spec, FusedTiles(rows, cols, chunk, 1, threads, 1, None, None)).lead_pixels
    for channels in (4, 8):
        across = chunk // channels
        if across and chunk % channels == 0 and threads % across == 0:
            down = threads // across
            # As few rounds as the registers allow, and in each as few pixels as those rounds need.
            rounds = -(-pixels // (down * (LEAD_SUMS // channels)))
            yield ThreadTiles(-(-pixels // (down * rounds)), channels, across, down)


def fused_registers(tiles: FusedTiles, held: int = 0) -> int:
    """Registers of a thread: the projection's sums stay while the expansion and the depthwise convolution run, and so
    do those `held` for the next chunk."""
    kept = tiles.tail.pixels * tiles.tail.channels if tiles.tail else 0
    passing = [tiles.run * QUAD + (tiles.run + 2) * QUAD + 3 * QUAD + SPARE_REGISTERS]
    if tiles.lead:
        passing.append(product_registers(tiles.lead))
    if tiles.tail:
        passing.append(product_registers(tiles.tail) - kept)
    return kept + held + max(passing)


def predict_fused(
    spec: GpuFused, tiles: FusedTiles, target: GpuTarget, kind: type[FusedShape] = FusedShape
) -> GpuPrediction:
    """Chunk after chunk: fetch the weights, expand, depthwise, project, a barrier behind each."""
    shape, stage = kind(spec, tiles), spec.depthwise
    lanes = 1 if spec.channels % QUAD or stage.shuffle > 1 else QUAD
    warps = tiles.threads / WARP
    work = copy_work(tiles.threads, shape.weights.floats) + barrier(4 if spec.tail else 2)
    if tiles.lead:
        parts = shape.made_rows // tiles.lead.height
        sums = tiles.lead.pixels * tiles.lead.channels
        written = Work(others=warps * sums * 4, shared=warps * sums)
        work += (product_work(tiles.lead, shape.lead_taps * shape.depth) + written).times(parts)
    else:
        work += copy_work(tiles.threads, shape.middle_pixels * tiles.chunk, lanes)
    items = tiles.chunk // QUAD * shape.pixels // tiles.run
    rounds = -(-items // tiles.threads)
    span = (tiles.run - 1) * stage.stride[1] + (stage.kernel[1] - 1) * stage.dilation[1] + 1
    loads = stage.kernel[0] * (span + stage.kernel[1]) + 2 * tiles.run
    work += Work(
        multiplies=rounds * warps * tiles.run * QUAD * shape.taps,
        others=rounds * warps * (loads + 4 * QUAD * tiles.run + 10),
        shared=rounds * warps * loads * 4,
        stalls=rounds * STEP * stage.kernel[0],
    )
    if tiles.tail:
        work += product_work(tiles.tail, tiles.chunk)
        work += copy_work(tiles.threads, shape.tail_floats)
    work = in_steps(work, shape.steps, shape.held > 0, warps, target)
    if spec.lead:
        work += copy_work(tiles.threads, shape.window[0] * shape.window[1] * shape.depth, lanes)
    across, columns, rows = shape.grid
    unique = tensor_bytes(spec) + 4 * shape.weight_floats
    moved = moved_by_fused(spec, tiles).total / (across * columns * rows)
    work = replace(work + joined(spec, tiles) + Work(others=warps * 16, waits=BEGIN), moved=moved)
    blocks = across * columns * rows * spec.images
    registers = fused_registers(tiles, shape.held)
    shared = shape.shared_bytes
    return predict(target, work, blocks, tiles.threads, registers, shared, spec.macs, unique, target.byte)


def predict_direct(spec: GpuDirect, tiles: DirectTiles, target: GpuTarget) -> GpuPrediction:
    """A thread an element, two loads a multiply-add."""
    elements, depth = spec.last.height * spec.last.width * spec.last.channels, spec.depth(0)
    warps = tiles.threads / WARP
    each = bytes_of(spec.input_dtype) + bytes_of(spec.weights_dtype)
    moved = tiles.threads * depth * each
    work = Work(multiplies=warps * depth, others=warps * depth * 8, moved=moved, waits=depth * 60)
    unique = tensor_bytes(spec) + bytes_of(spec.weights_dtype) * depth * spec.last.channels
    return predict(target, work, spec.images * -(-elements // tiles.threads), tiles.threads, 40, 0, spec.macs, unique)


def predict_plain(plain: GpuPlain, tiles: GpuPlainTiles, target: GpuTarget) -> GpuPrediction:
    """A thread an element; its inputs are read once."""
    sizes = [1.0] * (1 + len(plain.inputs))
    for index, shape in enumerate((plain.output, *plain.inputs)):
        for size in shape:
            sizes[index] *= size
    types = (plain.output_dtype, *(plain.input_dtypes or ["float32"] * len(plain.inputs)))
    each = [bytes_of(dtype) for dtype in types]
    elements = int(sizes[0])
    blocks = -(-elements // tiles.threads)
    read = sum(sizes[1:]) / blocks
    moved = sum(size * wide for size, wide in zip(sizes[1:], each[1:], strict=True)) / blocks + each[0] * tiles.threads
    work = Work(others=tiles.threads / WARP * 20 + read / WARP * 4, moved=moved, waits=700)
    work += Work(waits=read / tiles.threads * 20)
    unique = sum(size * wide for size, wide in zip(sizes, each, strict=True))
    return predict(target, work, blocks, tiles.threads, 32, 0, 0, unique)
