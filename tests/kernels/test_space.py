"""The space of tiles: what is in it fits into the machine, holds the defaults, and computes right."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mncc.kernels.chain import Chain, Stage
from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.chain_space import cuts, depthwise_tiles, parts, product_tiles, stage_tiles, two_row_tiles
from mncc.kernels.family import family_of
from mncc.kernels.plain import Plain, PlainOp
from mncc.kernels.space import decisions_of, knobs, neighbours, tiles_of
from mncc.kernels.strassen import Strassen
from mncc.kernels.target import Target, load_target, target_names
from mncc.kernels.tiles import ConvTile, cover_channels, cover_evenly, cut_row, tile_of
from mncc.kernels.winograd import Winograd
from mncc.network.ops import Activation
from tests.schedules.harness import ChainRun

TARGETS = [load_target(name) for name, _ in target_names() if not name.startswith(("native", "cuda"))]
ONE = ((1, 1), (1, 1))
RELU6 = Activation("relu6")
INVERTED = Chain(
    15,
    14,
    8,
    (
        Stage("conv", 15, 14, 48, activation=RELU6),
        Stage("depthwise", 15, 14, 48, (3, 3), padding=ONE, activation=RELU6),
        Stage("conv", 15, 14, 20),
    ),
)
SMALL = replace(
    INVERTED,
    height=7,
    stages=tuple(replace(s, height=7, channels=272 if s is not INVERTED.last else s.channels) for s in INVERTED.stages),
)
"""Few enough pixels, and enough channels, that tasks share out its channels, in two phases."""
POOLED = Chain(1, 49, 24, (Stage("conv", 1, 49, 40, activation=RELU6),), pool=True)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize(
    ("channels", "width", "rows"), [(64, 14, 14), (24, 56, 4), (1000, 1, 1), (5, 7, 7), (160, 7, 4)]
)
def test_products_fit_into_the_registers(target: Target, channels: int, width: int, rows: int) -> None:
    found = list(product_tiles(channels, width, rows, target))
    assert found and len(set(found)) == len(found)
    for tile in found:
        vectors = -(-tile.channels // tile.lanes)
        assert tile.accumulators + vectors + 1 <= target.registers
        assert tile.cols <= width and tile.rows <= rows
        assert tile.rows == 1 or tile.cols == width


def test_tiles_of_two_rows_have_enough_sums() -> None:
    """Where rows are no multiples of the few pixels that registers hold: 14 are 5, 5 and 4 of one row, whose
    sums are too few to hide a multiplication's latency."""
    narrow, wide = load_target("x86-64-v3"), load_target("x86-64-v4")
    found = list(two_row_tiles(INVERTED, 0, narrow))
    assert {ConvTile(2, 2, 24, 8), ConvTile(2, 3, 16, 8, evenly=True)} <= {replace(tile, unroll=1) for tile in found}
    for tile in found:
        assert narrow.enough_sums <= tile.accumulators <= narrow.registers - tile.channels // tile.lanes - 1
        assert tile.rows == 2 and tile not in set(stage_tiles(INVERTED, 0, narrow))
    assert not list(two_row_tiles(INVERTED, 1, narrow)) and not list(two_row_tiles(POOLED, 0, narrow))
    assert not list(two_row_tiles(INVERTED, 0, wide))


def test_long_reductions_are_unrolled() -> None:
    """Of whole iterations, where a tile has several vectors of channels and its inputs lie one behind the other."""
    narrow, wide = load_target("x86-64-v3"), load_target("x86-64-v4")

    def unrolled(depth: int, target: Target = narrow, shuffle: int = 1) -> set[tuple[bool, int]]:
        chain = Chain(14, 14, depth, (Stage("conv", 14, 14, 96, shuffle=shuffle),))
        tiles = (*stage_tiles(chain, 0, target), *two_row_tiles(chain, 0, target))
        return {(tile.channels > tile.lanes, tile.unroll) for tile in tiles}

    never = {(True, 1), (False, 1)}
    assert unrolled(64) == unrolled(960) == {(True, 4), (False, 1)}
    assert unrolled(60) == unrolled(66) == unrolled(96, shuffle=3) == unrolled(96, wide) == never


def test_tiles_of_two_rows_take_the_place_of_slower_ones() -> None:
    """On pictures of 14 pixels, in two phases; of 28, tiles of one row are as good."""
    target = load_target("x86-64-v3")

    def chosen(size: int) -> ConvTile:
        stages = (
            Stage("conv", size, size, 384, activation=RELU6),
            Stage("depthwise", size, size, 384, (3, 3), padding=ONE, activation=RELU6),
            Stage("conv", size, size, 64),
        )
        return choose_tiles(Chain(size, size, 64, stages), target).stages[0]

    assert chosen(14) == ConvTile(2, 2, 24, 8, unroll=4) and chosen(28).rows == 1


