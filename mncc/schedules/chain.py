"""A planned chain -> TensorIR: strips of rows, windows of intermediate rows in scratch, and one microkernel a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from mncc.kernels.chain import Chain, ChainTiles, Stage, fuses_band, scratch_layout, segments, weight_layout
from mncc.kernels.tiles import Scratch, Segment, panel_offset
from mncc.schedules.convolution import Part, TileWriter, Window

Expr = Any


@dataclass(frozen=True)
class Rows:
    """Rows first to last (exclusive) of one stage's output; expressions of a strip's or band's bounds."""

    first: Expr
    last: Expr

    @property
    def count(self) -> Expr:
        """Number of rows."""
        return self.last - self.first

    def behind(self, stage: Stage, height: int) -> Rows:
        """The input rows, without padding, that these output rows of `stage` need."""
        if stage.pointwise:
            return self
        top, step = stage.padding[0][0], stage.stride[0]
        first = T.min(height, T.max(0, self.first * step - top))
        return Rows(first, T.max(first, T.min(height, (self.last - 1) * step - top + stage.reach)))


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
    """Declares the parameters and writes strips, bands, windows and borders; tiles are the TileWriter's."""

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
        """The loop over strips; where tasks share out channels, all rows are one strip."""
        chain, tiles = self.chain, self.tiles
        if tiles.split == "channels":
            with T.sblock("strip"):
                self.stage(0, Rows(0, chain.last.height), self.input, None)
            return
        with T.serial(0, T.ceildiv(self.end - self.begin, tiles.strip)) as i, T.sblock("strip"):
            self.strip(self.slice(Rows(self.begin, self.end), i, tiles.strip))

    def slice(self, rows: Rows, index: Expr, size: int) -> Rows:
        """Part `index` of `rows`, `size` rows long but for the last one, as axes of the enclosing block."""
        height, low = self.chain.last.height, rows.first + index * size
        first = T.axis.opaque(height, low)
        return Rows(first, T.axis.opaque(height + 1, T.min(low + size, rows.last)))

    def strip(self, rows: Rows) -> None:
        """Every stage over the rows that a strip of the output needs, the first stage first."""
        stages = self.chain.stages
        needed = [rows]
        for index in range(len(stages) - 1, 0, -1):
            needed.insert(0, needed[0].behind(stages[index], self.chain.in_shape(index)[0]))
        source = self.copy_input(needed[0]) if self.chain.copies_input else self.input
        for index in range(len(stages)):
            if fuses_band(self.chain, index):
                self.bands(index, needed[index], source)
                break
            consumer = needed[index + 1] if index + 1 < len(stages) else None
            source = self.stage(index, needed[index], source, consumer)
        zero_output_border(self.blocks, self.chain, self.output, rows)

    def bands(self, index: int, rows: Rows, source: Window) -> None:
        """A stage and the pointwise one behind it, band by band, so that the rows between stay in the L1 cache."""
        if self.tiles.band >= self.tiles.strip:
            self.stage(index + 1, rows, self.stage(index, rows, source, rows), None)
            return
        with T.serial(0, T.ceildiv(rows.count, self.tiles.band)) as i, T.sblock("band"):
            band = self.slice(rows, i, self.tiles.band)
            self.stage(index + 1, band, self.stage(index, band, source, band), None)

    def stage(self, index: int, rows: Rows, source: Window, consumer: Rows | None) -> Window:
        """One stage over `rows`: writes the window of the stage behind it, or the output where there is none."""
        if consumer is None:
            target = self.output
        else:
            target = self.window(index + 1, consumer)
            self.zero_borders(index + 1, consumer, rows, target)
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

    def window(self, index: int, rows: Rows) -> Window:
        """The scratch that stage `index` reads while it makes `rows`."""
        stage, (buffer, pitch) = self.chain.stages[index], self.scratch[index]
        top, left = stage.padding[0][0], stage.padding[1][0]
        return Window(buffer, top - rows.first * stage.stride[0], left, pitch)

    def copy_input(self, rows: Rows) -> Window:
        """The input rows behind `rows` of the first stage, in scratch with zeros around them."""
        chain = self.chain
        window = self.window(0, rows)
        real = rows.behind(chain.stages[0], chain.height)
        self.zero_borders(0, rows, real, window)
        with T.serial(0, real.count) as i, T.sblock("copy_row"):
            row = T.axis.opaque(chain.height, real.first + i)
            self.blocks.copy(self.input, window, row, chain.width, chain.channels)
        return window

    def zero_borders(self, index: int, rows: Rows, real: Rows, window: Window) -> None:
        """Zeros where stage `index` reads padding while it makes `rows`; `real` are the rows that are not padding."""
        stage = self.chain.stages[index]
        if stage.pointwise:
            return
        left, right = stage.padding[1]
        width, pitch = self.chain.in_shape(index)[1], window.pitch
        line = (width + left + right) * pitch
        end = stage.rows_needed(rows.count)
        # Where all rows are padding, the real ones lie outside of the window, above or below it.
        above, below = (T.min(T.max(row + window.row_shift, 0), end) for row in (real.first, real.last))
        if stage.padding[0] != (0, 0):
            self.blocks.zero(window.buffer, Rows(0, above), 0, line)
            self.blocks.zero(window.buffer, Rows(below, end), 0, line)
        self.blocks.zero(window.buffer, Rows(above, below), 0, left * pitch)
        self.blocks.zero(window.buffer, Rows(above, below), (left + width) * pitch, right * pitch)


def zero_output_border(blocks: TileWriter, chain: Chain, output: Window, rows: Rows) -> None:
    """The zeros around the output tensor, as far as they lie beside these rows."""
    (top, bottom), (left, right) = chain.output_pads
    last, buffer, channels = chain.last, output.buffer, output.pitch
    line = (last.width + left + right) * channels
    beside = Rows(rows.first + top, rows.last + top)
    blocks.zero(buffer, beside, 0, left * channels)
    blocks.zero(buffer, beside, (left + last.width) * channels, right * channels)
    if top:
        blocks.zero(buffer, Rows(0, T.if_then_else(rows.first == 0, top, 0)), 0, line)
    if bottom:
        end = top + last.height
        blocks.zero(buffer, Rows(end, T.if_then_else(rows.last == last.height, end + bottom, end)), 0, line)


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
