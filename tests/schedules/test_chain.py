"""Chains of every kind against float64: odd shapes, strides, borders, strips, ranges of items."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mncc.kernels.chain import (
    NO_PADS,
    Chain,
    ChainTiles,
    Stage,
    executed_macs,
    in_phases,
    phases,
    scratch_layout,
    segments,
)
from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.family import family_of
from mncc.kernels.precision import StoredType
from mncc.kernels.target import load_target
from mncc.kernels.tiles import PANEL, ConvTile
from mncc.network.ops import Activation
from mncc.network.window import output_size
from tests.networks.specials import expect_specials, with_specials
from tests.schedules.harness import ChainRun

RELU6 = Activation("relu6")
ONE = ((1, 1), (1, 1))


def window(kind: str, size: tuple[int, int], channels: int, **more: object) -> Stage:
    """A stage behind a tensor of `size` with what its window leaves."""
    kernel, stride = more.get("kernel", (1, 1)), more.get("stride", (1, 1))
    padding, dilation = more.get("padding", NO_PADS), more.get("dilation", (1, 1))
    out = [output_size(size[a], kernel[a], stride[a], dilation[a], padding[a]) for a in range(2)]
    return Stage(kind, out[0], out[1], channels, activation=RELU6, **more)


def inverted(height: int, width: int, channels: int, hidden: int, out: int, stride: int = 1, **more: object) -> Chain:
    """Expansion, depthwise 3x3, projection."""
    expand = window("conv", (height, width), hidden)
    middle = window("depthwise", (height, width), hidden, kernel=(3, 3), stride=(stride, stride), padding=ONE)
    project = Stage("conv", middle.height, middle.width, out)
    return Chain(height, width, channels, (expand, middle, project), **more)


def expect_exact(run: ChainRun, parts: int = 3) -> None:
    """The kernel agrees with float64, its bits do not depend on how its items are shared out, and NaN and infinity come
    out where they have to, and nowhere else."""
    shares = family_of(run.chain).phases(run.chain, run.tiles)
    count = sum(phase.items for phase in shares)
    whole, expected = run.run([(0, count)]), run.expected()
    assert np.abs(whole - expected).max() <= 2e-6 * np.abs(expected).max()
    forward, backward, done = [], [], 0
    for phase in shares:
        cuts = sorted({done, done + phase.items, *(done + phase.items * i // parts for i in range(parts))})
        ranges = list(itertools.pairwise(cuts))
        forward, backward, done = forward + ranges, backward + ranges[::-1], done + phase.items
    for order in (forward, backward):
        assert np.array_equal(run.run(order), whole)
    run.input = with_specials(run.input, seed=run.seed, share=0)
    expect_specials(run.run([(0, count)]), run.expected())


CHAINS = {
    "inverted residual": inverted(14, 14, 16, 96, 16, residual=True),
    "stride 2": inverted(14, 14, 16, 96, 24, 2),
    "odd everything": inverted(13, 11, 5, 21, 19, 2, output_pads=((1, 2), (0, 1))),
    "bordered residual": inverted(
        9, 10, 8, 24, 8, residual=True, residual_first=True, input_pads=ONE, residual_pads=ONE, output_pads=ONE
    ),
    "separable": Chain(
        12,
        17,
        32,
        (
            window("depthwise", (12, 17), 32, kernel=(3, 3), stride=(2, 2), padding=((0, 1), (0, 1))),
            Stage("conv", 6, 8, 40),
        ),
    ),
    "separable in borders": Chain(
        12,
        17,
        32,
        (window("depthwise", (12, 17), 32, kernel=(3, 3), padding=ONE), Stage("conv", 12, 17, 40)),
        input_pads=ONE,
        output_pads=ONE,
    ),
    "stem": Chain(
        32,
        30,
        3,
        (
            window("conv", (32, 30), 32, kernel=(3, 3), stride=(2, 2), padding=ONE),
            window("depthwise", (16, 15), 32, kernel=(3, 3), padding=ONE),
            Stage("conv", 16, 15, 16),
        ),
    ),
    "grouped": Chain(10, 10, 24, (window("conv", (10, 10), 48, kernel=(3, 3), padding=ONE, groups=3),)),
    "dilated": Chain(
        15, 15, 8, (window("conv", (15, 15), 12, kernel=(3, 3), padding=((2, 2), (2, 2)), dilation=(2, 2)),)
    ),
    "large kernel": Chain(
        23, 23, 3, (window("conv", (23, 23), 20, kernel=(11, 11), stride=(4, 4), padding=((2, 2), (2, 2))),)
    ),
    "pooled": Chain(1, 49, 40, (Stage("conv", 1, 49, 72, activation=RELU6),), pool=True),
    "classifier": Chain(1, 1, 96, (Stage("conv", 1, 1, 1001),)),
    "rows of padding alone": Chain(
        2,
        4,
        1,
        (
            window("conv", (2, 4), 31),
            window("depthwise", (2, 4), 31, padding=((2, 3), (2, 0))),
            Stage("conv", 7, 6, 37),
        ),
        output_pads=((2, 2), (2, 2)),
    ),
    "windows of padding alone": Chain(
        3,
        7,
        13,
        (
            window("conv", (3, 7), 3, kernel=(3, 3), stride=(2, 3), padding=((0, 0), (0, 1))),
            window("depthwise", (1, 2), 3, stride=(2, 3), padding=((2, 1), (1, 2)), dilation=(2, 1)),
            window("conv", (2, 2), 12, stride=(1, 3), padding=((2, 2), (0, 0)), dilation=(2, 1)),
        ),
        input_pads=((0, 0), (2, 2)),
        output_pads=((2, 2), (2, 2)),
    ),
    "shuffled unit": Chain(
        9,
        11,
        12,
        (
            window("conv", (9, 11), 24, groups=3),
            window("depthwise", (9, 11), 24, kernel=(3, 3), padding=ONE, shuffle=3),
            Stage("conv", 9, 11, 12, groups=3),
        ),
        residual=True,
        input_spare=3,
        residual_spare=4,
        output_spare=20,
    ),
    "shuffled pair": Chain(
        6,
        5,
        20,
        (
            window("depthwise", (6, 5), 20, kernel=(3, 3), padding=ONE, shuffle=2),
            Stage("conv", 6, 5, 36, groups=2),
        ),
        input_pads=ONE,
        output_pads=ONE,
    ),
    "shuffled product": Chain(5, 7, 24, (Stage("conv", 5, 7, 18, groups=2, shuffle=4),), input_spare=8),
    "between others' pixels": Chain(
        8,
        7,
        8,
        (window("conv", (8, 7), 24, kernel=(3, 3), padding=ONE),),
        input_spare=8,
        output_spare=40,
    ),
    "wide and far apart": Chain(
        5, 6, 512, (window("conv", (5, 6), 24, kernel=(3, 3), padding=((6, 6), (6, 6)), dilation=(6, 6)),)
    ),
    "wide between stages": Chain(
        6,
        5,
        8,
        (window("conv", (6, 5), 512), window("conv", (6, 5), 16, kernel=(3, 3), padding=ONE)),
    ),
    "stride past the window": Chain(
        35,
        35,
        3,
        (
            window("conv", (35, 35), 16, kernel=(2, 2), stride=(3, 3), padding=((0, 0), (0, 0))),
            window("depthwise", (12, 12), 16, kernel=(3, 3), padding=ONE),
            Stage("conv", 12, 12, 10),
        ),
    ),
    "two phases": inverted(7, 6, 12, 288, 40, residual=True, residual_first=True, output_pads=((0, 1), (2, 0))),
    "two phases of a pair": Chain(
        5,
        9,
        40,
        (window("depthwise", (5, 9), 40, kernel=(3, 3), stride=(2, 1), padding=ONE), Stage("conv", 3, 9, 70)),
        input_pads=ONE,
        output_spare=8,
    ),
    "one pixel of three channels": Chain(1, 1, 3, (Stage("conv", 1, 1, 1),)),
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_chain(name: str, target: str, tmp_path: Path) -> None:
    chain = CHAINS[name]
    expect_exact(ChainRun(chain, choose_tiles(chain, load_target(target)), tmp_path, target=target))


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_weights_stored_as_float16(name: str, target: str, tmp_path: Path) -> None:
    """The stored numbers are those of the float64 reference: all that the kernel adds is float32's rounding."""
    chain = replace(CHAINS[name], weights_dtype="float16")
    expect_exact(ChainRun(chain, choose_tiles(chain, load_target(target)), tmp_path, target=target))


