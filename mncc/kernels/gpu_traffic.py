"""Bytes that the blocks of a GPU kernel move from and to global memory, counted from its tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mncc.kernels.chain import Chain
from mncc.kernels.gpu_fused import FusedShape, FusedTiles, GpuFused
from mncc.kernels.gpu_join import join_of
from mncc.kernels.gpu_product import GpuProduct, ProductShape, ProductTiles

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
    pixels = 1
    ends = ((spec.height, spec.last.height, tiles.rows), (spec.width, spec.last.width, tiles.cols))
    for axis, (whole, made, tile) in enumerate(ends):
        starts = [*range(0, made, tile)]
        for stage in reversed(spec.stages[: spec.middle + 1]):
            starts = [at * stage.stride[axis] - stage.padding[axis][0] for at in starts]
        pixels *= covered(starts, shape.window[axis], whole)
    times = across if spec.lead else shape.panels
    chunks = shape.panels * shape.chunks
    weights = rows * columns * (chunks * (shape.weights.floats + shape.tail_floats) + across * shape.width)
    return Moved(
        FLOAT * times * pixels * spec.channels, FLOAT * weights, _sums(spec, tiles), FLOAT * written_floats(spec)
    )


def moved_by_product(spec: GpuProduct, tiles: ProductTiles) -> Moved:
    """A product's: every panel loads the input, each of its slices the channels that are its own."""
    shape, last = ProductShape(spec, tiles), spec.last
    _, columns, rows = shape.grid
    pixels, ends = 1, ((spec.height, last.height, tiles.rows), (spec.width, last.width, tiles.cols))
    for axis, (whole, made, tile) in enumerate(ends):
        starts = [at * last.stride[axis] - last.padding[axis][0] for at in range(0, made, tile)]
        pixels *= covered(starts, shape.window[axis], whole)
    weights = rows * columns * shape.weight_floats
    return Moved(
        FLOAT * shape.panels * pixels * spec.channels, FLOAT * weights, _sums(spec, tiles), FLOAT * written_floats(spec)
    )


def covered(starts: Sequence[int], size: int, whole: int) -> int:
    """How many positions of an axis of `whole` the windows of that size hold together that begin at `starts`."""
    return sum(max(0, min(whole, start + size) - max(0, start)) for start in starts)


def written_floats(spec: Chain) -> int:
    """Floats of the output and the residual."""
    last = spec.last
    return (1 if spec.pool else last.height * last.width) * last.channels * (2 if spec.residual else 1)


def _sums(spec: GpuProduct | GpuFused, tiles: ProductTiles | FusedTiles) -> int:
    join = join_of(spec, tiles)
    return 2 * FLOAT * join.groups * join.slices * join.block_floats if join else 0
