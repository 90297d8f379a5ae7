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
        quads, rows, cols, (0, 0), (rows, cols), tile, run, (stride, stride), (across, 256 // across), (16, 16)
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
    "tile, part",
    [
        ((7, 7), ((1, 1), (7, 7))),
        ((4, 7), ((0, 1), (6, 7))),
        ((4, 4), ((0, 0), (6, 6))),
        ((8, 8), ((1, 1), (7, 7))),
    ],
)
def test_nothing_is_made_outside_of_a_picture_that_is_one_tile(
    tile: tuple[int, int], part: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    stages = (
        Stage("conv", 7, 7, 64, activation=Activation("relu6")),
        Stage("depthwise", 7, 7, 64, (3, 3), padding=PADS),
        Stage("conv", 7, 7, 16),
    )
    lead, tail = ThreadTiles(1, 4, 8, 32), ThreadTiles(1, 4, 4, 64)
    shape = FusedShape(GpuFused(7, 7, 16, stages), FusedTiles(*tile, 32, 1, 256, 1, lead, tail))
    assert shape.lead_part == part and shape.window == part[1]
    assert shape.middle == tuple(side + 2 for side in tile)
