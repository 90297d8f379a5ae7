"""The space of tiles: what is in it fits into the machine, holds the defaults, and computes right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mncc.kernels.chain import Chain, Stage, phases
from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.chain_space import cuts, depthwise_tiles, neighbours, parts, product_tiles, stage_tiles
from mncc.kernels.family import family_of
from mncc.kernels.target import Target, load_target, target_names
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


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_depthwise_tiles_are_vectors_that_divide_the_channels(target: Target) -> None:
    for channels in (16, 24, 5, 960):
        stage = Stage("depthwise", 14, 14, channels, (3, 3), padding=ONE)
        found = list(depthwise_tiles(stage, target))
        assert found
        for tile in found:
            assert channels % tile.lanes == 0 or tile.lanes == target.narrow[-1]
            assert tile.accumulators + 2 * 3 <= target.registers


def test_parts_are_equally_high() -> None:
    assert parts(7) == (7, 4, 3, 2, 1) and parts(1) == (1,)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_space_holds_the_defaults(target: Target) -> None:
    for chain in (INVERTED, SMALL, POOLED):
        tiles = choose_tiles(chain, target)
        for index, tile in enumerate(tiles.stages):
            assert tile in stage_tiles(chain, index, target)
        others = list(neighbours(chain, tiles, target))
        assert tiles not in others and len(set(others)) == len(others)
    assert choose_tiles(SMALL, target).split == "channels"
    tiles = choose_tiles(INVERTED, target)
    assert tiles in cuts(INVERTED, tiles.stages)


def sample(chain: Chain, count: int) -> list[object]:
    """Some neighbours of the default, of every kind."""
    target = load_target("native")
    found = list(neighbours(chain, choose_tiles(chain, target), target))
    return [found[i * len(found) // count] for i in range(count)]


@pytest.mark.parametrize(
    ("chain", "count"), [(INVERTED, 8), (SMALL, 5), (POOLED, 3)], ids=["steps", "phases", "pooled"]
)
def test_neighbours_compute_the_same(chain: Chain, count: int, tmp_path: Path) -> None:
    for number, tiles in enumerate(sample(chain, count)):
        folder = tmp_path / str(number)
        folder.mkdir()
        run = ChainRun(chain, tiles, folder)
        expected = run.expected()
        assert (
            np.abs(run.run([(0, sum(p.items for p in phases(chain, tiles)))]) - expected).max()
            <= 2e-6 * np.abs(expected).max()
        ), tiles


def test_winograd_convolutions_have_neighbours_too() -> None:
    stage = Stage("conv", 28, 28, 64, (3, 3), padding=ONE, activation=RELU6)
    spec = Winograd(28, 28, 64, (stage,))
    for target in TARGETS:
        family = family_of(spec)
        tiles = family.choose_tiles(spec, target)
        others = list(family.neighbours(spec, tiles, target))
        assert others and tiles not in others and len(set(others)) == len(others)
        best = family.predict(spec, tiles, target).slots.total
        same_strip = [other for other in others if other.strip == tiles.strip]
        assert best <= min(family.predict(spec, other, target).slots.total for other in same_strip)
