"""A planned Winograd convolution -> TensorIR: strips of tiles are transformed, multiplied by the shared microkernel at
every position, and transformed back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import tirx as T

from mncc.kernels.tiles import ConvTile, Segment, cover_channels, panel_offset
from mncc.kernels.toom import transform_input, transform_output
from mncc.kernels.winograd import Winograd, WinogradTiles, scratch_layout, segments, weight_layout
from mncc.schedules.chain import Rows, chain_tensors, rows_of_first, written_function, zero_output_border
from mncc.schedules.convolution import Part, TileWriter
from mncc.schedules.microkernel import TiledProduct
from mncc.schedules.sums import Sum, write_sums

Expr = Any


def winograd_function(spec: Winograd, tiles: WinogradTiles, symbol: str) -> tirx.PrimFunc:
    """The scheduled function; parameters (begin, end, weights, scratch arrays..., input, [residual], output).

    begin and end are items as in `mncc.kernels.winograd.items`.
    """
    return written_function(lambda: _WinogradWriter(spec, tiles), scratch_layout(spec, tiles), symbol)


class _WinogradWriter:
    """Declares the parameters and writes strips: transforms, products and transforms back."""

    def __init__(self, spec: Winograd, tiles: WinogradTiles) -> None:
        self.spec, self.tiles = spec, tiles
        self.begin, self.end = T.arg("begin", T.int32()), T.arg("end", T.int32())
        self.bias, floats = weight_layout(spec)
        self.weights = T.arg("weights", T.buffer((floats,), "float32"))
        self.values, self.products = (
            T.arg(s.name, T.buffer((s.rows, s.cols, s.pitch), "float32")) for s in scratch_layout(spec, tiles)
        )
        self.input, self.residual, _, self.output = chain_tensors(spec)
        self.blocks = TileWriter(self.weights, self.weights, self.residual, spec.residual_first)
        self.vectors: list[str] = []

    def schedule(self, sch: Schedule) -> None:
        """Schedules everything that was written."""
        self.blocks.schedule(sch)
        for name in self.vectors:
            sch.vectorize(sch.get_loops(sch.get_sblock(name))[-1])

    def write(self) -> None:
        """The loop over strips; where tasks share out channels, all rows are one strip."""
        rows = self.spec.tile_rows
        if self.tiles.split == "channels":
            with T.sblock("strip"):
                self.strip(Rows(0, rows))
            return
        with T.serial(0, T.ceildiv(self.end - self.begin, self.tiles.strip)) as i, T.sblock("strip"):
            low = self.begin + i * self.tiles.strip
            first = T.axis.opaque(rows, low)
            self.strip(Rows(first, T.axis.opaque(rows + 1, T.min(low + self.tiles.strip, self.end))))

    def strip(self, rows: Rows) -> None:
        """Rows of tiles: all channels of the input, then the task's channels of the output."""
        self.transform_inputs(rows)
        with T.serial(0, self.spec.positions) as position:
            for segment in segments(self.spec, self.tiles):
                self.multiply(segment, position, rows)
        for segment in segments(self.spec, self.tiles):
            self.transform_products(segment, rows)
        height = self.spec.last.height
        if self.tiles.split == "rows":
            real = Rows(rows.first * self.spec.size, T.min(rows.last * self.spec.size, height))
        else:
            real = rows_of_first(self.begin, self.spec)
        zero_output_border(self.blocks, self.spec, self.output, real)

    def transform_inputs(self, rows: Rows) -> None:
        """The values of every tile behind `rows`, vector by vector of channels."""
        spec = self.spec
        (above, below), (left, right) = spec.input_pads
        (wants_above, wants_below), (wants_left, wants_right) = spec.wanted_pads
        with T.grid(rows.count, spec.tile_columns) as (i, x), T.sblock("tile"):
            tile = self.tile(rows, i, x)
            row, column = self.corner(tile)
            inside = []
            if above < wants_above or below < wants_below:
                inside += [row >= -above, row + spec.patch <= spec.height + below]
            if left < wants_left or right < wants_right:
                inside += [column >= -left, column + spec.patch <= spec.width + right]
            if not inside:
                self.transform_input(tile, clipped=False)
                return
            with T.If(tirx.all(*inside)):
                with T.Then():
                    self.transform_input(tile, clipped=False)
                with T.Else():
                    self.transform_input(tile, clipped=True)

    def tile(self, rows: Rows, i: Expr, x: Expr) -> tuple[Expr, Expr, Expr]:
        """Row, column and index in the strip of a tile, as axes of the enclosing block."""
        columns = self.spec.tile_columns
        return (
            T.axis.opaque(self.spec.tile_rows, rows.first + i),
            T.axis.opaque(columns, x),
            T.axis.opaque(self.tiles.strip * columns, i * columns + x),
        )

    def corner(self, tile: tuple[Expr, Expr, Expr]) -> tuple[Expr, Expr]:
        """The first row and column of the input behind a tile."""
        (top, _), (left, _) = self.spec.stages[0].padding
        return tile[0] * self.spec.size - top, tile[1] * self.spec.size - left

    def transform_input(self, tile: tuple[Expr, Expr, Expr], clipped: bool) -> None:
        """One tile's values in all channels."""
        for segment in cover_channels(self.spec.channels, self.tiles.lanes, self.tiles.lanes):
            with T.serial(0, segment.count) as v, T.sblock(f"values{len(self.vectors)}"):
                first = T.axis.opaque(self.spec.channels, segment.start + v * segment.width)
                self.input_vector(tile, first, segment.width, clipped)

    def input_vector(self, tile: tuple[Expr, Expr, Expr], first: Expr, lanes: int, clipped: bool) -> None:
        """One vector of channels of a tile: rows, then columns, of its patch."""
        spec, (row, column) = self.spec, self.corner(tile)
        (above, below), (left, right) = spec.input_pads
        extents = (spec.patch, spec.patch, lanes)
        patch, half = (T.sblock_alloc_buffer(extents, "float32", scope="local") for _ in range(2))

        def load(lane: Expr) -> None:
            for a in range(spec.patch):
                for b in range(spec.patch):
                    value = self.input.buffer[self.input.at(row + a, column + b, first + lane)]
                    if clipped:
                        in_rows = tirx.all(row + a >= -above, row + a < spec.height + below)
                        in_columns = tirx.all(column + b >= -left, column + b < spec.width + right)
                        value = T.if_then_else(tirx.all(in_rows, in_columns), value, T.float32(0))
                    T.buffer_store(patch, value, [a, b, lane])

        def rows(lane: Expr) -> None:
            for b in range(spec.patch):
                values = transform_input([patch[a, b, lane] for a in range(spec.patch)], spec.size)
                for a, value in enumerate(values):
                    T.buffer_store(half, value, [a, b, lane])

        def columns(lane: Expr) -> None:
            for a in range(spec.patch):
                values = transform_input([half[a, b, lane] for b in range(spec.patch)], spec.size)
                for b, value in enumerate(values):
                    T.buffer_store(self.values, value, [a * spec.patch + b, tile[2], first + lane])

        for write in (load, rows, columns):
            self.vector(lanes, write)

    def vector(self, lanes: int, write: Callable[[Expr], None]) -> None:
        """A block over `lanes` lanes, which `write` fills."""
        name = f"vector{len(self.vectors)}"
        with T.serial(0, lanes) as lane, T.sblock(name):
            write(T.axis.spatial(lanes, lane))
        self.vectors.append(name)

    def panels(self, segment: Segment) -> Rows:
        """Which panels of a segment are this call's: all, or those among its items."""
        if self.tiles.split == "rows":
            return Rows(0, segment.count)
        before = sum(s.count for s in segments(self.spec, self.tiles) if s.start < segment.start)
        low = T.max(self.begin - before, 0)
        return Rows(low, T.max(low, T.min(self.end - before, segment.count)))

    def part(self, segment: Segment) -> Part:
        """The segment as a part of the stage, for its epilogue."""
        return Part(
            stage=self.spec.last,
            in_channels=self.spec.channels,
            tile=self.tiles.product,
            segment=segment,
            kernel=0,
            bias=self.bias,
            source=self.input,
            target=self.output,
            final=True,
        )

    def multiply(self, segment: Segment, position: Expr, rows: Rows) -> None:
        """The products of one segment of channels at one position, register tile by register tile. The last one of a
        strip may run past its tiles, over values that nothing reads."""
        spec, tile = self.spec, self.tiles.product
        panels = self.panels(segment)
        count = T.ceildiv(rows.count * spec.tile_columns, tile.cols)
        name = f"{len(self.blocks.products)}"
        with T.grid(panels.count, count) as (p, i), T.sblock(f"product{name}"):
            at = T.axis.opaque(spec.positions, position)
            panel = T.axis.opaque(segment.count, panels.first + p)
            first = T.axis.opaque(self.values.shape[1], i * tile.cols)
            extents = (1, tile.cols, segment.width)
            kernel = at * (spec.channels * spec.last.channels) + panel_offset(segment, spec.channels)
            work = Sum(
                (spec.channels,),
                tile.steps,
                start=lambda _column, _channel: T.float32(0),
                value=lambda _row, column, _channel, depth: self.values[at, first + column, depth[0]],
                weight=lambda _column, channel, depth: self.weights[
                    kernel + (panel * spec.channels + depth[0]) * segment.width + channel
                ],
            )
            sums, blocks = write_sums(name, extents, work)
            with T.grid(*extents) as indices, T.sblock(f"out{name}"):
                row, column, channel = T.axis.remap("SSS", list(indices))
                to = [at, first + column, segment.start + panel * segment.width + channel]
                T.buffer_store(self.products, sums[row, column, channel], to)
        register_tile = ConvTile(1, tile.cols, segment.width, segment.lanes, tile.steps)
        self.blocks.products.append(TiledProduct(tuple(blocks.values()), f"out{name}", register_tile))

    def transform_products(self, segment: Segment, rows: Rows) -> None:
        """The output of every tile in `rows`, vector by vector of one segment's channels."""
        spec, panels = self.spec, self.panels(segment)
        vectors = segment.width // segment.lanes
        extents = (rows.count, spec.tile_columns, panels.count * vectors)
        with T.grid(*extents) as (i, x, v), T.sblock(f"output{len(self.vectors)}"):
            tile = self.tile(rows, i, x)
            first = T.axis.opaque(spec.last.channels, (panels.first * vectors + v) * segment.lanes)
            self.output_vector(tile, self.part(segment), first)

    def output_vector(self, tile: tuple[Expr, Expr, Expr], part: Part, first: Expr) -> None:
        """One vector of channels of a tile: rows, then columns; pixels outside of the picture are left out."""
        spec, lanes = self.spec, part.segment.lanes
        half = T.sblock_alloc_buffer((spec.size, spec.patch, lanes), "float32", scope="local")
        made = T.sblock_alloc_buffer((spec.size, spec.size, lanes), "float32", scope="local")

        def rows(lane: Expr) -> None:
            channel = part.channel((0, 0), first + lane)
            for b in range(spec.patch):
                column = [self.products[a * spec.patch + b, tile[2], channel] for a in range(spec.patch)]
                for a, value in enumerate(transform_output(column, spec.size)):
                    T.buffer_store(half, value, [a, b, lane])

        def columns(lane: Expr) -> None:
            for a in range(spec.size):
                values = transform_output([half[a, b, lane] for b in range(spec.patch)], spec.size)
                for b, value in enumerate(values):
                    T.buffer_store(made, value + self.blocks.bias(part, (0, 0), first + lane), [a, b, lane])

        self.vector(lanes, rows)
        self.vector(lanes, columns)
        for a in range(spec.size):
            for b in range(spec.size):
                self.pixel(tile, (a, b), part, first, made)

    def pixel(self, tile: tuple[Expr, Expr, Expr], within: tuple[int, int], part: Part, first: Expr, made: Any) -> None:
        """One pixel of a tile with its epilogue, if the picture reaches that far."""
        spec, (a, b) = self.spec, within
        row, column = tile[0] * spec.size + a, tile[1] * spec.size + b

        def store(lane: Expr) -> None:
            at = (row, column, part.channel((0, 0), first + lane))
            T.buffer_store(
                self.output.buffer, self.blocks.epilogue(part, made[a, b, lane], at), list(self.output.at(*at))
            )

        conditions = []
        if spec.last.height % spec.size > 0 and a >= spec.last.height % spec.size:
            conditions.append(row < spec.last.height)
        if spec.last.width % spec.size > 0 and b >= spec.last.width % spec.size:
            conditions.append(column < spec.last.width)
        if not conditions:
            self.vector(part.segment.lanes, store)
            return
        with T.If(tirx.all(*conditions)), T.Then():
            self.vector(part.segment.lanes, store)