@pytest.mark.parametrize("name", CHAINS)
def test_chain_with_inputs_by_lane(name: str, tmp_path: Path) -> None:
    """The tiles of another machine compute the same on this one."""
    chain = CHAINS[name]
    tiles = choose_tiles(chain, load_target("arm64-cortex-a76"))
    products = [tile for tile, stage in zip(tiles.stages, chain.stages, strict=True) if stage.kind == "conv"]
    assert not products or any(tile.steps > 1 for tile in products) or any(s.shuffle > 1 for s in chain.stages)
    expect_exact(ChainRun(chain, tiles, tmp_path))


@pytest.mark.parametrize("name", ["inverted residual", "odd everything", "grouped", "two phases", "pooled"])
def test_a_panel_of_stored_weights_is_converted_at_once(name: str, tmp_path: Path) -> None:
    """In scratch, where inputs are taken by lane; tiles then read what they multiply. One pixel is not worth it."""
    chain = replace(CHAINS[name], weights_dtype="float16")
    tiles = choose_tiles(chain, load_target("arm64-cortex-a76"))
    widest = max(
        chain.depth(index) * segment.width
        for index in range(len(chain.stages))
        if chain.stages[index].kind == "conv"
        for segment in segments(chain, tiles, index)
    )
    (panel,) = [array for array in scratch_layout(chain, tiles) if array.stage == PANEL]
    assert panel.floats == widest and panel.dtype == "float32"
    expect_exact(ChainRun(chain, tiles, tmp_path))
    classifier = replace(CHAINS["classifier"], weights_dtype="float16")
    assert not scratch_layout(classifier, choose_tiles(classifier, load_target("arm64-cortex-a76")))


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 16, 27])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 5)])
def test_reductions_of_any_length_by_lane(channels: int, kernel: tuple[int, int], tmp_path: Path) -> None:
    """Those that whole vectors do not fill end with a narrower one; the rows of a window are one reduction each."""
    stage = window("conv", (6, 7), 12, kernel=kernel, padding=ONE)
    chain = Chain(6, 7, channels, (stage,))
    expect_exact(ChainRun(chain, ChainTiles(3, 3, "rows", (ConvTile(1, 4, 8, 4, steps=4),)), tmp_path))


