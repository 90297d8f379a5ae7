"""Winograd convolutions against float64: odd pictures and channels, borders, residuals, strips, ranges of items."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mncc.kernels.chain import NO_PADS, Stage
from mncc.kernels.target import load_target
from mncc.kernels.tiles import ConvTile
from mncc.kernels.toom import PAIRS, kernel_matrix, transform_input, transform_output
from mncc.kernels.winograd import Winograd, WinogradTiles, items
from mncc.kernels.winograd_cost import choose_tiles
from mncc.network.ops import Activation
from mncc.network.window import Pads
from tests.schedules.harness import ChainRun

RELU6 = Activation("relu6")
ONE = ((1, 1), (1, 1))
TOLERANCE = 5e-6
"""Of the largest output; what verify allows is 1e-4."""


def winograd(
    height: int, width: int, channels: int, out: int, size: int = 4, padding: Pads = ONE, **more: object
) -> Winograd:
    """A convolution of a picture with the padding around it."""
    made = [n + sum(pads) - 2 for n, pads in zip((height, width), padding, strict=True)]
    stage = Stage("conv", made[0], made[1], out, kernel=(3, 3), padding=padding, activation=RELU6)
    return Winograd(height, width, channels, (stage,), size=size, **more)


def expect_close(run: ChainRun, parts: int = 3) -> None:
    """The kernel agrees with float64, and its bits do not depend on how its items are shared out."""
    assert isinstance(run.chain, Winograd) and isinstance(run.tiles, WinogradTiles)
    count = items(run.chain, run.tiles)
    whole, expected = run.run([(0, count)]), run.expected()
    assert np.abs(whole - expected).max() <= TOLERANCE * np.abs(expected).max()
    cuts = sorted({0, count, *(count * i // parts for i in range(parts))})
    ranges = list(itertools.pairwise(cuts))
    for order in (ranges, ranges[::-1]):
        assert np.array_equal(run.run(order), whole)


@pytest.mark.parametrize("size", PAIRS)
def test_cook_toom(size: int) -> None:
    """Filters of three taps, in float64."""
    rng = np.random.default_rng(size)
    values, taps = rng.standard_normal((size + 2, 5)), rng.standard_normal((3, 5))
    products = np.array(transform_input(values, size)) * (kernel_matrix(size) @ taps)
    expected = [sum(values[i + tap] * taps[tap] for tap in range(3)) for i in range(size)]
    np.testing.assert_allclose(transform_output(products, size), expected, rtol=0, atol=1e-13)


BORDERED = winograd(14, 10, 16, 32, input_pads=ONE, output_pads=ONE)
PICTURES = {
    "whole tiles": winograd(16, 12, 32, 48),
    "in borders": BORDERED,
    "in wide borders": replace(BORDERED, input_pads=BORDERED.wanted_pads, output_pads=((1, 3), (2, 1))),
    "odd everything": winograd(13, 11, 5, 19),
    "one pixel": winograd(1, 1, 3, 1),
    "one row": winograd(1, 9, 8, 8),
    "narrow": winograd(9, 2, 24, 40),
    "no padding": winograd(9, 12, 8, 16, padding=NO_PADS),
    "unequal padding": winograd(7, 8, 8, 12, padding=((2, 0), (0, 3))),
    "residual": winograd(10, 9, 8, 24, residual=True, output_pads=((0, 1), (1, 0))),
    "bordered residual first": winograd(
        8, 8, 17, 33, residual=True, residual_first=True, residual_pads=((1, 0), (2, 1)), output_pads=ONE
    ),
    "parts of wider tensors": winograd(
        9, 10, 12, 20, residual=True, output_pads=ONE, input_spare=4, residual_spare=3, output_spare=16
    ),
    "weights past the cache": winograd(5, 6, 160, 168, output_pads=ONE),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
@pytest.mark.parametrize("size", PAIRS)
def test_picture(name: str, target: str, size: int, tmp_path: Path) -> None:
    spec = replace(PICTURES[name], size=size)
    expect_close(ChainRun(spec, choose_tiles(spec, load_target(target)), tmp_path, target=target))


@pytest.mark.parametrize("strip", [1, 2, 3, 4])
@pytest.mark.parametrize("cols", [1, 4, 7])
def test_strips(strip: int, cols: int, tmp_path: Path) -> None:
    """A register tile that does not divide a strip's tiles runs over values of no tile."""
    spec = winograd(15, 10, 20, 56, residual=True, output_pads=ONE)
    expect_close(ChainRun(spec, WinogradTiles(strip, "rows", ConvTile(1, cols, 32, 16), 16), tmp_path))


def test_tasks_share_out_channels(tmp_path: Path) -> None:
    spec = winograd(9, 6, 12, 60, residual=True, input_pads=ONE, output_pads=ONE)
    tiles = WinogradTiles(3, "channels", ConvTile(1, 4, 16, 8), 8)
    assert items(spec, tiles) == 5
    expect_close(ChainRun(spec, tiles, tmp_path), 4)


BORDER = st.tuples(st.tuples(st.integers(0, 4), st.integers(0, 4)), st.tuples(st.integers(0, 4), st.integers(0, 4)))
PADDING = st.tuples(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.tuples(st.integers(0, 2), st.integers(0, 2)))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Winograd, WinogradTiles]:
    """Any picture, padding, borders, residual and tiles."""
    height, width, padding = draw(st.integers(1, 13)), draw(st.integers(1, 13)), draw(PADDING)
    if any(n + sum(pads) < 3 for n, pads in zip((height, width), padding, strict=True)):
        padding = ONE
    residual = draw(st.booleans())
    spec = winograd(
        height,
        width,
        draw(st.integers(1, 37)),
        draw(st.integers(1, 37)),
        draw(st.sampled_from(list(PAIRS))),
        padding,
        residual=residual,
        residual_first=residual and draw(st.booleans()),
        input_pads=draw(BORDER),
        residual_pads=draw(BORDER) if residual else NO_PADS,
        output_pads=draw(BORDER),
        input_spare=draw(st.integers(0, 3)),
        output_spare=draw(st.integers(0, 3)),
        residual_spare=draw(st.integers(0, 3)) if residual else 0,
    )
    lanes = draw(st.sampled_from([4, 8, 16]))
    tile = ConvTile(1, draw(st.integers(1, 6)), lanes * draw(st.integers(1, 3)), lanes)
    if draw(st.booleans()):
        return spec, WinogradTiles(spec.tile_rows, "channels", tile, draw(st.sampled_from([4, 8, 16])))
    strip = draw(st.integers(1, spec.tile_rows))
    return spec, WinogradTiles(strip, "rows", tile, draw(st.sampled_from([4, 8, 16])))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(convolutions(), st.integers(0, 2**16))
def test_any_convolution(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[Winograd, WinogradTiles], seed: int
) -> None:
    spec, tiles = case
    expect_close(ChainRun(spec, tiles, tmp_path_factory.mktemp("winograd"), seed))
