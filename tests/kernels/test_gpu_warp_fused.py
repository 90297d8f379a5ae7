"""Depthwise convolutions of float16 on GPUs: in which order threads make runs of pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mncc.kernels.chain import Stage
from mncc.kernels.gpu_fused import FusedTiles
from mncc.kernels.gpu_tiles import WarpTiles
from mncc.kernels.gpu_warp_fused import (
    RunOrder,
    WarpFused,
    WarpFusedShape,
    lane_halves,
    lane_order,
    pair_of,
    runs_in_order,
    served,
    window_apart,
)

HALF: dict[str, Any] = {"dtype": "float16", "weights_dtype": "float16"}
TILES = FusedTiles(7, 8, 96, 1, 128, 4, WarpTiles(32, 48, 2, 2), WarpTiles(16, 64, 1, 4))


def shape_of(tiles: FusedTiles, stride: int) -> WarpFusedShape:
    stages = (
        Stage("conv", 28, 28, 192),
        Stage("depthwise", 28 // stride, 28 // stride, 192, (3, 3), stride=(stride, stride), padding=((1, 1), (1, 1))),
        Stage("conv", 28 // stride, 28 // stride, 64),
    )
    return WarpFusedShape(WarpFused(28, 28, 32, stages, **HALF), tiles)


ORDERS = [RunOrder(12), RunOrder(12, True, 5), RunOrder(4), RunOrder(2, True), RunOrder(4, step=3)]
ORDERS += [RunOrder(12, paired=True), RunOrder(4, paired=True), RunOrder(4, True, paired=True)]


@pytest.mark.parametrize("order", ORDERS)
def test_every_run_is_made_once(order: RunOrder) -> None:
    octets, rows, columns = runs_in_order(TILES, order)
    assert {*zip(octets.tolist(), rows.tolist(), columns.tolist(), strict=True)} == {
        (octet, row, column) for octet in range(12) for row in range(7) for column in (0, 4)
    }
    assert octets.size == 12 * 7 * 2


def test_what_banks_give() -> None:
    # Eight different banks; one place for all; two places in one bank; a last group of one.
    asked = [*range(8), *[5] * 8, *range(7), 8, 3]
    assert [served(np.array(asked[:count])) for count in (8, 16, 24, 25)] == [1, 2, 4, 5]


def test_runs_of_four_pixels_meet_in_no_bank() -> None:
    shape = shape_of(TILES, 1)
    octet, row, column = runs_in_order(TILES, shape.order)
    place = (row * shape.middle[1] + column) * shape.chunk_pitch // 8 + octet
    assert served(place) == served(octet) == octet.size // 8


@pytest.mark.parametrize("rows, columns", [(2, 1), (3, 1), (4, 3), (7, 7), (7, 2), (5, 8)])
def test_pairs_are_half_of_a_grid_apart(rows: int, columns: int) -> None:
    row, column = pair_of(np.arange(rows * columns), rows, columns)
    assert {*zip(row.tolist(), column.tolist(), strict=True)} == {*np.ndindex(rows, columns)}
    pairs = rows // 2 * columns
    assert set((row[1::2] - row[::2][: row.size // 2])[:pairs].tolist()) == {rows - rows // 2}
    assert not (column[1::2] - column[::2][: column.size // 2])[:pairs].any()


@pytest.mark.parametrize("chunk", [32, 64, 96, 160])
def test_single_pixels_of_seven_by_seven_meet_in_no_bank(chunk: int) -> None:
    """With 96 channels an eighth of 588 runs was asked for twice."""
    shape = shape_of(replace(TILES, cols=7, run=1, chunk=chunk), 1)
    octet, row, column = runs_in_order(shape.tiles, shape.order)
    pitch, groups = shape.chunk_pitch // 8, -(-octet.size // 8)
    assert served((row * 9 + column) * pitch + octet) == served((row * 7 + column) * pitch + octet) == groups
    assert served(octet) == groups


@pytest.mark.parametrize("tiles", [TILES, replace(TILES, cols=7, run=1), replace(TILES, chunk=48, run=2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_no_order_is_worse_than_one_pixel_after_the_other(tiles: FusedTiles, stride: int) -> None:
    shape = shape_of(tiles, stride)
    assert shape._served(shape.order) <= shape._served(RunOrder(tiles.chunk // 8))


ALONE = FusedTiles(7, 14, 16, 1, 128, 2, None, None)
SMALL = replace(ALONE, cols=7, run=1)


@pytest.mark.parametrize("tiles", [ALONE, SMALL, replace(SMALL, rows=4), replace(ALONE, cols=16, run=4, chunk=64)])
@pytest.mark.parametrize("stride, dilation", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_threads_of_a_depthwise_convolution_alone_meet_in_no_bank(
    tiles: FusedTiles, stride: int, dilation: int
) -> None:  # fmt: skip
    """With 16 channels a quarter of what the banks gave was asked for twice."""
    taps = {"stride": (stride, stride), "dilation": (dilation, dilation)}
    padding = ((dilation, dilation), (dilation, dilation))
    stage = Stage("depthwise", 56 // stride, 56 // stride, 64, (3, 3), padding=padding, **taps)
    shape = WarpFusedShape(WarpFused(56, 56, 64, (stage,), **HALF), tiles)
    rows, columns = shape.middle
    octets, pitch, row_pitch = tiles.chunk // 8, shape.middle_pitch // 8, shape.middle_row // 8
    octet, row, column = runs_in_order(tiles, shape.order)
    made = row < tiles.rows
    assert {*zip(octet[made].tolist(), row[made].tolist(), column[made].tolist(), strict=True)} == {
        (one, two, three)
        for one in range(octets) for two in range(tiles.rows) for three in range(0, tiles.cols, tiles.run)
    }  # fmt: skip
    assert octet.size == shape.runs and np.count_nonzero(made) == octets * tiles.rows * tiles.cols // tiles.run
    # The rows as they are copied, one place behind the other, and where the taps look for them.
    apart = shape.copied.apart if shape.copied else 1
    copied = [line for first in range(apart) for line in range(first, rows, apart)]
    for y in range(3):
        lines = np.array([shape.middle_line(number, y) for number in range(tiles.rows)])
        assert [copied[line] for line in lines] == [stride * number + dilation * y for number in range(tiles.rows)]
    if tiles == ALONE and (stride, dilation) == (1, 2):
        # A row of 18 pixels would have to be longer for the runs, and as long as it is for the copy.
        assert shape.copied is None
        return
    assert shape.copied
    pixel, eight = np.divmod(np.arange(rows * columns * octets), octets)
    stores = pixel // columns * row_pitch + pixel % columns * pitch + eight
    assert np.unique(stores).size == stores.size and stores.max() * 8 + 8 <= shape.middle_halves
    assert served(stores) == -(-stores.size // 8)
    for tap in range(3):
        places = shape.middle_line(row, tap) * row_pitch + column * stride * pitch + octet
        for start in range(0, places.size, 8):
            assert served(places[start : start + 8][made[start : start + 8]]) <= 1


def test_runs_that_nothing_makes_take_no_round_of_their_own() -> None:
    found = window_apart(ALONE, (9, 16), (1, 1))
    assert found and found.order.spare == 1
    assert window_apart(replace(ALONE, threads=98), (9, 16), (1, 1)) is None


@pytest.mark.parametrize("lead", [WarpTiles(32, 48, 2, 2), WarpTiles(16, 32, 4, 1), WarpTiles(32, 16, 1, 4)])
def test_what_a_lane_stores_at_once_are_neighbours(lead: WarpTiles) -> None:
    order = lane_order(lead, 32)
    assert sorted(order.tolist()) == list(range(lead.width))
    first = 0
    for count in lane_halves(lead, 32) * lead.across:
        # Of each half of a fragment, eight columns, a lane has two.
        own = order[first : first + count * 8].reshape(count, 4, 2).transpose(1, 0, 2).reshape(4, -1)
        assert (own == first + np.arange(count * 8).reshape(4, -1)).all()
        first += count * 8
    assert lane_order(lead, 96).tolist() == list(range(lead.width))


@pytest.mark.parametrize("octets", [1, 3, 5, 7, 9, 13])
@pytest.mark.parametrize("halves", [1, 2, 4])
def test_wide_stores_of_a_lane_meet_in_no_bank(octets: int, halves: int) -> None:
    # The rows of a fragment in the order of `reversed_rows`, with a pitch of so many octets: banks are of two halves.
    lane = np.arange(32)
    row = (lane // 4 % 2) * 4 + lane // 8 % 2 * 2 + lane // 16
    place = row * octets * 4 + lane % 4 * halves
    for start in range(0, 32, 32 // halves):
        banks = place[start : start + 32 // halves, None] + np.arange(halves)
        assert np.unique(banks % 32).size == 32
