"""Depthwise convolutions of float16 on GPUs: in which order threads make runs of pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mncc.kernels.chain import Stage
from mncc.kernels.gpu_fused import FusedTiles
from mncc.kernels.gpu_tiles import WarpTiles
from mncc.kernels.gpu_warp_fused import RunOrder, WarpFused, WarpFusedShape, runs_in_order, served

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


@pytest.mark.parametrize("tiles", [TILES, replace(TILES, cols=7, run=1), replace(TILES, chunk=48, run=2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_no_order_is_worse_than_one_pixel_after_the_other(tiles: FusedTiles, stride: int) -> None:
    shape = shape_of(tiles, stride)
    assert shape._served(shape.order) <= shape._served(RunOrder(tiles.chunk // 8))