@pytest.mark.parametrize("strip", [1, 2, 5])
def test_strides_past_the_window(strip: int, tmp_path: Path) -> None:
    """Rows between two windows are not made: they would take the place of others in the ring."""
    tile = ConvTile(1, 4, 16, 16)
    expect_exact(ChainRun(CHAINS["stride past the window"], ChainTiles(strip, 1, "rows", (tile,) * 3), tmp_path))


def test_a_remainder_whose_sign_is_unknown(tmp_path: Path) -> None:
    """Of a row in a ring of one row: TVM's name for such a remainder once stopped its LLVM generator."""
    stages = (
        Stage("conv", 10, 2, 1, activation=RELU6),
        Stage("conv", 10, 2, 35, activation=RELU6),
        Stage("depthwise", 6, 2, 35, stride=(2, 1), padding=((0, 2), (0, 0)), activation=RELU6),
        Stage("conv", 2, 2, 1, kernel=(4, 1), padding=((0, 2), (0, 0)), dilation=(2, 1), activation=RELU6),
        Stage("depthwise", 1, 2, 1, stride=(2, 1), activation=RELU6),
    )
    small = ConvTile(1, 1, 4, 4)
    tiles = ChainTiles(1, 1, "rows", (small, small, replace(small, rows=2), small, small))
    expect_exact(ChainRun(Chain(10, 2, 1, stages), tiles, tmp_path, target="x86-64-v3"))


@pytest.mark.parametrize("name", ["two phases", "two phases of a pair"])
def test_channels_of_several_stages_are_shared_out(name: str) -> None:
    """A tile of the expanded channels is all that is in scratch; the last stage's items are rows of its tiles."""
    chain = CHAINS[name]
    tiles = choose_tiles(chain, load_target("x86-64-v4"))
    assert in_phases(chain, tiles) and executed_macs(chain, tiles, tasks=7) == chain.macs
    scratch, (first, second) = scratch_layout(chain, tiles), phases(chain, tiles)
    assert sum(array.floats for array in scratch) <= 9 * 8 * tiles.stages[0].channels
    assert first.block == 1 and second.block == chain.last.height and second.items % second.block == 0


