"""A planned chain -> TensorIR: steps of rows, rings of intermediate rows in scratch, and one microkernel a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import tirx as T

from mncc.kernels.ahead import Ahead, NextRows, fetching_steps
from mncc.kernels.chain import (
    NO_PADS,
    Chain,
    ChainTiles,
    chunks,
    fresh_rows,
    fuses_band,
    in_phases,
    in_steps,
    opens,
    phases,
    scratch_layout,
    segments,
    shared_array,
    weight_layout,
)
from mncc.kernels.tiles import PANEL, Scratch, Segment, panel_offset, stored_in_float
from mncc.schedules.convolution import Panel, Part, RowsAhead, TileWriter, Window
from mncc.schedules.function import Writes, scheduled_function
from mncc.schedules.prefetch import with_prefetches

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


def chain_function(
    chain: Chain, tiles: ChainTiles, symbol: str, ahead: Ahead | NextRows | None = None
) -> tirx.PrimFunc:
    """The scheduled function; parameters (begin, end, weights, [biases], scratch arrays..., input, [residual],
    [shared], output). `biases` is the memory of `weights` as float32, where these are stored in another type.

    begin and end are items, counted through the phases of `mncc.kernels.chain.phases`.
    """
    return written_function(lambda: _ChainWriter(chain, tiles, ahead), scratch_layout(chain, tiles), symbol)


class Writer(Writes, Protocol):
    """A writer whose tiles a TileWriter writes."""

    blocks: TileWriter


def written_function(make: Callable[[], Writer], scratch: Sequence[Scratch], symbol: str) -> tirx.PrimFunc:
    """The scheduled function of a writer, whose weights are the buffers of its blocks."""
    function, writer = scheduled_function(make, symbol)
    function = with_prefetches(function, writer.blocks.fetches)
    weights = {buffer.name: 0 for buffer in (writer.blocks.weights, writer.blocks.biases)}
    offsets = {array.name: array.offset * array.each for array in scratch}
    return function.with_attrs({"mncc.weights": weights, "mncc.scratch": offsets})


class _ChainWriter:
    """Declares the parameters and writes steps, bands, windows and borders; tiles are the TileWriter's."""

    def __init__(self, chain: Chain, tiles: ChainTiles, ahead: Ahead | NextRows | None) -> None:
        self.chain, self.tiles = chain, tiles
        self.steps, self.next_rows = fetching_steps(chain, tiles), ahead if isinstance(ahead, NextRows) else None
        self.ahead: Ahead | RowsAhead | None = ahead if isinstance(ahead, Ahead) else None
        self.begin, self.end = T.arg("begin", T.int32()), T.arg("end", T.int32())
        self.places, floats = weight_layout(chain)
        each = stored_in_float(chain.weights_dtype)
        weights = T.arg("weights", T.buffer((floats * each,), chain.weights_dtype))
        biases = weights if each == 1 else T.arg("biases", T.buffer((floats,), "float32"))
        self.scratch = {
            s.stage: (T.arg(s.name, T.buffer((s.rows, s.cols * s.pitch), s.dtype)), s.pitch, s.block)
            for s in scratch_layout(chain, tiles)
        }
        self.panel = self.scratch.pop(PANEL, (None,))[0]
        self.phases, between = phases(chain, tiles), shared_array(chain, tiles)
        self.input, self.residual, self.shared, self.output = chain_tensors(chain, between)
        self.blocks = TileWriter(weights, biases, self.residual, chain.residual_first, chain.dtype, self.begin)

    def schedule(self, sch: Schedule) -> None:
        """Schedules everything that was written."""
        self.blocks.schedule(sch)

    def write(self) -> None:
        """The loop over steps; where tasks share out channels, all rows are one step."""
        chain, tiles = self.chain, self.tiles
        if in_phases(chain, tiles):
            with T.sblock("first"):
                self.first_phase()
            with T.sblock("second"):
                self.second_phase()
            return
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
        if self.next_rows is not None and self.steps is not None:
            line = self.input.line(made[0].last + self.input.row_shift)
            self.ahead = RowsAhead(self.next_rows, self.input, line, made[self.steps.stage + 1].first)
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
        for segment in segments(self.chain, self.tiles, index):
            self.nest(self.part(index, segment, source, target), rows)
        return target

    def part(self, index: int, segment: Segment, source: Window, target: Window, repeats: int = 1) -> Part:
        """One segment of a stage."""
        place, in_channels = self.places[index], self.chain.in_channels(index)
        fetching = None
        if self.ahead is not None and self.steps is not None and self.steps.stage == index:
            fetching = self.ahead, self.steps
        before = sum(s.count for s in segments(self.chain, self.tiles, index) if s.start < segment.start)
        return Part(
            stage=self.chain.stages[index],
            in_channels=in_channels,
            tile=self.tiles.stages[index],
            segment=segment,
            kernel=place.kernel + panel_offset(segment, self.chain.depth(index)),
            bias=place.bias,
            source=source,
            target=target,
            final=index == len(self.chain.stages) - 1,
            shuffle=self.chain.order(index),
            repeats=repeats,
            ahead=fetching,
            first_panel=before,
            widened=self.panel if self.chain.widens(index, self.tiles.stages[index].steps) else None,
        )

    def first_phase(self) -> None:
        """All stages but the last, a tile of the first one's channels after the other: what lies between them stays in
        the L1 cache. The task with the first item writes the zeros around the output."""
        chain = self.chain
        zero_output_border(self.blocks, chain, self.output, rows_of_first(self.begin, chain))
        if len(chain.stages) == 3:
            self.zero_chunk()
        for segment in (cut := chunks(chain, self.tiles)):
            panels = self.panels(segment, cut)
            with T.serial(0, panels.count) as p, T.sblock("chunk"):
                self.chunk(segment, T.axis.opaque(segment.count, panels.first + p))

    def zero_chunk(self) -> None:
        """Zeros around the picture in the scratch of the first phase, where this call has items of it."""
        (top, bottom), (left, right) = self.chain.stages[1].padding
        height, width, _ = self.chain.in_shape(1)
        buffer, pitch, block = self.scratch[1]
        window, line = Window(buffer, 0, 0, pitch, block=block), int(buffer.shape[1])
        some = T.if_then_else(self.begin < self.phases[0].items, 1, 0)
        self.blocks.zero(window, Rows(0, some * top), 0, line)
        self.blocks.zero(window, Rows(top + height, top + height + some * bottom), 0, line)
        self.blocks.zero_columns(window, Rows(top, top + some * height), 0, left)
        self.blocks.zero_columns(window, Rows(top, top + some * height), left + width, right)

    def chunk(self, segment: Segment, panel: Expr) -> None:
        """One tile of channels through the first phase."""
        chain, source, middle = self.chain, self.input, len(self.chain.stages) - 2
        assert self.shared is not None
        if middle:
            (top, _), (left, _) = chain.stages[1].padding
            buffer, pitch, block = self.scratch[1]
            source = Window(buffer, top, left, pitch, None, segment.start + panel * segment.width, block)
            self.rows(self.part(0, segment, self.input, source), (0, panel), Rows(0, chain.stages[0].height))
        lanes = self.tiles.stages[middle].lanes
        own = Segment(segment.start, segment.width // lanes, lanes, lanes)
        part = self.part(middle, own, source, self.shared, segment.count)
        self.rows(part, (0, panel * own.count), Rows(0, chain.stages[middle].height))

    def second_phase(self) -> None:
        """The last stage; an item is a row of a tile of channels."""
        chain, last = self.chain, len(self.chain.stages) - 1
        assert self.shared is not None
        height, before = chain.last.height, self.phases[0].items
        for segment in segments(chain, self.tiles, last):
            low, high = T.max(self.begin - before, 0), T.min(self.end - before, segment.count * height)
            first = T.floordiv(low, height)
            part = self.part(last, segment, self.shared, self.output)
            with T.serial(0, T.max(T.floordiv(high + height - 1, height) - first, 0)) as p, T.sblock("panel"):
                panel = T.axis.opaque(segment.count, first + p)
                start = T.axis.opaque(height, T.max(low - (first + p) * height, 0))
                stop = T.axis.opaque(height + 1, T.min(high - (first + p) * height, height))
                self.rows(part, (0, panel), Rows(start, stop))
            before += segment.count * height

    def nest(self, part: Part, rows: Rows) -> None:
        """The loops over groups, panels and rows of one part. A product's panels stand outside, so that one panel of
        weights stays in the L1 cache over all rows; a depthwise stage's are inside its tiles."""
        panels = self.panels(part.segment, segments(self.chain, self.tiles, 0))
        if part.panels_inside:
            panels = Rows(0, 1)
        with T.grid(part.stage.groups, panels.count) as (group, p):
            panel = panels.first + p
            if self.chain.pool:
                if part.widened is not None:
                    self.blocks.widen(part, (group, panel))
                self.blocks.pool(part, (group, panel))
                return
            self.rows(part, (group, panel), rows)

    def rows(self, part: Part, panel: Panel, rows: Rows) -> None:
        """The loop over rows of one panel, whose weights are converted first where they have to be."""
        if part.widened is not None:
            self.blocks.widen(part, panel)
        write_rows(self.blocks, part, panel, rows)

    def panels(self, segment: Segment, cut: tuple[Segment, ...]) -> Rows:
        """Which panels of a segment are this call's: all, or those among its items, the panels of `cut`."""
        if self.tiles.split == "rows":
            return Rows(0, segment.count)
        before = sum(s.count for s in cut if s.start < segment.start)
        low = T.max(self.begin - before, 0)
        return Rows(low, T.max(low, T.min(self.end - before, segment.count)))

    def window(self, index: int, rows: Rows | None = None) -> Window:
        """The scratch that stage `index` reads, while it makes `rows` where it is a band."""
        (top, bottom), (left, _) = self.chain.stages[index].padding
        buffer, pitch, block = self.scratch[index]
        if index > 0 and fuses_band(self.chain, index - 1):
            assert rows is not None
            return Window(buffer, -rows.first, left, pitch, block=block)
        wraps = int(buffer.shape[0]) < self.chain.in_shape(index)[0] + top + bottom
        return Window(buffer, top, left, pitch, int(buffer.shape[0]) if wraps else None, block=block)

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
        plain = Window(window.buffer, 0, 0, window.pitch, block=window.block)
        self.blocks.zero_columns(plain, rows, 0, left)
        self.blocks.zero_columns(plain, rows, left + width, right)


def write_rows(blocks: TileWriter, part: Part, panel: Panel, rows: Rows) -> None:
    """The loop over rows of one panel, as many at once as the tile is high."""
    high = part.tile.rows
    with T.serial(0, T.floordiv(rows.count, high)) as i:
        blocks.row(part, panel, rows.first + i * high, high)
    if high > 1:
        with T.serial(0, T.floormod(rows.count, high)) as i:
            blocks.row(part, panel, rows.last - 1 - i, 1)


def rows_of_first(begin: Expr, chain: Chain) -> Rows:
    """All rows of the output for the task with the first item, which writes the whole border where tasks share out
    channels; for the others none that is beside it."""
    return Rows(T.if_then_else(begin == 0, 0, -1), T.if_then_else(begin == 0, chain.last.height, -1))


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


def chain_tensors(chain: Chain, between: Scratch | None = None) -> tuple[Window, Window | None, Window | None, Window]:
    """The parameters for the input, the residual, what lies between phases, and the output, in this order."""
    shape = (chain.last.height, chain.last.width, chain.last.channels)
    size = (chain.height, chain.width, chain.channels)
    source = _tensor("source", size, chain.input_pads, chain.input_spare, chain.input_dtype)
    residual = shared = None
    if chain.residual:
        residual = _tensor("addend", shape, chain.residual_pads, chain.residual_spare, chain.residual_dtype)
    if between is not None:
        size = (between.rows, between.cols, between.channels)
        window = _tensor("shared", size, NO_PADS, between.pitch - between.channels, between.dtype)
        shared = replace(window, block=between.block)
    shape = (1, 1, shape[2]) if chain.pool else shape
    result = _tensor("result", shape, chain.output_pads, chain.output_spare, chain.output_dtype)
    return source, residual, shared, result


def _tensor(name: str, shape: tuple[int, int, int], pads: Any, spare: int, dtype: str) -> Window:
    """A parameter of (rows, columns * pitch) elements with its zero borders."""
    (top, bottom), (left, right) = pads
    height, width, channels = shape
    pitch = channels + spare
    buffer = T.arg(name, T.buffer((height + top + bottom, (width + left + right) * pitch), dtype))
    return Window(buffer, top, left, pitch)