@pytest.mark.parametrize("channels, width", [(96, 16), (84, 24)])
def test_tiles_fill_the_cache_lines_of_their_output(channels: int, width: int) -> None:
    """With as many sums, 16 channels are one line and 24 are one and a half; of 84 channels no pixel begins a line."""
    stage = Stage("conv", 56, 56, channels, activation=RELU6)
    tile = choose_tiles(Chain(56, 56, 32, (stage,)), load_target("x86-64-v3")).stages[0]
    assert (tile.accumulators, tile.channels) == (12, width)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_depthwise_tiles_are_vectors_that_cover_the_channels(target: Target) -> None:
    """With narrower ones for the rest only where inputs come from memory: 60 channels are seven vectors of 8 and one of
    4 for AVX2, where vectors of 4 would be half empty."""
    for channels in (16, 24, 5, 60, 960):
        stage = Stage("depthwise", 14, 14, channels, (3, 3), padding=ONE)
        found = list(depthwise_tiles(stage, target))
        assert found
        for tile in found:
            rests = target.inputs == "memory" and channels > tile.lanes
            assert channels % tile.lanes == 0 or rests or tile.lanes == target.narrow[-1]
            assert tile.accumulators + 2 * 3 <= target.registers


@pytest.mark.parametrize("width", range(1, 13))
def test_rows_are_cut_evenly(width: int) -> None:
    """Into as few tiles as without, none of which is wider, and few narrower than two thirds."""
    for pixels in range(1, 130):
        found = cover_evenly(pixels, width)
        covered = [s.start + i * s.width + j for s in found for i in range(s.count) for j in range(s.width)]
        assert covered == list(range(pixels)) and sum(s.count for s in found) == -(-pixels // width)
        assert max(s.width for s in found) <= width
        narrow = min(s.width for s in found)
        assert 3 * narrow >= 2 * width or narrow == pixels // sum(s.count for s in found)


@pytest.mark.parametrize(
    "tile", [ConvTile(1, 4, 24, 8, evenly=True), ConvTile(2, 3, 16, 8, evenly=True), ConvTile(1, 4, 24, 8)]
)
@pytest.mark.parametrize("pixels, channels", [(9, 60), (14, 40), (3, 5)])
def test_tiles_at_the_end_of_the_channels(tile: ConvTile, pixels: int, channels: int) -> None:
    """They cover every element once; of one row and cut evenly, with more pixels in the same registers."""
    covered = []
    for segment in cover_channels(channels, tile.channels, tile.lanes):
        here, wide = tile_of(tile, segment), -(-tile.channels // tile.lanes)
        vectors = -(-segment.width // segment.lanes)
        assert here.accumulators + vectors <= tile.accumulators + wide
        assert (here.cols > tile.cols) == (tile.evenly and tile.rows == 1 and vectors < wide)
        for columns in cut_row(pixels, here):
            assert columns.width <= here.cols
            inside = range(columns.start, columns.start + columns.count * columns.width)
            covered += [(p, segment.start + c) for p in inside for c in range(segment.count * segment.width)]
    assert sorted(covered) == [(p, c) for p in range(pixels) for c in range(channels)]


def test_parts_are_equally_high() -> None:
    assert parts(7) == (7, 4, 3, 2, 1) and parts(1) == (1,)


STEM_AND_PAIR = Chain(
    28,
    30,
    3,
    (
        Stage("conv", 14, 15, 24, (3, 3), (2, 2), ONE, activation=RELU6),
        Stage("depthwise", 7, 8, 24, (3, 3), (2, 2), ONE, activation=RELU6),
        Stage("conv", 7, 8, 12),
    ),
)
"""Padding that its input lacks, and strides: rows are copied, and no stage makes as many as another."""
DENSE = Winograd(10, 13, 24, (Stage("conv", 10, 13, 40, (3, 3), padding=ONE, activation=RELU6),))
PAIR = Strassen(
    8,
    10,
    64,
    (Stage("depthwise", 8, 10, 64, (3, 3), padding=ONE, activation=RELU6), Stage("conv", 8, 10, 80, activation=RELU6)),
    input_pads=ONE,
)
KERNELS = {
    "steps": INVERTED,
    "phases": SMALL,
    "pooled": POOLED,
    "strides": STEM_AND_PAIR,
    "winograd": DENSE,
    "strassen": PAIR,
}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_space_holds_the_defaults(target: Target) -> None:
    for spec in KERNELS.values():
        tiles = family_of(spec).choose_tiles(spec, target)
        decisions = decisions_of(spec, target, tiles)
        assert decisions is not None and tiles_of(spec, target, decisions) == tiles
        others = [other for _, other in neighbours(spec, target, tiles)]
        assert others and tiles not in others and len(set(others)) == len(others)
    assert choose_tiles(SMALL, target).split == "channels"
    tiles = choose_tiles(INVERTED, target)
    assert tiles in cuts(INVERTED, tiles.stages)


def test_narrow_vectors_that_two_phases_need_are_in_the_space() -> None:
    """29 vectors of four channels fill no wider one, and targets with AVX-512 else have none so narrow."""
    target = load_target("x86-64-v4")
    stages = (
        Stage("conv", 14, 14, 116, activation=RELU6),
        Stage("depthwise", 14, 14, 116, (3, 3), padding=ONE),
        Stage("conv", 14, 14, 116, activation=RELU6),
    )
    chain = Chain(14, 14, 116, stages)
    tiles = choose_tiles(chain, target)
    assert tiles.split == "channels" and tiles.stages[1].lanes == 4
    assert decisions_of(chain, target, tiles) is not None


def test_what_tasks_share_out_is_not_decided_by_the_space() -> None:
    """It is for several threads, and kernels are measured on one."""
    target = load_target("x86-64-v3")
    for chain in (INVERTED, SMALL, POOLED):
        (cut,) = [knob for knob in knobs(chain, target) if knob.name == "cut"]
        assert {choice.split for choice in cut.choices} == {choose_tiles(chain, target).split}


def test_tiles_of_another_space_are_not_in_it() -> None:
    chain, wide, narrow = INVERTED, load_target("x86-64-v4"), load_target("armv7")
    assert decisions_of(chain, narrow, choose_tiles(chain, wide)) is None
    assert decisions_of(replace(chain, stages=chain.stages[1:]), wide, choose_tiles(chain, wide)) is None
    assert decisions_of(POOLED, wide, choose_tiles(chain, wide)) is None


def test_choices_that_do_not_fit_together_give_no_tiles() -> None:
    """A register tile of two rows is too high for steps of one row."""
    chain, target = Chain(6, 5, 24, (Stage("conv", 6, 5, 40, (3, 3), padding=ONE),)), load_target("x86-64-v3")
    stage, cut = knobs(chain, target)
    high = next(number for number, tile in enumerate(stage.choices) if tile.rows == 2)
    steps = {choice.strip: number for number, choice in enumerate(cut.choices)}
    assert tiles_of(chain, target, (high, steps[1])) is None
    assert tiles_of(chain, target, (high, steps[2])) is not None


def test_a_single_stage_has_no_bands() -> None:
    """There is nothing that could run ahead of it."""
    chain, target = Chain(16, 16, 24, (Stage("conv", 16, 16, 40),)), load_target("x86-64-v3")
    assert all(cut.band == cut.strip for cut in knobs(chain, target)[1].choices)


def test_a_kernel_without_knobs_has_one_point() -> None:
    spec, target = Plain(((4, 4, 8),), (PlainOp(RELU6, (-1,)),)), load_target("x86-64-v3")
    tiles = family_of(spec).choose_tiles(spec, target)
    assert knobs(spec, target) == () and tiles_of(spec, target, ()) == tiles
    assert decisions_of(spec, target, tiles) == ()


def drawn(name: str, target: Target, rng: random.Random) -> tuple[int, ...]:
    """One of each knob's choices."""
    return tuple(rng.randrange(len(knob.choices)) for knob in knobs(KERNELS[name], target))


@given(name=st.sampled_from(sorted(KERNELS)), target=st.sampled_from(TARGETS), rng=st.randoms(use_true_random=False))
def test_decisions_give_no_tiles_or_come_back_from_them(name: str, target: Target, rng: random.Random) -> None:
    decisions = drawn(name, target, rng)
    tiles = tiles_of(KERNELS[name], target, decisions)
    assert tiles is None or decisions_of(KERNELS[name], target, tiles) == decisions


@pytest.mark.parametrize("name", KERNELS)
def test_all_of_the_space_computes_the_same(name: str, tmp_path: Path) -> None:
    """Some points of it, far from the default and from one another."""
    spec, target, rng = KERNELS[name], load_target("native"), random.Random(1)
    points = (tiles_of(spec, target, drawn(name, target, rng)) for _ in range(1000))
    count = 2 if name == "winograd" else 4
    for number, tiles in enumerate(islice((tiles for tiles in points if tiles is not None), count)):
        folder = tmp_path / str(number)
        folder.mkdir()
        run = ChainRun(spec, tiles, folder)
        expected = run.expected()
        error = np.abs(run.run([(0, sum(phase.items for phase in family_of(spec).phases(spec, tiles)))]) - expected)
        tolerance = {"winograd": 1e-5, "strassen": 3e-6}.get(name, 2e-6)
        assert error.max() <= tolerance * np.abs(expected).max(), tiles


def test_winograd_takes_the_fastest_register_tile_of_its_strip() -> None:
    stage = Stage("conv", 28, 28, 64, (3, 3), padding=ONE, activation=RELU6)
    spec = Winograd(28, 28, 64, (stage,))
    for target in TARGETS:
        family = family_of(spec)
        tiles = family.choose_tiles(spec, target)
        best = family.predict(spec, tiles, target).slots.total
        same_strip = [other for _, other in neighbours(spec, target, tiles) if other.strip == tiles.strip]
        assert best <= min(family.predict(spec, other, target).slots.total for other in same_strip)
