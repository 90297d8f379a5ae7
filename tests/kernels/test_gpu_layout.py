"""Where chunks of channels lie in shared memory, and what a block makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from mncc.kernels.chain import Stage
from mncc.kernels.gpu_fused import FusedShape, FusedTiles, GpuFused
from mncc.kernels.gpu_layout import Chunk, ChunkLayout, apart, chunk_layout, window_pitch
from mncc.kernels.gpu_tiles import ThreadTiles
from mncc.network.ops import Activation

PADS = ((1, 1), (1, 1))


def chunk(quads: int, tile: tuple[int, int], run: int, stride: int = 1, lead: int = 4) -> Chunk:
    """Of 256 threads, behind a lead whose threads make `lead` channels each, before a projection to 64 channels."""
    rows, cols = ((side - 1) * stride + 3 for side in tile)
    across = quads * 4 // lead
    return Chunk(
        quads, rows, cols, (rows, cols), tile, run, (stride, stride), (across, 256 // across), (16, 16)
    )


@pytest.mark.parametrize(
    "wanted, free",
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], True),
        ([3, 3, 3, 3, 3, 3, 3, 3], True),
        ([0, 1, 2, 3, 12, 13, 14, 15], True),
        ([0, 1, 2, 3, 9, 10, 11, 12], False),
        ([0, 1, 2, 3, 4, 5, 6, 7, 0, 8], False),
    ],
)
def test_quads_of_eight_threads_lie_apart(wanted: list[int], free: bool) -> None:
    assert apart(np.array(wanted)) == free


@pytest.mark.parametrize(
    "given, layout",
    [
        # Two pixels side by side fill all banks, and rows of nine make of neighbours in a column such a pair as well.
        (chunk(4, (4, 7), 1), ChunkLayout(4, 36, 4)),
        (chunk(4, (4, 14), 2), ChunkLayout(4, 68, 6, by_rows=True)),
        (chunk(4, (4, 7), 1, stride=2, lead=8), ChunkLayout(6, 90, 4)),
        (chunk(8, (4, 7), 1), ChunkLayout(8, 72, 8)),
        (chunk(8, (4, 7), 1, lead=8), ChunkLayout(12, 108, 8)),
        (chunk(4, (4, 8), 4), ChunkLayout(5, 50, 5, free=False)),
    ],
)
def test_pixels_are_put_where_threads_do_not_meet(given: Chunk, layout: ChunkLayout) -> None:
    assert chunk_layout(given) == layout


@pytest.mark.parametrize(
    "quads, across, pitch",
    [
        # Four pixels at a time: six quads each lie apart as they are, four do not, and those who copy want them so.
        (6, 2, 6),
        (4, 2, 0),
        (4, 4, 4),
        (16, 8, 16),
        (16, 4, 17),
    ],
)
def test_windows_are_copied_and_read_apart(quads: int, across: int, pitch: int) -> None:
    assert window_pitch(quads, (6, 9), (6, 9), (1, 1), across) == pitch


@pytest.mark.parametrize(
    "tile, firsts, size",
    [
        # One tile: what its window has of the picture.
        ((7, 7), ([1], [1]), (7, 7)),
        ((8, 8), ([1], [1]), (7, 7)),
        # Two: each has the padding of one side, and of a row more than there are the second lacks that too.
        ((4, 7), ([1, 0], [1]), (5, 7)),
        ((7, 4), ([1], [1, 0]), (7, 5)),
        # Three: that in the middle needs all of its window.
        ((3, 3), ([0, 0, 0], [0, 0, 0]), (5, 5)),
    ],
)
def test_a_lead_makes_no_more_than_a_tile_has_of_the_picture(
    tile: tuple[int, int], firsts: tuple[list[int], list[int]], size: tuple[int, int]
) -> None:
    stages = (
        Stage("conv", 7, 7, 64, activation=Activation("relu6")),
        Stage("depthwise", 7, 7, 64, (3, 3), padding=PADS),
        Stage("conv", 7, 7, 16),
    )
    lead, tail = ThreadTiles(1, 4, 8, 32), ThreadTiles(1, 4, 4, 64)
    shape = FusedShape(GpuFused(7, 7, 16, stages), FusedTiles(*tile, 32, 1, 256, 1, lead, tail))
    assert shape.lead_size == shape.window == size
    for axis, side, found in zip(shape.lead_axes, tile, firsts, strict=True):
        assert [axis.first(begin - 1) for begin in range(0, 7, side)] == found
    assert shape.middle == tuple(side + 2 for side in tile)
