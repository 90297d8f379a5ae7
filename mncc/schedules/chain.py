"""A planned chain -> TensorIR: steps of rows, rings of intermediate rows in scratch, and one microkernel a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from mncc.kernels.chain import (
    Chain,
    ChainTiles,
    fresh_rows,
    fuses_band,
    in_steps,
    opens,
    scratch_layout,
    segments,
    weight_layout,
)
from mncc.kernels.tiles import Scratch, Segment, panel_offset
from mncc.schedules.convolution import Part, TileWriter, Window

Expr = Any


@dataclass(frozen=True)
class Rows:
    """Rows first to last (exclusive) of one stage's output; expressions of a step's or band's bounds."""

    first: Expr
    last: Expr

    @property
    def count(self) -> Expr:
        """Number of rows."""
        return self.last - self.first


def chain_function(chain: Chain, tiles: ChainTiles, symbol: str) -> tirx.PrimFunc:
    """The scheduled function; parameters (begin, end, weights, scratch arrays..., input, [residual], output).

    begin and end are items as in `mncc.kernels.chain.items`.
    """
    return written_function(lambda: _ChainWriter(chain, tiles), scratch_layout(chain, tiles), symbol)


class Writer(Protocol):
    """Declares a function's parameters where it is made, writes its body, and knows how to schedule it."""

    def write(self) -> None:
        """Writes the body."""

    def schedule(self, sch: Schedule) -> None:
        """Schedules everything that was written."""


def written_function(make: Callable[[], Writer], scratch: Sequence[Scratch], symbol: str) -> tirx.PrimFunc:
    """The scheduled function of a writer, whose weights are one buffer `weights`."""
    with IRBuilder() as builder:
        with T.prim_func(s_tir=True):
            T.func_name("main")
            writer = make()
            writer.write()
        function = builder.get()
    sch = Schedule(function)
    writer.schedule(sch)
    function = sch.mod["main"].with_attr("global_symbol", symbol)
    offsets = {array.name: array.offset * 4 for array in scratch}
    return function.with_attrs({"mncc.weights": {"weights": 0}, "mncc.scratch": offsets})


