"""A planned Strassen kernel -> TensorIR: the depthwise stage and the sums of its blocks, then seven products by the
shared microkernel, each added to the output where it belongs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import tirx as T

from mncc.kernels.strassen import (
    OUTPUTS,
    PIXELS,
    PRODUCTS,
    RATE,
    Strassen,
    StrassenTiles,
    chunk,
    fetching_tiles,
    phases,
    scratch_layout,
    segments,
    shared_array,
    weight_layout,
)
from mncc.kernels.tiles import FLOATS_PER_LINE, Segment, cut_row, panel_offset, tile_of
from mncc.schedules.chain import (
    Rows,
    chain_tensors,
    rows_of_first,
    write_rows,
    written_function,
    zero_output_border,
)
from mncc.schedules.convolution import Part, TileWriter, Window, activated
from mncc.schedules.microkernel import Sums, TiledProduct
from mncc.schedules.prefetch import Place
from mncc.schedules.sums import Piece, Sum, write_sums

Expr = Any


def strassen_function(spec: Strassen, tiles: StrassenTiles, symbol: str) -> tirx.PrimFunc:
    """The scheduled function; parameters (begin, end, weights, scratch, input, shared, output).

    begin and end are items, counted through the phases of `mncc.kernels.strassen.phases`.
    """
    return written_function(lambda: _StrassenWriter(spec, tiles), scratch_layout(spec, tiles), symbol)


@dataclass(frozen=True)
class _Tile:
    """Of one of the products a register tile: `cols` pairs of pixels from `first` on, in a panel of a segment."""

    which: Expr
    panel: Expr
    segment: Segment
    first: Expr
    cols: int


class _StrassenWriter:
    """Declares the parameters and writes the two phases."""

    def __init__(self, spec: Strassen, tiles: StrassenTiles) -> None:
        assert not spec.copies_input, "its input has the borders that it needs"
        self.spec, self.tiles, self.places = spec, tiles, weight_layout(spec)
        self.begin, self.end = T.arg("begin", T.int32()), T.arg("end", T.int32())
        self.weights = T.arg("weights", T.buffer((self.places.floats,), "float32"))
        (made,) = scratch_layout(spec, tiles)
        self.made = T.arg(made.name, T.buffer((made.rows, made.cols * made.pitch), "float32"))
        self.pitch = made.pitch
        self.input, _, shared, self.output = chain_tensors(spec, shared_array(spec))
        assert shared is not None
        self.factors = shared
        self.blocks = TileWriter(self.weights, self.weights, None, False, begin=self.begin)

    def schedule(self, sch: Schedule) -> None:
        """Schedules everything that was written."""
        self.blocks.schedule(sch)

    def write(self) -> None:
        """Both phases, as far as the items reach; the task with the first item writes the zeros around the output."""
        first, _ = phases(self.spec, self.tiles)
        with T.sblock("first"):
            zero_output_border(self.blocks, self.spec, self.output, rows_of_first(self.begin, self.spec))
            with T.serial(0, T.max(T.min(self.end, first.items) - self.begin, 0)) as i, T.sblock("chunk"):
                self.chunk(T.axis.opaque(first.items, self.begin + i))
        with T.sblock("second"):
            low, high = T.max(self.begin - first.items, 0), self.end - first.items
            with T.serial(0, PRODUCTS) as i, T.sblock("product"):
                self.product(T.axis.opaque(PRODUCTS, i), low, high)

    def chunk(self, number: Expr) -> None:
        """What the depthwise stage makes of some channels of either half, and their sums."""
        spec, width, lanes = self.spec, chunk(self.spec, self.tiles), self.tiles.depthwise.lanes
        stage, count = spec.stages[0], spec.half_in // width
        for half in range(2):
            start = half * spec.half_in
            target = Window(self.made, 0, 0, self.pitch, None, start + number * width - half * width)
            part = Part(
                stage=stage,
                in_channels=spec.channels,
                tile=self.tiles.depthwise,
                segment=Segment(start, width // lanes, lanes, lanes),
                kernel=self.places.taps + panel_offset(Segment(start, 1, lanes), spec.depth(0)),
                bias=self.places.taps_bias,
                source=self.input,
                target=target,
                final=False,
                repeats=count,
            )
            write_rows(self.blocks, part, (0, number * (width // lanes)), Rows(0, stage.height))
        with T.grid(stage.height, stage.width // 2, width // lanes) as (row, pair, v), T.sblock("sums"):
            at = T.axis.opaque(stage.height, row), T.axis.opaque(stage.width // 2, pair)
            self.sums(at, T.axis.opaque(width, v * lanes), number * width)

    def sums(self, at: tuple[Expr, Expr], channel: Expr, first: Expr) -> None:
        """The left factors of all products at a pair of pixels and a vector of channels, `first` of them before the
        chunk's."""
        (row, pair), width, lanes = at, chunk(self.spec, self.tiles), self.tiles.depthwise.lanes
        values = T.sblock_alloc_buffer((4, lanes), "float32", scope="local")
        for block in range(4):
            odd, half = divmod(block, 2)
            with T.vectorized(0, lanes) as lane:
                place = (2 * pair + odd) * self.pitch + half * width + channel + lane
                T.buffer_store(values, self.made[row, place], [block, lane])
        where = row * (self.spec.last.width // 2) + pair
        for product, blocks in enumerate(PIXELS):
            with T.vectorized(0, lanes) as lane:
                total = _signed([(values[number, lane], sign) for number, sign in blocks])
                index = self.factors.at(product, where, first + channel + lane)
                T.buffer_store(self.factors.buffer, total, list(index))

    def product(self, number: Expr, low: Expr, high: Expr) -> None:
        """One product, the panels low to high of it."""
        for segment in segments(self.spec, self.tiles):
            before = sum(s.count for s in segments(self.spec, self.tiles) if s.start < segment.start)
            start = T.max(low - before, 0)
            with T.serial(0, T.max(T.min(high - before, segment.count) - start, 0)) as p, T.sblock("panel"):
                panel = T.axis.opaque(segment.count, start + p)
                which = T.axis.opaque(PRODUCTS, number)
                for columns in cut_row(self.spec.pairs, tile_of(self.tiles.product, segment)):
                    with T.serial(0, columns.count) as t, T.sblock("tile"):
                        place = T.axis.opaque(PRODUCTS, which), T.axis.opaque(segment.count, panel)
                        first = T.axis.opaque(self.spec.pairs, columns.start + t * columns.width)
                        self.tile(_Tile(*place, segment, first, columns.width))

    def tile(self, at: _Tile) -> None:
        """A register tile of one product, and where it is added."""
        depth, width, name = self.spec.half_in, at.segment.width, f"{len(self.blocks.products)}"
        tile, extents = replace(tile_of(self.tiles.product, at.segment), cols=at.cols), (1, at.cols, width)
        kernel = self.places.factors + at.which * (depth * self.spec.half_out) + panel_offset(at.segment, depth)
        kernel = kernel + at.panel * (depth * width)
        factor = partial(self.factors.at, at.which)
        work = Sum(
            (depth,),
            tile.steps,
            start=lambda _column, _channel: T.float32(0),
            value=lambda _row, column, _channel, step: self.factors.buffer[factor(at.first + column, step[0])],
            weight=lambda _column, channel, step: self.weights[kernel + step[0] * width + channel],
            unroll=tile.unroll,
        )
        sums, blocks = write_sums(name, extents, work)
        made = T.sblock_alloc_buffer(extents, "float32", scope="local")
        with T.grid(*extents) as indices, T.sblock(f"out{name}"):
            row, column, channel = T.axis.remap("SSS", list(indices))
            T.buffer_store(made, sums[row, column, channel], [row, column, channel])
        for number, outputs in enumerate(OUTPUTS):
            with T.If(at.which == number), T.Then():
                for block, sign in outputs:
                    self.add(made, at, number, block, sign)
        fetches = self.tiles.fetches
        self.blocks.products.append(TiledProduct(tuple(blocks.values()), f"out{name}", tile, fetches=fetches))
        if fetches:
            for piece, each in blocks.items():
                fetched = partial(self.fetched, at, kernel + depth * width, piece, each)
                self.blocks.fetches[each.multiplies] = fetched

    def fetched(self, tile: _Tile, panel: Expr, piece: Piece, made: Sums, at: Sequence[Expr]) -> list[Place]:
        """What some steps of a tile fetch of the panel behind its own: tiles take turns."""
        *_, step = made.element(at)
        turn = T.floormod(T.floordiv(tile.first, tile.cols), fetching_tiles(tile_of(self.tiles.product, tile.segment)))
        begin = panel + (turn * self.spec.half_in + step + piece.first) * RATE
        lines = range(0, piece.rounds * piece.steps * RATE, FLOATS_PER_LINE)
        return [(self.weights, (begin + line,)) for line in lines]

    def pixel(self, tile: _Tile, column: Expr, odd: int) -> tuple[Expr, Expr]:
        """Row and column in the output of a pixel of a tile's pair."""
        across = self.spec.last.width // 2
        row, pair = T.floordiv(tile.first, across), T.floormod(tile.first, across) + column
        # Where one row's end at most lies in between, a comparison: LLVM would divide for each of the pixels.
        over = T.Select(pair >= across, 1, 0) if tile.cols <= across + 1 else T.floordiv(pair, across)
        return row + over, (pair - over * across) * 2 + odd

    def add(self, made: Any, tile: _Tile, number: int, block: int, sign: int) -> None:
        """Adds a tile of a product to a block of the output: the first one to the biases; the last applies the
        activation."""
        begins, *_, ends = [product for product, outputs in enumerate(OUTPUTS) if block in dict(outputs)]
        (odd, half), lanes, width = divmod(block, 2), tile.segment.lanes, tile.segment.width
        with T.unroll(0, tile.cols) as column, T.unroll(0, width // lanes) as vector, T.vectorized(0, lanes) as lane:
            inner = vector * lanes + lane
            channel = half * self.spec.half_out + tile.segment.start + tile.panel * width + inner
            index = self.output.at(*self.pixel(tile, column, odd), channel)
            before = self.weights[self.places.bias + channel] if number == begins else self.output.buffer[index]
            value = _signed([(before, 1), (made[0, column, inner], sign)])
            if number == ends and self.spec.last.activation is not None:
                value = activated(self.spec.last.activation, value)
            T.buffer_store(self.output.buffer, value, list(index))


def _signed(terms: list[tuple[Expr, int]]) -> Expr:
    """The sum of values with their signs, the first of which is 1."""
    total = terms[0][0]
    for value, sign in terms[1:]:
        total = total + value if sign > 0 else total - value
    return total
