"""What kernels fetch for those behind them and for themselves: every line, none outside, whatever the tiles and the
tasks."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from mncc.kernels.ahead import Ahead, Steps, fetching_steps, next_panel, next_rows
from mncc.kernels.chain import Chain, ChainTiles, Stage, opens, task_steps, weight_layout
from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.family import family_of
from mncc.kernels.half import in_half
from mncc.kernels.target import load_target
from mncc.kernels.tiles import FLOATS_PER_LINE, ConvTile, stored_in_float
from mncc.schedules import prefetch
from tests.schedules.harness import ChainRun
from tests.schedules.test_chain import ONE, inverted, window
from tests.schedules.test_half import in_float16

POOLED = Chain(1, 49, 64, (Stage("conv", 1, 49, 88),), pool=True)
GROUPED = Chain(5, 7, 192, (Stage("conv", 5, 7, 48, groups=3),))
HALF = in_float16(inverted(7, 14, 32, 160, 24))
CASES = {
    "steps of rows": (
        inverted(14, 14, 64, 96, 24),
        ChainTiles(4, 2, "rows", (ConvTile(1, 7, 32, 16), ConvTile(1, 7, 16, 16), ConvTile(1, 6, 16, 8))),
    ),
    "tiles of two rows": (
        inverted(7, 7, 32, 96, 40),
        ChainTiles(7, 7, "rows", (ConvTile(2, 7, 32, 16), ConvTile(1, 7, 16, 16), ConvTile(2, 7, 32, 16))),
    ),
    "wider tiles at the ends": (
        inverted(7, 9, 64, 88, 72),
        ChainTiles(7, 7, "rows", (ConvTile(1, 4, 24, 8, evenly=True), ConvTile(1, 7, 16, 16), ConvTile(1, 4, 24, 8))),
    ),
    "wider last tiles at the ends": (
        inverted(7, 9, 32, 96, 40),
        ChainTiles(7, 7, "rows", (ConvTile(1, 4, 24, 8), ConvTile(1, 7, 16, 16), ConvTile(1, 4, 24, 8, evenly=True))),
    ),
    "unrolled steps": (
        inverted(7, 9, 64, 88, 72),
        ChainTiles(7, 7, "rows", (ConvTile(1, 4, 24, 8, 1, True, 4), ConvTile(1, 7, 16, 16), ConvTile(1, 4, 24, 8))),
    ),
    "two phases": (
        inverted(7, 7, 32, 96, 40),
        ChainTiles(7, 7, "channels", (ConvTile(2, 7, 32, 16), ConvTile(1, 7, 16, 16), ConvTile(2, 7, 32, 16))),
    ),
    "a pool": (POOLED, ChainTiles(1, 1, "channels", (ConvTile(1, 9, 48, 16),))),
    "groups": (GROUPED, ChainTiles(2, 2, "rows", (ConvTile(1, 4, 8, 8),))),
    "parts in float16": (HALF, choose_tiles(HALF, in_half(load_target("arm64-cortex-a76")))),
}


def items(chain: Chain, tiles: ChainTiles) -> int:
    """Work items of all phases."""
    return sum(phase.items for phase in family_of(chain).phases(chain, tiles))


def counted(buffer: Any, indices: Any) -> Any:
    """Instead of a prefetch: one more in the element that would be fetched."""
    return tirx.BufferStore(buffer, buffer[indices] + 1.0, indices)


def counted_inside(buffer: Any, indices: Any) -> Any:
    """The same, as far as it lies in the buffer: past the last row, a prefetch does no harm, but a store would."""
    (row, column), (rows, columns) = indices, buffer.shape
    place = row + T.floordiv(column, columns), T.floormod(column, columns)
    return tirx.IfThenElse(place[0] < rows, counted(buffer, place), None)


def ahead_of(chain: Chain, steps: Steps, rate: int, share: float) -> Ahead:
    """That share of what the steps can fetch, some lines behind the kernel's own weights."""
    lines = int(steps.count * rate * share) // FLOATS_PER_LINE
    return Ahead(weight_layout(chain)[1] + 48, lines * FLOATS_PER_LINE, rate)


