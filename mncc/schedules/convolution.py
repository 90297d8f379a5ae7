"""The blocks inside a chain: rows of register tiles, pooling over them, copies and zero borders."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import tirx as T

from mncc.kernels.ahead import FEW_CHANNELS, Ahead, NextRows, Steps
from mncc.kernels.chain import Stage
from mncc.kernels.tiles import FLOATS_PER_LINE, Block, ConvTile, Segment, cut_row, tile_of
from mncc.network.ops import Activation
from mncc.schedules.microkernel import Sums, TiledProduct, schedule_copy, schedule_product
from mncc.schedules.prefetch import Fetches, Place
from mncc.schedules.sums import Piece, Sum, write_sums
from mncc.schedules.types import cast, store

Expr = Any
Panel = tuple[Expr, Expr]
"""Group, and index among the segment's panels."""
Taps = tuple[Expr, Expr, Expr]
"""Row and column in the filter, and input channel in the group (0 in a depthwise stage)."""


FEW_MULTIPLICATIONS = 128
"""Of vectors; up to here LLVM unrolls a loop for processors that run in order."""
MANY_TAPS = 25
"""Up to here all taps of a depthwise stage are unrolled, past it only those of one row."""


@dataclass(frozen=True)
class Window:
    """Rows of a tensor in a buffer of (rows, columns * pitch): real row r, column w lie at
    (r + row_shift, w + column_shift); in a `ring` of rows, at r + row_shift modulo their number. A window of some
    channels begins with `first_channel`. With a `block`, the row lies as `mncc.kernels.tiles.Scratch` says."""

    buffer: Any
    row_shift: Expr
    column_shift: int
    pitch: int
    ring: int | None = None
    first_channel: Expr = 0
    block: Block | None = None

    def line(self, row: Expr) -> Expr:
        """Where in the buffer a row lies, counted from the first row of padding."""
        return row if self.ring is None else T.floormod(row, self.ring)

    def at(self, row: Expr, column: Expr, channel: Expr, masked: bool = False) -> tuple[Expr, Expr]:
        """Index of one element; `masked` where LLVM is to know that addresses do not wrap around."""
        line, channel = self.line(row + self.row_shift), channel - self.first_channel
        if self.block is not None:
            return self._known_line(line), self._in_block(self.block, column + self.column_shift, channel)
        pixel = (column + self.column_shift) * self.pitch
        return self._known_line(line) if masked else line, pixel + channel

    def _known_line(self, line: Expr) -> Expr:
        """The line, masked to what the buffer has at most: LLVM then knows that addresses do not wrap around, and adds
        to a pointer what else it would compute anew for every vector."""
        bits = (int(self.buffer.shape[0]) - 1).bit_length()
        if self.ring is not None:
            return line
        return T.bitwise_and(line, (1 << bits) - 1) if bits else 0

    def _in_block(self, block: Block, column: Expr, channel: Expr) -> Expr:
        """Where in its row an element lies."""
        blocks = self.pitch // block.channels
        before = T.floordiv(column, block.columns) * blocks + T.floordiv(channel, block.channels)
        pixel = before * block.columns + T.floormod(column, block.columns)
        return pixel * block.channels + T.floormod(channel, block.channels)


@dataclass(frozen=True)
class RowsAhead:
    """Where a product's steps find what they fetch of the input: `line` of its window is the first that the chain's
    next step is the first to read; `first` is the first row that the product makes in this one."""

    rows: NextRows
    source: Window
    line: Expr
    first: Expr