class _ChainWriter:
    """Declares the parameters and writes steps, bands, windows and borders; tiles are the TileWriter's."""

    def __init__(self, chain: Chain, tiles: ChainTiles) -> None:
        self.chain, self.tiles = chain, tiles
        self.begin, self.end = T.arg("begin", T.int32()), T.arg("end", T.int32())
        self.places, floats = weight_layout(chain)
        self.weights = T.arg("weights", T.buffer((floats,), "float32"))
        self.scratch = {
            s.stage: (T.arg(s.name, T.buffer((s.rows, s.cols * s.pitch), "float32")), s.pitch)
            for s in scratch_layout(chain, tiles)
        }
        self.input, self.residual, self.output = chain_tensors(chain)
        self.blocks = TileWriter(self.weights, self.residual, chain.residual_first)

    def schedule(self, sch: Schedule) -> None:
        """Schedules everything that was written."""
        self.blocks.schedule(sch)

    def write(self) -> None:
        """The loop over steps; where tasks share out channels, all rows are one step."""
        chain, tiles = self.chain, self.tiles
        for stage in self.scratch:
            self.zero_sides(stage)
        if tiles.split == "channels":
            with T.sblock("step"):
                self.stage(0, Rows(0, chain.last.height), self.input, None)
            return
        opening = int(opens(chain, tiles))
        with T.serial(0, T.ceildiv(self.end - self.begin, tiles.strip) + opening) as i, T.sblock("step"):
            first = self.begin + T.max(i - opening, 0) * tiles.strip
            last = T.min(self.begin + (i + 1 - opening) * tiles.strip, self.end)
            rows = Rows(T.axis.opaque(chain.last.height, first), T.axis.opaque(chain.last.height + 1, last))
            whole = int(not in_steps(chain, tiles))
            self.step(rows, T.axis.opaque(2, T.Cast("int32", i == 0)) if opening else whole)

    def step(self, rows: Rows, opening: Expr) -> None:
        """What every stage adds so that these rows of the output can be made, the first stage first."""
        chain = self.chain
        made = [Rows(*pair) for pair in fresh_rows(chain, rows.first, rows.last, opening, T.min, T.max)]
        source = self.copy_input(made[0], made[1]) if chain.copies_input else self.input
        for index in range(len(chain.stages)):
            if fuses_band(chain, index):
                self.bands(index, rows, source)
                break
            consumer = made[index + 2] if index + 1 < len(chain.stages) else None
            source = self.stage(index, made[index + 1], source, consumer)
        zero_output_border(self.blocks, chain, self.output, rows)

    def bands(self, index: int, rows: Rows, source: Window) -> None:
        """A stage and the pointwise one behind it, band by band, so that the rows between stay in the L1 cache."""
        if self.tiles.band >= self.tiles.strip:
            self.stage(index + 1, rows, self.stage(index, rows, source, rows), None)
            return
        height = self.chain.last.height
        with T.serial(0, T.ceildiv(rows.count, self.tiles.band)) as i, T.sblock("band"):
            first = rows.first + i * self.tiles.band
            last = T.min(first + self.tiles.band, rows.last)
            band = Rows(T.axis.opaque(height, first), T.axis.opaque(height + 1, last))
            self.stage(index + 1, band, self.stage(index, band, source, band), None)

    def stage(self, index: int, rows: Rows, source: Window, consumer: Rows | None) -> Window:
        """One stage over `rows`: writes the window of the stage behind it, or the output where there is none."""
        if consumer is None:
            target = self.output
        else:
            target = self.window(index + 1, consumer)
            self.zero_ends(index + 1, consumer, target)
        place = self.places[index]
        depth = self.chain.stages[index].depth(self.chain.in_channels(index))
        for segment in segments(self.chain, self.tiles, index):
            part = Part(
                stage=self.chain.stages[index],
                in_channels=self.chain.in_channels(index),
                tile=self.tiles.stages[index],
                segment=segment,
                kernel=place.kernel + panel_offset(segment, depth),
                bias=place.bias,
                source=source,
                target=target,
                final=consumer is None,
                shuffle=self.chain.order(index),
            )
            self.nest(part, rows)
        return target

    def nest(self, part: Part, rows: Rows) -> None:
        """The loops over groups, panels and rows of one part. A product's panels stand outside, so that one panel of
        weights stays in the L1 cache over all rows; a depthwise stage's are inside its tiles."""
        panels, high = self.panels(part.segment), part.tile.rows
        if part.panels_inside:
            panels = Rows(0, 1)
        with T.grid(part.stage.groups, panels.count) as (group, p):
            panel = panels.first + p
            if self.chain.pool:
                self.blocks.pool(part, (group, panel))
                return
            with T.serial(0, T.floordiv(rows.count, high)) as i:
                self.blocks.row(part, (group, panel), rows.first + i * high, high)
            if high > 1:
                with T.serial(0, T.floormod(rows.count, high)) as i:
                    self.blocks.row(part, (group, panel), rows.last - 1 - i, 1)

    def panels(self, segment: Segment) -> Rows:
        """Which panels of a segment are this call's: all, or those among its items."""
        if self.tiles.split == "rows":
            return Rows(0, segment.count)
        before = sum(s.count for s in segments(self.chain, self.tiles, 0) if s.start < segment.start)
        low = T.max(self.begin - before, 0)
        return Rows(low, T.max(low, T.min(self.end - before, segment.count)))

    def window(self, index: int, rows: Rows | None = None) -> Window:
        """The scratch that stage `index` reads, while it makes `rows` where it is a band."""
        (top, bottom), (left, _) = self.chain.stages[index].padding
        buffer, pitch = self.scratch[index]
        if index > 0 and fuses_band(self.chain, index - 1):
            assert rows is not None
            return Window(buffer, -rows.first, left, pitch)
        wraps = int(buffer.shape[0]) < self.chain.in_shape(index)[0] + top + bottom
        return Window(buffer, top, left, pitch, int(buffer.shape[0]) if wraps else None)

    def copy_input(self, rows: Rows, consumer: Rows) -> Window:
        """These rows of the input, in scratch with zeros around them."""
        chain, window = self.chain, self.window(0)
        self.zero_ends(0, consumer, window)
        with T.serial(0, rows.count) as i, T.sblock("copy_row"):
            row = T.axis.opaque(chain.height, rows.first + i)
            self.blocks.copy(self.input, window, row, chain.width, chain.channels)
        return window

    def zero_ends(self, index: int, rows: Rows, window: Window) -> None:
        """Zeros in the rows above and below the picture that stage `index` reads while it makes `rows`."""
        stage, height = self.chain.stages[index], self.chain.in_shape(index)[0]
        (top, bottom), line = stage.padding[0], int(window.buffer.shape[1])
        first = rows.first * stage.stride[0]
        end = first + stage.rows_needed(rows.count)
        if top:
            self.blocks.zero(window, Rows(first, T.min(end, top)), 0, line)
        if bottom:
            self.blocks.zero(window, Rows(T.max(first, top + height), end), 0, line)

    def zero_sides(self, index: int) -> None:
        """Zeros left and right of the picture in all rows that stage `index` reads; nothing writes there again."""
        (left, right), window = self.chain.stages[index].padding[1], self.window(index, Rows(0, 0))
        rows, width = Rows(0, int(window.buffer.shape[0])), self.chain.in_shape(index)[1]
        plain = Window(window.buffer, 0, 0, window.pitch)
        self.blocks.zero(plain, rows, 0, left * window.pitch)
        self.blocks.zero(plain, rows, (left + width) * window.pitch, right * window.pitch)


def zero_output_border(blocks: TileWriter, chain: Chain, output: Window, rows: Rows) -> None:
    """The zeros around the output tensor, as far as they lie beside these rows."""
    (top, bottom), (left, right) = chain.output_pads
    last, channels = chain.last, output.pitch
    line = (last.width + left + right) * channels
    beside = Rows(rows.first + top, rows.last + top)
    blocks.zero(output, beside, 0, left * channels)
    blocks.zero(output, beside, (left + last.width) * channels, right * channels)
    if top:
        blocks.zero(output, Rows(0, T.if_then_else(rows.first == 0, top, 0)), 0, line)
    if bottom:
        end = top + last.height
        blocks.zero(output, Rows(end, T.if_then_else(rows.last == last.height, end + bottom, end)), 0, line)


def chain_tensors(chain: Chain) -> tuple[Window, Window | None, Window]:
    """The parameters for the input, the residual and the output, in this order."""
    shape = (chain.last.height, chain.last.width, chain.last.channels)
    source = _tensor("source", (chain.height, chain.width, chain.channels), chain.input_pads, chain.input_spare)
    residual = _tensor("addend", shape, chain.residual_pads, chain.residual_spare) if chain.residual else None
    result = (1, 1, shape[2]) if chain.pool else shape
    return source, residual, _tensor("result", result, chain.output_pads, chain.output_spare)


def _tensor(name: str, shape: tuple[int, int, int], pads: Any, spare: int) -> Window:
    """A parameter of (rows, columns * pitch) floats with its zero borders."""
    (top, bottom), (left, right) = pads
    height, width, channels = shape
    pitch = channels + spare
    buffer = T.arg(name, T.buffer((height + top + bottom, (width + left + right) * pitch), "float32"))
    return Window(buffer, top, left, pitch)
