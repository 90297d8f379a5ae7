"""Kernels whose depth is cut into slices, so that small pictures fill a GPU. Every slice's block leaves its sums in
memory and counts itself; the one that comes last adds up all of them, always in the same order, so that results have
the same bits every time. (The pattern is that of NVIDIA's sample threadFenceReduction.)"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mncc.kernels.chain import Chain
from mncc.kernels.gpu_fused import FusedShape, FusedTiles, GpuFused
from mncc.kernels.gpu_product import GpuProduct, ProductShape, ProductTiles
from mncc.kernels.gpu_tiles import ThreadTiles, WarpTiles
from mncc.kernels.gpu_warp_fused import WarpFused, WarpFusedShape
from mncc.kernels.gpu_warp_product import WarpProduct, WarpProductShape
from mncc.kernels.tiles import Scratch, aligned


@dataclass(frozen=True)
class Join:
    """`groups` of `slices` blocks each that make the same part of an image, of `pixels`, and how their threads hold the
    sums, maybe of a few pixels more."""

    groups: int
    slices: int
    sums: ThreadTiles
    pixels: int

    @property
    def block_floats(self) -> int:
        """The memory for what one block leaves."""
        return self.sums.threads * self.sums.kept

    @property
    def left_floats(self) -> int:
        """What one block leaves there."""
        return self.pixels * self.sums.width


def join_of(spec: object, tiles: object) -> Join | None:
    """How slices of a kernel meet; None where there is but one."""
    if isinstance(spec, GpuFused) and isinstance(tiles, FusedTiles) and tiles.slices > 1 and tiles.tail:
        across, columns, rows = FusedShape(spec, tiles).grid
        return _join(across * columns * rows, tiles, tiles.tail)
    if isinstance(spec, GpuProduct) and isinstance(tiles, ProductTiles) and tiles.slices > 1:
        across, columns, rows = ProductShape(spec, tiles).grid
        return _join(across * columns * rows, tiles, tiles.sums)
    return None


def _join(blocks: int, tiles: FusedTiles | ProductTiles, sums: ThreadTiles) -> Join:
    # Of fragments a thread holds sums of all pixels; where parts of the depth have met, of those in their order.
    fragments = isinstance(sums, WarpTiles) and sums.split == 1
    pixels = sums.height if fragments else tiles.rows * tiles.cols
    return Join(blocks // tiles.slices, tiles.slices, sums, pixels)


def joined_array(spec: Chain, tiles: object) -> Scratch | None:
    """What all blocks of an image leave for the last ones."""
    join = join_of(spec, tiles)
    if join is None:
        return None
    return Scratch(0, join.groups, join.slices, join.block_floats, join.block_floats, 0)


def own_weights(spec: object, tiles: object) -> int:
    """Floats of a kernel's weights, on whole lines."""
    if isinstance(spec, WarpFused) and isinstance(tiles, FusedTiles):
        return aligned(WarpFusedShape(spec, tiles).weight_floats)
    if isinstance(spec, WarpProduct) and isinstance(tiles, ProductTiles):
        return aligned(WarpProductShape(spec, tiles).weight_floats)
    if isinstance(spec, GpuFused) and isinstance(tiles, FusedTiles):
        return aligned(FusedShape(spec, tiles).weight_floats)
    assert isinstance(spec, GpuProduct) and isinstance(tiles, ProductTiles)
    return aligned(ProductShape(spec, tiles).weight_floats)


def counters_offset(spec: object, tiles: object) -> int:
    """Where the counters of a kernel's groups lie: behind its weights, in floats from their start. So they are uploaded
    as zeros with these; a count that is complete is zero again."""
    return own_weights(spec, tiles)


def weight_floats(spec: GpuFused | GpuProduct, tiles: object) -> int:
    """Weights and counters of a kernel, on whole lines each."""
    join = join_of(spec, tiles)
    return own_weights(spec, tiles) + (aligned(spec.images * join.groups) if join else 0)


def with_counters(packed: np.ndarray, spec: GpuFused | GpuProduct, tiles: object) -> np.ndarray:
    """Packed weights with the counters behind them."""
    return np.pad(packed, (0, weight_floats(spec, tiles) - packed.size))