@dataclass(frozen=True)
class Part:
    """One channel segment of a stage, the same in each of its groups. `kernel` and `bias` are offsets, in weights and
    in floats: of the first group's first panel of the segment, and of the stage's biases."""

    stage: Stage
    in_channels: int
    tile: ConvTile
    segment: Segment
    kernel: int
    bias: int
    source: Window
    target: Window
    final: bool
    shuffle: int = 1
    """Groups of the shuffle in whose order a product takes the channels of `source`."""
    repeats: int = 1
    """How many times as many panels follow as the segment counts: a depthwise stage's segment may be that of one of
    several tiles."""
    ahead: tuple[Ahead | RowsAhead, Steps] | None = None
    """What this stage's steps fetch."""
    first_panel: int = 0
    """Panels of a group in the segments before this one."""
    widened: Any = None
    """The scratch from which tiles read the weights of their panel, where these are converted there first."""

    @property
    def depth(self) -> int:
        """Multiply-adds behind one output element."""
        return self.stage.depth(self.in_channels)

    @property
    def reductions(self) -> tuple[int, ...]:
        """Extents of the reduction loops: taps, then input channels where the stage mixes them."""
        taps, per_group = self.stage.kernel, self.in_channels // self.stage.groups
        if self.stage.kind == "depthwise":
            return taps
        return (taps[0], taps[1] * per_group) if self.merges_row else (*taps, per_group)

    @property
    def merges_row(self) -> bool:
        """True where inputs are taken by lane and those of one row of taps lie one behind the other: no vector ends
        with a pixel then."""
        stage = self.stage
        together = stage.kernel[1] > 1 and stage.dilation[1] == 1 and self.source.pitch == self.in_channels
        return together and stage.groups == self.shuffle == 1 and self.tile.steps > 1

    def taps(self, at: Sequence[Expr]) -> Taps:
        """What the indices of the reduction loops mean. A merged row counts on from its first pixel."""
        if self.stage.kind == "depthwise":
            return at[0], at[1], 0
        return (at[0], 0, at[1]) if self.merges_row else (at[0], at[1], at[2])

    @property
    def panels_inside(self) -> bool:
        """True where all panels count as one in the blocks, and become the loop around the register tile."""
        return self.stage.kind == "depthwise"

    @property
    def width(self) -> int:
        """Channels that a block's channel loop runs over."""
        return self.segment.width * (self.segment.count if self.panels_inside else 1)

    @property
    def columns(self) -> tuple[Segment, ...]:
        """How tiles cut a row of pixels."""
        return cut_row(self.stage.width, tile_of(self.tile, self.segment))

    def channel(self, panel: Panel, channel: Expr) -> Expr:
        """The output channel behind a channel of a panel."""
        group, index = panel
        return (
            group * (self.stage.channels // self.stage.groups)
            + self.segment.start
            + (index * self.segment.width + channel)
        )


class TileWriter:
    """Writes blocks into the function under construction and knows afterwards how each is scheduled. `weights` are the
    kernel's packed weights in the type in which kernels are stored, `biases` the same memory as float32. Products
    multiply in `dtype`. `begin` is the kernel's first item."""

    def __init__(
        self,
        weights: Any,
        biases: Any,
        residual: Window | None,
        residual_first: bool,
        dtype: str = "float32",
        begin: Expr = 0,
    ) -> None:
        self.dtype, self.begin = dtype, begin
        self.weights, self.biases, self.residual, self.residual_first = weights, biases, residual, residual_first
        self.products: list[TiledProduct] = []
        self.copies: list[str] = []
        self.widened: list[str] = []
        self.fetches: dict[str, Fetches] = {}

    def schedule(self, sch: Schedule) -> None:
        """Schedules everything that was written."""
        for product in self.products:
            schedule_product(sch, product)
        for block in self.copies:
            schedule_copy(sch, block)
        for block in self.widened:
            schedule_copy(sch, block, vectors=4)

    def row(self, part: Part, panel: Panel, row: Expr, height: int) -> None:
        """`height` rows from `row` on of one panel, over the whole width."""
        with T.sblock(f"row{len(self.products)}"):
            first = T.axis.opaque(part.stage.height, row)
            panel = _panel_axes(part, panel)
            for columns in part.columns:
                self.tiles(part, panel, (first, height), columns)

    def tiles(self, part: Part, panel: Panel, rows: tuple[Expr, int], columns: Segment, total: Any = None) -> None:
        """The sums and the epilogue of the tiles in one segment of columns; `rows` are the first and how many.

        The epilogue writes the stage's target, or adds up over the pixels in `total`.
        """
        name, (first, height) = f"{len(self.products)}", rows
        extents = (height, columns.count * columns.width, part.width)
        sums, blocks = write_sums(name, extents, self.sum(part, panel, rows, columns))
        with T.grid(*extents) as indices, T.sblock(f"out{name}"):
            row, column, channel = T.axis.remap("SSS" if total is None else "RRS", list(indices))
            at = (first + row, columns.start + column, part.channel(panel, channel))
            value = self.epilogue(part, sums[row, column, channel], at)
            if total is None:
                store(part.target.buffer, value, part.target.at(*at))
            else:
                with T.init():
                    T.buffer_store(total, T.float32(0), [channel])
                T.buffer_store(total, total[channel] + cast(value, "float32"), [channel])
        tile = ConvTile(height, columns.width, part.segment.width, part.segment.lanes, part.tile.steps)
        self.products.append(
            TiledProduct(
                tuple(blocks.values()),
                f"out{name}",
                tile,
                _unrolled(part),
                part.panels_inside,
                totals=total is not None,
                fetches=part.ahead is not None,
            )
        )
        if part.ahead is not None:
            for piece, made in blocks.items():
                self.fetches[made.multiplies] = partial(self.fetched, part, panel, rows, columns, (piece, made))

    def fetched(
        self,
        part: Part,
        panel: Panel,
        rows: tuple[Expr, int],
        columns: Segment,
        sums: tuple[Piece, Sums],
        at: Sequence[Expr],
    ) -> list[Place]:
        """What some steps of a tile fetch, a place a line; `at` is their first element in the block that multiplies."""
        assert part.ahead is not None
        (ahead, steps), (piece, made) = part.ahead, sums
        (group, index), (first, height), (_, column, _, *taps) = panel, rows, made.element(at)
        before = sum(s.count for s in part.columns if s.start < columns.start)
        tile = before + T.floordiv(column, columns.width)
        tiles = steps.stood_for(tile, sum(s.count for s in part.columns), T.min)
        step: Expr = 0
        for extent, tap in zip(part.reductions, taps, strict=True):
            step = step * extent + tap
        number = group * (steps.panels // part.stage.groups) + part.first_panel + index
        first_step = step + piece.first if piece.first else step
        several = piece.rounds * piece.steps
        if isinstance(ahead, RowsAhead):
            at_row = [
                steps.fetched_of_rows(ahead.rows, number, first + row - ahead.first, each, first_step)
                for row, each in itertools.product(range(height), tiles)
            ]
            lines = range(0, several * ahead.rows.rate, FLOATS_PER_LINE)
            return [(ahead.source.buffer, (ahead.line, index + line)) for index in at_row for line in lines]
        at_row = [
            steps.fetched(ahead, number, first + row, each, first_step, T.max, T.Select)
            for row, each in itertools.product(range(height), tiles)
        ]
        lines = range(0, several * max(ahead.rate, ahead.own.rate if ahead.own else 0), FLOATS_PER_LINE)
        return [(self.biases, (index + line,)) for index in at_row for line in lines]

    def bias(self, part: Part, panel: Panel, channel: Expr) -> Expr:
        """What the sums start from."""
        return self.biases[part.bias + part.channel(panel, channel)]

    def sum(self, part: Part, panel: Panel, rows: tuple[Expr, int], columns: Segment) -> Sum:
        """What the elements of a tile add up, in some rows and one segment of columns."""
        first = rows[0]

        def zero(column: Expr) -> Expr:
            # What all tiles read LLVM would load once in front of them, and keep on the stack, if no loop over the
            # reduction lies between. It cannot see that this is 0: no item is negative.
            tile = first + T.floordiv(column, columns.width)
            hidden = work.at_once or _unrolls_panels(part, rows, columns)
            return T.bitwise_and(tile, T.shift_right(self.begin, 31)) if hidden else 0

        work = Sum(
            part.reductions,
            part.tile.steps,
            start=lambda column, channel: self.bias(part, panel, channel + zero(column)),
            value=lambda row, column, channel, at: self.value(
                part, panel, (first + row, columns.start + column, channel), part.taps(at)
            ),
            weight=lambda column, channel, at: self.weight(part, panel, channel, part.taps(at), zero(column)),
            dtype=self.dtype,
            converts=str(self.weights.dtype) != self.dtype and part.widened is None,
            unroll=tile_of(part.tile, part.segment).unroll,
        )
        return work

    def value(self, part: Part, panel: Panel, at: tuple[Expr, Expr, Expr], taps: Taps) -> Expr:
        """The input that the element `at` (row, column, channel in the panel) multiplies."""
        stage, (row, column, channel), (y, x, inner) = part.stage, at, taps
        in_row = row * stage.stride[0] + y * stage.dilation[0] - stage.padding[0][0]
        in_column = column * stage.stride[1] + x * stage.dilation[1] - stage.padding[1][0]
        if stage.kind == "depthwise":
            in_channel = part.channel(panel, channel)
        else:
            in_channel = panel[0] * (part.in_channels // stage.groups) + inner
            if part.shuffle > 1:
                apart = part.in_channels // part.shuffle
                in_channel = T.floormod(in_channel, part.shuffle) * apart + T.floordiv(in_channel, part.shuffle)
        masked = stage.kind == "conv" and part.tile.unroll > 1
        return part.source.buffer[part.source.at(in_row, in_column, in_channel, masked)]

    def weight(self, part: Part, panel: Panel, channel: Expr, taps: Taps, zero: Expr) -> Expr:
        """The weight of a channel of the panel; `zero` is added to where it lies."""
        stage, (y, x, inner) = part.stage, taps
        tap = y * stage.kernel[1] + x
        if stage.kind != "depthwise":
            tap = tap * (part.in_channels // stage.groups) + inner
        index, width = panel[1], part.segment.width
        if part.widened is not None:
            return part.widened[0, tap * width + channel + zero]
        if part.panels_inside:
            index, channel = index + T.floordiv(channel, width), T.floormod(channel, width)
        return self.weights[_group_start(part, panel) + (index * part.depth + tap) * width + channel + zero]

    def widen(self, part: Part, panel: Panel) -> None:
        """Converts the weights of a panel into the scratch from which its tiles read them."""
        name, count = f"widen{len(self.widened)}", part.depth * part.segment.width
        with T.sblock(f"{name}_panel"):
            panel = _panel_axes(part, panel)
            with T.serial(0, count) as j, T.sblock(name):
                element = T.axis.spatial(count, j)
                value = self.weights[_group_start(part, panel) + panel[1] * count + element]
                store(part.widened, value, [0, element])
        self.widened.append(name)

    def epilogue(self, part: Part, value: Expr, at: tuple[Expr, Expr, Expr]) -> Expr:
        """Activation and, behind the last stage, the residual."""
        addend = None
        if part.final and self.residual is not None:
            addend = cast(self.residual.buffer[self.residual.at(*at)], str(value.ty))
        if addend is not None and self.residual_first:
            value = value + addend
        if part.stage.activation is not None:
            value = activated(part.stage.activation, value)
        if addend is not None and not self.residual_first:
            value = value + addend
        return value

    def pool(self, part: Part, panel: Panel) -> None:
        """One panel over the only row, of which just the mean over its pixels is written."""
        width, name = part.segment.width, f"mean{len(self.copies)}"
        with T.sblock(f"pool{len(self.products)}"):
            panel = _panel_axes(part, panel)
            totals = []
            for columns in part.columns:
                totals.append(T.sblock_alloc_buffer((width,), "float32", scope="local"))
                self.tiles(part, panel, (0, 1), columns, totals[-1])
            with T.serial(0, width) as j, T.sblock(name):
                channel = T.axis.spatial(width, j)
                total = sum((t[channel] for t in totals[1:]), totals[0][channel])
                mean = total * T.float32(1.0 / part.stage.width)
                store(part.target.buffer, mean, part.target.at(0, 0, part.channel(panel, channel)))
        self.copies.append(name)

    def copy(self, source: Window, target: Window, row: Expr, width: int, channels: int) -> None:
        """One row of pixels from one window to another; one run of floats where no gaps lie between the pixels."""
        name = f"copy{len(self.copies)}"
        if source.pitch == target.pitch == channels:
            width, channels = 1, width * channels
        with T.grid(width, channels) as (i, j), T.sblock(name):
            column, element = T.axis.remap("SS", [i, j])
            value = source.buffer[source.at(row, column, element)]
            store(target.buffer, value, target.at(row, column, element))
        self.copies.append(name)

    def zero(self, window: Window, rows: Any, start: int, floats: int) -> None:
        """Zeros in the rows first to last of a window, counted from its first row of padding: `floats` floats from
        `start` on."""
        if not floats:
            return
        name = f"zero{len(self.copies)}"
        with T.serial(0, T.max(rows.last - rows.first, 0)) as i, T.sblock(f"{name}_row"):
            row = T.axis.opaque(window.buffer.shape[0], window.line(rows.first + i))
            with T.serial(0, floats) as j, T.sblock(name):
                element = T.axis.spatial(floats, j)
                zero = tirx.const(0.0, str(window.buffer.dtype))
                T.buffer_store(window.buffer, zero, [row, element + start])
        self.copies.append(name)

    def zero_columns(self, window: Window, rows: Any, first: int, count: int) -> None:
        """Zeros in some columns of these rows, counted as `zero` counts and from the first column of padding."""
        block = window.block
        if block is None or not count:
            self.zero(window, rows, first * window.pitch, count * window.pitch)
            return
        name, each = f"zero{len(self.copies)}", block.columns * block.channels
        with T.serial(0, T.max(rows.last - rows.first, 0)) as i, T.sblock(f"{name}_row"):
            row = T.axis.opaque(window.buffer.shape[0], window.line(rows.first + i))
            with T.grid(window.pitch // block.channels, count * block.channels) as (b, j), T.sblock(name):
                number, element = T.axis.remap("SS", [b, j])
                zero = tirx.const(0.0, str(window.buffer.dtype))
                T.buffer_store(window.buffer, zero, [row, number * each + element + first * block.channels])
        self.copies.append(name)


def activated(activation: Activation, value: Expr) -> Expr:
    """The activation of a value. What only compares does so in the value's type, all else in float32."""
    if activation.kind in ("relu", "relu6"):
        return activation.expression(value, str(value.ty))
    return cast(activation.expression(cast(value, "float32")), str(value.ty))


def _unrolled(part: Part) -> int:
    """How many of the innermost reduction loops are unrolled: a depthwise stage's taps, a picture's few channels unless
    they are taken by lane, some at once."""
    if part.stage.kind == "depthwise":
        return 2 if part.depth <= MANY_TAPS else 1
    return 1 if part.tile.steps == 1 and part.in_channels // part.stage.groups <= FEW_CHANNELS else 0


def _unrolls_panels(part: Part, rows: tuple[Expr, int], columns: Segment) -> bool:
    """True where LLVM may unroll all panels of a depthwise stage: two, or more where its rows are a tile each."""
    work = part.segment.count * part.depth * columns.width * rows[1]
    whole = columns.width == part.stage.width and work <= FEW_MULTIPLICATIONS
    return part.panels_inside and part.source.block is not None and (whole or part.segment.count == 2)


def _group_start(part: Part, panel: Panel) -> Expr:
    """Where the weights of a panel's group begin, those of the segment's first panel."""
    return part.kernel + panel[0] * (part.depth * (part.stage.channels // part.stage.groups))


def _panel_axes(part: Part, panel: Panel) -> Panel:
    """A panel's group and index as axes of the enclosing block."""
    return T.axis.opaque(part.stage.groups, panel[0]), T.axis.opaque(part.segment.count * part.repeats, panel[1])