@pytest.mark.parametrize("strip", [1, 3])
def test_windows_of_padding_alone(strip: int, tmp_path: Path) -> None:
    tiles = (ConvTile(2, 1, 8, 4), ConvTile(2, 1, 4, 4), ConvTile(1, 4, 16, 16))
    expect_exact(ChainRun(CHAINS["windows of padding alone"], ChainTiles(strip, 1, "rows", tiles), tmp_path), 7)


@pytest.mark.parametrize("strip", [1, 2, 3, 7, 14])
@pytest.mark.parametrize("band", [1, 3, 14])
def test_strips_and_bands(strip: int, band: int, tmp_path: Path) -> None:
    chain = inverted(14, 9, 8, 40, 8, residual=True)
    stages = (ConvTile(2, 9, 16, 16), ConvTile(1, 5, 16, 16), ConvTile(3, 9, 8, 8))
    expect_exact(ChainRun(chain, ChainTiles(strip, min(strip, band), "rows", stages), tmp_path))


def deep(height: int = 21, width: int = 6) -> Chain:
    """A stem and two blocks, the second with a larger window: halos add up over five windows."""
    first = inverted(height, width, 4, 12, 6).stages
    stem = window("conv", (height * 2, width * 2), 4, kernel=(3, 3), stride=(2, 2), padding=ONE)
    middle = window("depthwise", (height, width), 18, kernel=(5, 5), stride=(2, 1), padding=((2, 2), (2, 2)))
    second = (window("conv", (height, width), 18), middle, Stage("conv", middle.height, middle.width, 5))
    return Chain(height * 2, width * 2, 3, (stem, *first, *second))


@pytest.mark.parametrize("strip", [1, 2, 5, 10])
def test_nothing_is_computed_twice(strip: int, tmp_path: Path) -> None:
    """However high the steps: one task makes every row once, in scratch that does not grow with the picture."""
    chain, stage = deep(), ConvTile(1, 3, 16, 16)
    tiles = ChainTiles(strip, 1, "rows", (stage,) * len(chain.stages))
    assert executed_macs(chain, tiles) == chain.macs < executed_macs(chain, tiles, tasks=2)
    assert scratch_layout(chain, tiles) == scratch_layout(deep(121), tiles)
    expect_exact(ChainRun(chain, tiles, tmp_path))


BORDER = st.tuples(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.tuples(st.integers(0, 2), st.integers(0, 2)))


@st.composite
def windows(draw: st.DrawFn, kind: str, size: tuple[int, int], in_channels: int) -> Stage:
    """Any stage behind a picture of `size`: unequal axes, far taps, strides past the window, more padding than taps."""
    pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
    kernel, stride = draw(pair), draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding, dilation = draw(BORDER), draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    reach = [(kernel[a] - 1) * dilation[a] + 1 for a in range(2)]
    if any(size[a] + sum(padding[a]) < reach[a] for a in range(2)):
        kernel = (1, 1)
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if in_channels % g == 0])) if kind == "conv" else 1
    channels = groups * draw(st.integers(1, 13)) if kind == "conv" else in_channels
    more = {"groups": groups} if kind == "conv" else {}
    return window(kind, size, channels, kernel=kernel, stride=stride, padding=padding, dilation=dilation, **more)