@pytest.mark.parametrize("rate, share", [(4, 0.3), (8, 0.77), (16, 1.0)])
@pytest.mark.parametrize("name", CASES)
def test_every_line_is_fetched(
    name: str, rate: int, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, tiles = CASES[name]
    steps = fetching_steps(chain, tiles)
    assert steps is not None
    ahead = ahead_of(chain, steps, rate, share)
    twice = 2 if tiles.stages[steps.stage].evenly else 1  # where a wider tile stands for more than one, and not for two
    monkeypatch.setattr(prefetch, "prefetch", counted)
    run = ChainRun(chain, tiles, tmp_path, ahead=ahead)
    own, count = weight_layout(chain)[1], items(chain, tiles)
    for parts in (1, 2, 3):
        run.packed[own:] = 0
        cuts = sorted({count * i // parts for i in range(parts + 1)})
        run.run(list(itertools.pairwise(cuts)))
        assert not run.packed[own : ahead.start].any()
        lines = run.packed[ahead.start :].reshape(-1, FLOATS_PER_LINE).sum(axis=1)
        assert lines.min() >= 1
        if rate == FLOATS_PER_LINE and share == 1 and parts == 1:
            assert lines.max() <= twice
        turns = steps.depth * rate // FLOATS_PER_LINE
        assert (lines[2 * turns :] <= max(1, FLOATS_PER_LINE // rate) * (twice if parts == 1 else 2 * twice)).all()


PAIR = (Stage("depthwise", 7, 7, 64, kernel=(3, 3), padding=((1, 1), (1, 1))), Stage("conv", 7, 7, 112))
OWN = {
    "a pool": CASES["a pool"],
    "a pair": (
        Chain(7, 7, 64, PAIR, input_pads=((1, 1), (1, 1))),
        ChainTiles(7, 7, "channels", (ConvTile(1, 7, 16, 16), ConvTile(2, 7, 32, 16))),
    ),
    "one band": (Chain(6, 6, 64, (Stage("conv", 6, 6, 96),)), ChainTiles(6, 6, "rows", (ConvTile(1, 6, 32, 16),))),
    "stored as float16": (replace(POOLED, weights_dtype="float16"), CASES["a pool"][1]),
}


@pytest.mark.parametrize(
    "rate, share, own_rate", [(4, 0.9, 16), (16, 0.5, 8), (8, 0.5, 8), (16, 0.0, 8), (16, 0.0, 16)]
)
@pytest.mark.parametrize("name", OWN)
def test_every_line_of_its_own_next_panels_is_fetched(
    name: str, rate: int, share: float, own_rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for those of the first; and, in the other tiles, later kernels' as ever."""
    chain, tiles = OWN[name]
    steps = fetching_steps(chain, tiles)
    assert steps is not None
    own = next_panel(chain, tiles, steps, own_rate)
    assert own is not None
    free = replace(steps, rows=1, tiles=steps.turns(own))
    ahead = replace(ahead_of(chain, free, rate, share), own=own)
    monkeypatch.setattr(prefetch, "prefetch", counted)
    run = ChainRun(chain, tiles, tmp_path, ahead=ahead)
    run.packed[:] = 0
    run.run([(0, items(chain, tiles))])
    place = weight_layout(chain)[0][steps.stage]
    first = place.kernel // stored_in_float(chain.weights_dtype)
    assert own.start == first + own.floats and not run.packed[: own.start].any()
    assert run.packed[own.start : place.bias].reshape(-1, FLOATS_PER_LINE).any(axis=1).all()
    later = run.packed[ahead.start :][: ahead.floats].reshape(-1, FLOATS_PER_LINE)
    assert later.any(axis=1).all() and len(later) * FLOATS_PER_LINE == ahead.floats


TWO_STRIDES = (
    Stage("depthwise", 10, 10, 64, kernel=(3, 3), stride=(2, 2), padding=((0, 1), (0, 1))),
    Stage("conv", 10, 10, 80),
    Stage("depthwise", 5, 5, 80, kernel=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1))),
    Stage("conv", 5, 5, 16),
)
TWO_STRIDES_TILES = ChainTiles(1, 1, "rows", tuple(ConvTile(1, 5, width, 16) for width in (16, 48, 16, 16)))
ROWS = {
    "tiles of two rows": (
        Chain(14, 14, 96, (window("depthwise", (14, 14), 96, kernel=(3, 3), padding=ONE), Stage("conv", 14, 14, 40))),
        ChainTiles(4, 4, "rows", (ConvTile(1, 7, 16, 16), ConvTile(2, 7, 32, 16))),
    ),
    "strides": (Chain(20, 20, 64, TWO_STRIDES, input_pads=((0, 1), (0, 1))), TWO_STRIDES_TILES),
    "an input that is copied": (Chain(20, 20, 64, TWO_STRIDES), TWO_STRIDES_TILES),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_line_of_the_next_rows_is_fetched(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but those that a task's first step reads, which nobody could fetch, and some of the second, where the first
    one only makes the rows above its first."""
    chain, tiles = ROWS[name]
    steps = fetching_steps(chain, tiles)
    assert steps is not None
    ahead = next_rows(chain, tiles, steps)
    assert ahead is not None
    monkeypatch.setattr(prefetch, "prefetch", counted_inside)
    run = ChainRun(chain, tiles, tmp_path, ahead=ahead)
    run.input[:] = 0
    run.run([(0, items(chain, tiles))])
    (top, _), _ = chain.input_pads
    opening, second, *_ = (top + step[0][1] for step in task_steps(chain, tiles, 0, chain.last.height))
    floats = run.source.reshape(run.source.shape[0], -1)
    assert not floats[:opening].any() and 0 < opening < second < top + chain.height
    lines = floats[second if opens(chain, tiles) else opening : top + chain.height].ravel()
    assert lines[: lines.size // FLOATS_PER_LINE * FLOATS_PER_LINE].reshape(-1, FLOATS_PER_LINE).any(axis=1).all()


@pytest.mark.parametrize("name", [*CASES, *OWN, *ROWS])
def test_the_bits_stay_the_same(name: str, tmp_path: Path) -> None:
    chain, tiles = {**CASES, **OWN, **ROWS}[name]
    steps = fetching_steps(chain, tiles)
    assert steps is not None
    (tmp_path / "with").mkdir()
    whole = [(0, items(chain, tiles))]
    plain = ChainRun(chain, tiles, tmp_path).run(whole)
    weights = replace(ahead_of(chain, steps, 16, 0.5), own=next_panel(chain, tiles, steps, 16) if name in OWN else None)
    ahead = next_rows(chain, tiles, steps) if name in ROWS else weights
    fetching = ChainRun(chain, tiles, tmp_path / "with", ahead=ahead)
    assert np.array_equal(fetching.run(whole), plain)
