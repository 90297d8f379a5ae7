"""Bytes that the blocks of a GPU kernel move from and to global memory, counted from its tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from mncc.kernels.chain import Chain, Stage
from mncc.kernels.gpu_fused import FusedShape, FusedTiles, GpuFused, left_out
from mncc.kernels.gpu_join import join_of
from mncc.kernels.gpu_product import GpuProduct, ProductShape, ProductTiles
from mncc.kernels.gpu_warp_fused import WarpFused, WarpFusedShape
from mncc.kernels.gpu_warp_product import WarpProduct, WarpProductShape

FLOAT = 4
"""Bytes."""


@dataclass(frozen=True)
class Moved:
    """Of all blocks of an image, in bytes: input that they load, with what neighbours load as well; weights, by every
    tile of pixels; sums that slices of the depth leave for each other, stored and loaded; output stored, and residual
    loaded."""

    inputs: int
    weights: int
    sums: int
    outputs: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.inputs + self.weights + self.sums + self.outputs


def moved_by_fused(spec: GpuFused, tiles: FusedTiles) -> Moved:
    """A fused kernel's: a block with a lead loads the window of all input channels, one without that of its chunks."""
    shape = FusedShape(spec, tiles)
    across, columns, rows = shape.grid
    pixels, stage, lead = 1, spec.depthwise, spec.lead
    ends = ((spec.height, spec.last.height, tiles.rows), (spec.width, spec.last.width, tiles.cols))
    for axis, (whole, made, tile) in enumerate(ends):
        step, before = (stage.stride[axis], stage.padding[axis][0]), (1, 0)
        if lead:
            before = lead.stride[axis], lead.padding[axis][0]
        pixels *= loaded(made, tile, step, before, shape.lead_axes[axis].most, shape.window[axis], whole)
    times = across if spec.lead else shape.panels
    chunks = shape.panels * shape.chunks
    weights = rows * columns * (chunks * (shape.weights.floats + shape.tail_floats) + across * shape.width)
    return Moved(
        FLOAT * times * pixels * spec.channels, FLOAT * weights, _sums(spec, tiles), written_bytes(spec)
    )


def moved_by_product(spec: GpuProduct, tiles: ProductTiles) -> Moved:
    """A product's: every panel loads the input, each of its slices the channels that are its own."""
    shape, last = ProductShape(spec, tiles), spec.last
    _, columns, rows = shape.grid
    pixels, ends = 1, ((spec.height, last.height, tiles.rows), (spec.width, last.width, tiles.cols))
    for axis, (whole, made, tile) in enumerate(ends):
        step = last.stride[axis], last.padding[axis][0]
        pixels *= loaded(made, tile, step, (1, 0), 0, shape.window[axis], whole)
    weights = rows * columns * shape.weight_floats
    return Moved(
        FLOAT * shape.panels * pixels * spec.inputs, FLOAT * weights, _sums(spec, tiles), written_bytes(spec)
    )


def moved_by_warp_fused(spec: WarpFused, tiles: FusedTiles) -> Moved:
    """As `moved_by_fused`, of float16."""
    shape, middle = WarpFusedShape(spec, tiles), spec.depthwise
    across, columns, rows = shape.grid
    pixels, times = 1, across if spec.lead else shape.panels
    ends = ((spec.height, spec.last.height, tiles.rows), (spec.width, spec.last.width, tiles.cols))
    for axis, (whole, made, tile) in enumerate(ends):
        step, before = (middle.stride[axis], middle.padding[axis][0]), (1, 0)
        if spec.lead:
            before = spec.lead.stride[axis], spec.lead.padding[axis][0]
        pixels *= loaded(made, tile, step, before, shape.lead_axes[axis].most, shape.window[axis], whole)
    chunks = shape.panels * shape.chunks
    halves = chunks * (shape.places.halves + shape.tail_halves)
    weights = rows * columns * (2 * halves + FLOAT * (chunks * shape.chunk_biases + across * shape.width))
    inputs = bytes_of(spec.input_dtype) * times * pixels * spec.channels
    return Moved(inputs, weights, _sums(spec, tiles), written_bytes(spec))


def moved_by_warp_product(spec: WarpProduct, tiles: ProductTiles) -> Moved:
    """As `moved_by_product`, of float16: the window is loaded once for each of its taps."""
    shape, last = WarpProductShape(spec, tiles), spec.last
    _, columns, rows = shape.grid
    begins = [[*range(0, last.height, tiles.rows)], [*range(0, last.width, tiles.cols)]]
    size = (1, shape.sums.height) if last.height == 1 else (shape.sums.height / tiles.cols, tiles.cols)
    inputs = bytes_of(spec.input_dtype) * shape.panels * _unrolled(spec, last, begins, size) * spec.inputs
    weights = rows * columns * FLOAT * shape.weight_floats
    return Moved(round(inputs), weights, _sums(spec, tiles), written_bytes(spec))


def _unrolled(
    spec: Chain, stage: Stage | None, begins: Sequence[Sequence[int]], size: tuple[float, float]
) -> float:  # fmt: skip
    """Pixels of the input that tiles load which begin there, in rows and columns of the stage's output, and are of that
    size, maybe with a part of a row: one by one for every tap; without a stage they are the input's own."""
    pixels = 1.0
    for axis, whole in enumerate((spec.height, spec.width)):
        taps = range(stage.kernel[axis]) if stage else range(1)
        found = 0.0
        for tap in taps:
            stride = stage.stride[axis] if stage else 1
            shift = tap * stage.dilation[axis] - stage.padding[axis][0] if stage else 0
            # Positions that lie in the input: those from `low` to `high`.
            low, high = -(shift // stride), (whole - 1 - shift) // stride + 1
            found += sum(max(0.0, min(high, begin + size[axis]) - max(low, begin)) for begin in begins[axis])
        pixels *= found
    return pixels


@cache
def loaded(
    made: int, tile: int, step: tuple[int, int], before: tuple[int, int], most: int, size: int, whole: int
) -> int:  # fmt: skip
    """`covered` by the windows of that size behind `made` positions of the output in tiles: through a stage of (stride,
    padding) and maybe one `before` it, which leaves out `most` that lie outside, at most (`LeadAxis`)."""
    begins = [at * step[0] - step[1] for at in range(0, made, tile)]
    starts = [(begin + left_out(begin, most)) * before[0] - before[1] for begin in begins]
    return covered(starts, size, whole)


def covered(starts: Sequence[int], size: int, whole: int) -> int:
    """How many positions of an axis of `whole` the windows of that size hold together that begin at `starts`."""
    return sum(max(0, min(whole, start + size) - max(0, start)) for start in starts)


@cache
def bytes_of(dtype: str) -> int:
    """Of an element."""
    return np.dtype(dtype).itemsize


def written_bytes(spec: Chain) -> int:
    """Bytes of the output and the residual."""
    each = bytes_of(spec.output_dtype) + (bytes_of(spec.residual_dtype) if spec.residual else 0)
    return each * (1 if spec.pool else spec.last.height * spec.last.width) * spec.last.channels


def tensor_bytes(spec: Chain) -> int:
    """Bytes of the input, the output and the residual."""
    return bytes_of(spec.input_dtype) * spec.height * spec.width * spec.channels + written_bytes(spec)


def _sums(spec: GpuProduct | GpuFused, tiles: ProductTiles | FusedTiles) -> int:
    join = join_of(spec, tiles)
    return FLOAT * join.groups * (2 * join.slices - 1) * join.left_floats if join else 0