def unrolls(stage: Stage, in_channels: int) -> st.SearchStrategy[int]:
    """Steps of a product's loop that divide its reduction."""
    few = (2, 4) if stage.kind == "conv" else ()
    return st.sampled_from([1, *(n for n in few if in_channels // stage.groups % n == 0)])


@st.composite
def chains(draw: st.DrawFn) -> tuple[Chain, ChainTiles]:
    """Up to five stages of any kind, any borders and residual, any tiles."""
    size = height, width = draw(st.integers(2, 13)), draw(st.integers(2, 13))
    channels = in_channels = draw(st.integers(1, 13))
    stages: list[Stage] = []
    for kind in draw(st.lists(st.sampled_from(["conv", "depthwise", "pointwise"]), min_size=1, max_size=5)):
        if kind == "pointwise":
            stages.append(window("conv", size, draw(st.integers(1, 37))))
        else:
            stages.append(draw(windows(kind, size, in_channels)))
        size, in_channels = (stages[-1].height, stages[-1].width), stages[-1].channels
    residual = draw(st.booleans())
    chain = Chain(
        height,
        width,
        channels,
        tuple(stages),
        residual=residual,
        residual_first=residual and draw(st.booleans()),
        input_pads=draw(BORDER),
        residual_pads=draw(BORDER) if residual else NO_PADS,
        output_pads=draw(BORDER),
        input_spare=draw(st.integers(0, 3)),
        output_spare=draw(st.integers(0, 3)),
        residual_spare=draw(st.integers(0, 3)) if residual else 0,
    )
    vectors = draw(st.lists(st.sampled_from([4, 8, 16]), min_size=len(stages), max_size=len(stages)))
    tiles = tuple(
        ConvTile(
            draw(st.integers(1, 3)),
            draw(st.integers(1, 6)),
            lanes * draw(st.integers(1, 2)),
            lanes,
            steps=draw(st.sampled_from([1, 4])) if stage.kind == "conv" else 1,
            evenly=stage.kind == "conv" and draw(st.booleans()),
            unroll=draw(unrolls(stage, chain.in_channels(index))),
        )
        for index, (stage, lanes) in enumerate(zip(stages, vectors, strict=True))
    )
    strip = draw(st.integers(1, chain.last.height))
    return chain, ChainTiles(strip, draw(st.integers(1, strip)), "rows", tiles)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chains(), st.integers(0, 2**16), st.sampled_from(["float32", "float16"]))
def test_any_chain(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[Chain, ChainTiles], seed: int, stored: StoredType
) -> None:
    chain, tiles = case
    assert executed_macs(chain, tiles) >= 0
    chain = replace(chain, weights_dtype=stored)
    expect_exact(ChainRun(chain, tiles, tmp_path_factory.mktemp("chain"), seed))


@st.composite
def small_blocks(draw: st.DrawFn) -> tuple[Chain, ChainTiles]:
    """Blocks and pairs whose channels tasks share out: any window, any vectors that fill the tiles."""
    size = height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    lanes = draw(st.sampled_from([4, 8, 16]))
    pair, hidden = draw(st.booleans()), lanes * draw(st.integers(1, 9))
    channels = hidden if pair else draw(st.integers(1, 13))
    middle = draw(windows("depthwise", size, hidden))
    stages = (*([] if pair else [window("conv", size, hidden)]), middle)
    stages = (*stages, Stage("conv", middle.height, middle.width, draw(st.integers(1, 37))))
    residual = draw(st.booleans())
    chain = Chain(
        height,
        width,
        channels,
        stages,
        residual=residual,
        input_pads=middle.padding if pair else draw(BORDER),
        output_pads=draw(BORDER),
        input_spare=draw(st.integers(0, 3)),
        output_spare=draw(st.integers(0, 3)),
    )
    first = ConvTile(draw(st.integers(1, 3)), draw(st.integers(1, 6)), lanes * draw(st.integers(1, 3)), lanes)
    unroll = draw(unrolls(stages[-1], hidden))
    last = ConvTile(draw(st.integers(1, 3)), draw(st.integers(1, 6)), 16, 8, 1, draw(st.booleans()), unroll)
    tiles = (*([] if pair else [first]), ConvTile(1, draw(st.integers(1, 8)), lanes, lanes), last)
    return chain, ChainTiles(chain.last.height, chain.last.height, "channels", tiles)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(small_blocks(), st.integers(0, 2**16), st.integers(1, 5), st.sampled_from(["float32", "float16"]))
def test_any_two_phases(
    tmp_path_factory: pytest.TempPathFactory,
    case: tuple[Chain, ChainTiles],
    seed: int,
    parts: int,
    stored: StoredType,
) -> None:
    assert in_phases(*case)
    chain = replace(case[0], weights_dtype=stored)
    expect_exact(ChainRun(chain, case[1], tmp_path_factory.mktemp("phases"), seed), parts)
