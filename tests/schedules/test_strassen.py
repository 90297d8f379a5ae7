"""Strassen's products against float64: pictures, channels that fill no tile, borders, strides, ranges of items, NaN."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mncc.kernels.chain import NO_PADS, Stage
from mncc.kernels.strassen import OUTPUTS, PIXELS, WEIGHTS, Strassen, StrassenTiles, phases, segments
from mncc.kernels.strassen_cost import choose_tiles
from mncc.kernels.target import load_target
from mncc.kernels.tiles import ConvTile, tile_of
from mncc.network.ops import Activation
from mncc.network.window import Pads
from tests.schedules.harness import ChainRun

RELU6 = Activation("relu6")
ONE = ((1, 1), (1, 1))
TOLERANCE = 3e-6
"""Of the largest output; what verify allows is 1e-4."""


def strassen(
    height: int,
    width: int,
    channels: int,
    out: int,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    padding: Pads = ONE,
    act: Activation | None = RELU6,
    **more: object,
) -> Strassen:
    """A depthwise stage that makes `height` x `width` pixels, and the product behind it."""
    made = zip((height, width), kernel, stride, dilation, padding, strict=True)
    size = [(n - 1) * by + (k - 1) * d + 1 - sum(pads) for n, k, by, d, pads in made]
    first = Stage("depthwise", height, width, channels, kernel, stride, padding, dilation, activation=RELU6)
    stages = first, Stage("conv", height, width, out, activation=act)
    return Strassen(size[0], size[1], channels, stages, **{"input_pads": padding, **more})


def expect_close(run: ChainRun, parts: int = 3) -> None:
    """The kernel agrees with float64, and its bits do not depend on how its items are shared out."""
    assert isinstance(run.chain, Strassen) and isinstance(run.tiles, StrassenTiles)
    first, second = (phase.items for phase in phases(run.chain, run.tiles))
    whole, expected = run.run([(0, first + second)]), run.expected()
    assert np.abs(whole - expected).max() <= TOLERANCE * np.abs(expected).max()
    ranges = []
    for begin, count in ((0, first), (first, second)):
        cuts = sorted({begin + count * i // parts for i in range(parts + 1)})
        ranges.append(list(itertools.pairwise(cuts)))
    assert np.array_equal(run.run([*ranges[0], *ranges[1]]), whole)
    assert np.array_equal(run.run([*ranges[0][::-1], *ranges[1][::-1]]), whole)


def test_seven_products_make_a_product_of_blocks() -> None:
    """Scalars for blocks."""
    rng = np.random.default_rng(7)
    left, right = rng.standard_normal((2, 2)), rng.standard_normal((2, 2))
    made = np.zeros(4)
    for pixels, weights, outputs in zip(PIXELS, WEIGHTS, OUTPUTS, strict=True):
        factors = [sum(sign * m.ravel()[n] for n, sign in t) for m, t in ((left, pixels), (right, weights))]
        for block, sign in outputs:
            made[block] += sign * factors[0] * factors[1]
    np.testing.assert_allclose(made.reshape(2, 2), left @ right, rtol=0, atol=1e-14)


PICTURES = {
    "a few tiles": strassen(14, 14, 64, 64),
    "in borders": strassen(14, 14, 32, 64, output_pads=ONE),
    "in wide borders": strassen(6, 10, 32, 32, input_pads=((2, 1), (1, 3)), output_pads=((1, 3), (2, 1))),
    "stride": strassen(7, 14, 32, 48, stride=(2, 2), padding=((0, 1), (0, 1))),
    "one pair": strassen(1, 2, 16, 16),
    "rows shorter than tiles": strassen(9, 4, 16, 32),
    "one row": strassen(1, 18, 16, 16),
    "channels that fill no tile": strassen(5, 8, 48, 74),
    "few outputs": strassen(4, 6, 32, 6),
    "5x5": strassen(6, 8, 32, 32, kernel=(5, 5), padding=((2, 2), (2, 2))),
    "dilated": strassen(6, 8, 32, 32, dilation=(2, 2), padding=((2, 2), (2, 2))),
    "no padding": strassen(5, 6, 32, 32, padding=NO_PADS),
    "no activation": strassen(6, 6, 32, 32, act=None),
    "parts of wider tensors": strassen(6, 8, 32, 48, output_pads=ONE, input_spare=4, output_spare=16),
    "lines that share sets": strassen(2, 8, 512, 64),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_picture(name: str, target: str, tmp_path: Path) -> None:
    spec = PICTURES[name]
    expect_close(ChainRun(spec, choose_tiles(spec, load_target(target)), tmp_path, target=target))


@pytest.mark.parametrize("fetches", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_inputs_one_at_a_time_and_by_lane(steps: int, fetches: bool, tmp_path: Path) -> None:
    spec = strassen(10, 10, 64, 56, output_pads=ONE)
    product = ConvTile(1, 3, 16, 8, steps, unroll=4 if steps == 1 else 1)
    expect_close(ChainRun(spec, StrassenTiles(ConvTile(2, 3, 8, 8), product, fetches), tmp_path))


def test_tiles_of_few_channels_may_be_wider_than_a_row(tmp_path: Path) -> None:
    """At the end of the channels a tile has more pairs, and may go over two ends of rows."""
    spec = strassen(8, 10, 16, 48, output_pads=ONE)
    tiles = StrassenTiles(ConvTile(1, 4, 8, 8), ConvTile(1, 5, 16, 8, evenly=True))
    assert any(tile_of(tiles.product, s).cols == 8 for s in segments(spec, tiles))
    expect_close(ChainRun(spec, tiles, tmp_path))


def test_nan_reaches_the_pixel_beside_it_and_no_other(tmp_path: Path) -> None:
    spec = strassen(4, 6, 32, 32, kernel=(1, 1), padding=NO_PADS)
    tiles = choose_tiles(spec, load_target("native"))
    run = ChainRun(spec, tiles, tmp_path)
    run.input[2, 3, 5] = np.nan
    made = run.run([(0, sum(phase.items for phase in phases(spec, tiles)))])
    wrong = np.isnan(made)
    assert wrong[2, 3].all() and not np.delete(wrong.reshape(24, 32), [14, 15], axis=0).any()


@pytest.mark.parametrize(
    "change",
    [
        {"residual": True},
        {"pool": True},
        {"weights_dtype": "float16"},
        {"stages": (Stage("conv", 14, 14, 64),)},
        {"stages": (PICTURES["a few tiles"].stages[0], Stage("conv", 14, 14, 63))},
        {"stages": (PICTURES["a few tiles"].stages[0], Stage("conv", 14, 14, 64, groups=2))},
        {"stages": tuple(replace(stage, width=15) for stage in PICTURES["a few tiles"].stages)},
    ],
    ids=lambda change: ",".join(change),
)
def test_others_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        replace(PICTURES["a few tiles"], **change)


BORDER = st.tuples(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.tuples(st.integers(0, 3), st.integers(0, 3)))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Strassen, StrassenTiles]:
    """Any picture, window, borders and tiles."""
    lanes, kernel = draw(st.sampled_from([4, 8])), (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    spec = strassen(
        draw(st.integers(1, 9)),
        2 * draw(st.integers(1, 6)),
        2 * lanes * draw(st.integers(1, 5)),
        2 * draw(st.integers(1, 37)),
        kernel,
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        padding=((kernel[0] // 2, 0), (kernel[1] // 2, 0)),
        output_pads=draw(BORDER),
        input_spare=draw(st.integers(0, 3)),
        output_spare=draw(st.integers(0, 3)),
    )
    depthwise = ConvTile(draw(st.integers(1, 2)), draw(st.integers(1, 4)), lanes, lanes)
    wide = draw(st.sampled_from([4, 8]))
    product = ConvTile(1, draw(st.integers(1, 6)), wide * draw(st.integers(1, 3)), wide, evenly=draw(st.booleans()))
    return spec, StrassenTiles(depthwise, product, draw(st.booleans()))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs(), st.integers(0, 2**16))
def test_any_pair(tmp_path_factory: pytest.TempPathFactory, case: tuple[Strassen, StrassenTiles], seed: int) -> None:
    spec, tiles = case
    expect_close(ChainRun(spec, tiles, tmp_path_factory.mktemp("strassen"), seed))
