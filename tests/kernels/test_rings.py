"""Rings of rows, step by step and without code: what a stage reads is there, whatever the strides and windows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mncc.kernels.chain import Chain, ChainTiles, Stage, fresh_rows, in_steps, opens, scratch_layout, step_rows
from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.target import load_target
from mncc.kernels.tiles import ConvTile
from mncc.network.window import output_size


@st.composite
def columns(draw: st.DrawFn) -> Chain:
    """Chains of pictures one pixel wide: unequal windows, strides past them, more padding than taps."""
    rows = height = draw(st.integers(1, 30))
    stages: list[Stage] = []
    for _ in range(draw(st.integers(1, 5))):
        kernel, stride, dilation = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 4))
        pads = draw(st.integers(0, 7)), draw(st.integers(0, 7))
        if rows + sum(pads) < (kernel - 1) * dilation + 1:
            kernel = 1
        kind = draw(st.sampled_from(["conv", "depthwise"]))
        rows = output_size(rows, kernel, stride, dilation, pads)
        stages.append(Stage(kind, rows, 1, 4, (kernel, 1), (stride, 1), padding=(pads, (0, 0)), dilation=(dilation, 1)))
    return Chain(height, 1, 4, tuple(stages))


class Rings:
    """The rings of one task: which row of the padded tensor each line holds."""

    def __init__(self, chain: Chain, tiles: ChainTiles) -> None:
        self.chain, self.lines = chain, {array.stage: array.rows for array in scratch_layout(chain, tiles)}
        self.held: dict[tuple[int, int], int] = {}

    def put(self, stage: int, row: int) -> None:
        """A padded row of what `stage` reads is written."""
        self.held[stage, row % self.lines[stage]] = row

    def pad(self, stage: int, rows: tuple[int, int]) -> None:
        """The zero rows are written that the window of these output rows has."""
        shape, top = self.chain.stages[stage], self.chain.stages[stage].padding[0][0]
        first = rows[0] * shape.stride[0]
        for row in range(first, first + shape.rows_needed(rows[1] - rows[0])):
            if not top <= row < top + self.chain.in_shape(stage)[0]:
                self.put(stage, row)

    def read(self, stage: int, rows: tuple[int, int]) -> None:
        """Every tap of these output rows is looked for."""
        shape = self.chain.stages[stage]
        for output in range(*rows):
            for tap in range(shape.kernel[0]):
                row = output * shape.stride[0] + tap * shape.dilation[0]
                assert self.held.get((stage, row % self.lines[stage])) == row, (stage, output, tap)


@settings(max_examples=300, deadline=None)
@given(columns(), st.data())
def test_every_row_is_there_when_it_is_read(chain: Chain, data: st.DataObject) -> None:
    height, count = chain.last.height, len(chain.stages)
    strip = data.draw(st.integers(1, height))
    begin = data.draw(st.integers(0, height - 1))
    end = data.draw(st.integers(begin + 1, height))
    tiles = ChainTiles(strip, strip, "rows", (ConvTile(1, 1, 4, 4),) * count)
    rings, opening = Rings(chain, tiles), int(opens(chain, tiles))
    for step in range(-(-(end - begin) // strip) + opening):
        first, last = begin + max(step - opening, 0) * strip, min(begin + (step + 1 - opening) * strip, end)
        fresh = fresh_rows(chain, first, last, int(step == 0) if opening else int(not in_steps(chain, tiles)))
        for stage in range(count):
            rows, most = fresh[stage + 1], step_rows(chain, tiles)[stage]
            assert rows[1] - rows[0] <= most
            if stage not in rings.lines:
                continue  # the caller's tensor
            rings.pad(stage, rows)
            for row in range(*fresh[stage]):
                rings.put(stage, row + chain.stages[stage].padding[0][0])
            rings.read(stage, rows)


@settings(max_examples=100, deadline=None)
@given(columns())
def test_every_chain_has_tiles(chain: Chain) -> None:
    for target in ("x86-64-v3", "x86-64-v4"):
        tiles = choose_tiles(chain, load_target(target))
        assert 1 <= tiles.band <= tiles.strip <= chain.last.height
