"""A planned fused GPU kernel -> TensorIR: chunks of channels pass through shared memory from stage to stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import tirx as T

from mncc.kernels.chain import Stage
from mncc.kernels.gpu_fused import FusedShape, FusedTiles, GpuFused
from mncc.kernels.gpu_join import join_of
from mncc.kernels.gpu_space import fused_registers
from mncc.kernels.gpu_tiles import QUAD, ThreadTiles
from mncc.schedules.cuda.epilogue import Epilogue, Meeting, finished
from mncc.schedules.cuda.writer import (
    ALONE,
    BlockWriter,
    Expr,
    Part,
    TensorPlace,
    ThreadPlace,
    Transfer,
    all_of,
    kernel_function,
    loaded,
    multiply,
    registers,
    run_transfer,
    shared_array,
    store_if,
    stored,
    tensor_argument,
    vector,
    window_place,
    window_transfer,
    zero,
)

HALF_REGISTERS = 32768
"""Of a multiprocessor: what a block has where two shall fit."""


def fused_function(
    spec: GpuFused, tiles: FusedTiles, places: Sequence[TensorPlace], symbol: str
) -> tirx.PrimFunc:
    """The scheduled function; parameters (weights, input, [residual], output). `places` are those of the tensors."""
    # Sums of other slices come in beside its own.
    sums = tiles.tail.kept if tiles.tail and tiles.slices > 1 else 0
    function = kernel_function(lambda: _FusedWriter(spec, tiles, places), symbol, sums)
    crowded = fused_registers(tiles, FusedShape(spec, tiles).held) >= HALF_REGISTERS // tiles.threads
    return function.with_attr(ALONE, True) if crowded else function


class _FusedWriter:
    """Declares the parameters and writes the block."""

    def __init__(self, spec: GpuFused, tiles: FusedTiles, places: Sequence[TensorPlace]) -> None:
        self.spec, self.tiles, images = spec, tiles, spec.images
        self.shape, last = FusedShape(spec, tiles), spec.last
        made = (last.height, last.width, last.channels)
        self.weights = T.arg("weights", T.buffer((self.shape.weight_floats,), "float32"))
        self.input = tensor_argument("input", images, (spec.height, spec.width, spec.channels), places[0])
        self.residual = tensor_argument("residual", images, made, places[1]) if spec.residual else None
        join = join_of(spec, tiles)
        self.meeting = Meeting(join, images, places[-2].stride) if join else None
        self.output = tensor_argument("output", images, made, places[-1])
        self.block = BlockWriter(tiles.threads)

    def schedule(self, sch: Schedule) -> None:
        """Schedules everything that was written."""
        self.block.schedule(sch)

    def write(self) -> None:
        """One block."""
        shape, tiles = self.shape, self.tiles
        chunks, columns, rows = shape.grid
        with T.grid(self.spec.images, rows * columns, chunks, tiles.threads) as indices, T.sblock("block"):
            self.image, tile, first, self.thread = T.axis.remap("SSSS", list(indices))
            if self.meeting:
                self.meeting.declare(self.output)
            self.row = tile // columns * tiles.rows if rows > 1 else 0
            self.column = tile % columns * tiles.cols if columns > 1 else 0
            self.declare()
            if tiles.tail:
                self.sums = registers(tiles.tail.kept)
                zero(self.sums, tiles.tail)
            self.slice, self.panel = first % tiles.slices, first // tiles.slices
            number = (lambda step: self.slice * shape.steps + step) if tiles.tail else (lambda step: first)
            self.block.steps(shape.steps, shape.held > 0, self.thread, number, self.parts(), self.load_input)
            if tiles.tail and self.meeting:
                group = (self.panel * rows * columns) + tile
                with self.meeting.last(self.sums, self.slice, (self.image, group), self.thread):
                    self.finish(tiles.tail)
            elif tiles.tail:
                self.finish(tiles.tail)

    def declare(self) -> None:
        """The arrays that threads share."""
        shape = self.shape
        self.window = shared_array(shape.window_floats) if self.spec.lead else None
        lead, tail = shape.product_floats
        self.staged = shared_array(shape.staged_floats)
        self.staged_lead = shared_array(lead) if self.spec.lead else None
        self.middle = shared_array(shape.middle_floats)
        self.made = shared_array(shape.made_floats) if self.spec.tail else None
        self.staged_tail = shared_array(tail) if tail else self.staged_lead

    def middle_begin(self) -> list[Expr]:
        """The first row and column that the depthwise convolution reads; may lie outside of the picture."""
        return begin((self.row, self.column), self.spec.depthwise)

    def load_input(self) -> None:
        """With a lead the input of all chunks, and zeros around what it makes."""
        shape, lead = self.shape, self.spec.lead
        if lead is None:
            return
        first, size = lead_firsts(shape, self.middle_begin()), shape.lead_size
        at = begin([a + b for a, b in zip(self.middle_begin(), first, strict=True)], lead)
        self.block.copy_window(
            self.window, shape.window, (shape.window[1] * shape.input_pitch, shape.input_pitch), self.input, self.image,
            at, (0, shape.depth),
        )
        if size == shape.middle:
            return
        quads = self.tiles.chunk // QUAD
        with self.block.shared_out(shape.middle_pixels * quads, self.thread) as item, T.sblock("around"):
            pixel, quad = item // quads, item % quads
            start = self.middle_place(pixel) + quad * QUAD
            position = pixel // shape.middle[1], pixel % shape.middle[1]
            inside = [(p >= f, p < f + s) for p, f, s in zip(position, first, size, strict=True)]
            around = tirx.Not(tirx.all(*(each for pair in inside for each in pair)))
            store_if([around], lambda: vector(QUAD, lambda v: T.buffer_store(self.middle, T.float32(0), [start + v])))

    def middle_place(self, pixel: Expr) -> Expr:
        """Where in shared memory a pixel of what the depthwise convolution reads begins."""
        layout = self.shape.layout
        return window_place(pixel, self.shape.middle[1], (layout.row * QUAD, layout.pitch * QUAD))

    def parts(self) -> list[Part]:
        """What is done with a chunk: the lead, and the rest; at once where nothing of it takes another's place."""
        if self.shape.shares:
            return [Part(self.first_transfers, self.first), Part(self.tail_transfers, self.rest)]

        def transfers(step: Expr) -> list[Transfer]:
            # The last chunk's product still reads the tail's weights. The barrier that waits for it stands before them,
            # and where others came first they would have one more behind them than they need.
            return [*self.tail_transfers(step), *self.first_transfers(step)]

        def compute(step: Expr) -> None:
            self.first(step)
            self.rest(step)

        return [Part(transfers, compute)]

    def first_transfers(self, step: Expr) -> list[Transfer]:
        """What the lead and the depthwise convolution need of a chunk from memory: weights, and without a lead its
        channels of the input."""
        shape, tiles, layout = self.shape, self.tiles, self.shape.layout
        begin, lead = step * shape.weights.floats, shape.weights.lead_bias
        found = [run_transfer(self.staged, self.weights, begin + lead, shape.staged_floats)]
        if tiles.lead:
            return [run_transfer(self.staged_lead, self.weights, begin, lead), *found]
        pitches, channels = (layout.row * QUAD, layout.pitch * QUAD), (step * tiles.chunk, tiles.chunk)
        size, at, shuffle = shape.middle, self.middle_begin(), self.spec.depthwise.shuffle
        window = window_transfer(
            self.middle, size, pitches, self.input, self.image, at, channels, shuffle=shuffle
        )  # fmt: skip
        return [*found, window]

    def tail_transfers(self, step: Expr) -> list[Transfer]:
        """What the projection needs: weights."""
        shape = self.shape
        start = shape.tail + (self.panel * shape.chunks + step) * shape.tail_floats
        return [run_transfer(self.staged_tail, self.weights, start, shape.tail_floats)] if self.tiles.tail else []

    def first(self, step: Expr) -> None:
        """The lead of a chunk."""
        if self.tiles.lead:
            self.expand(self.tiles.lead, step)

    def rest(self, step: Expr) -> None:
        """What follows the lead."""
        shape, tiles = self.shape, self.tiles
        self.depthwise(step)
        if tiles.tail:
            place = ThreadPlace(tiles.tail, self.thread)
            multiply(
                self.sums,
                place,
                tiles.chunk,
                lambda i: place.pixel(i) * shape.layout.made * QUAD,
                lambda k, n: k * shape.width + n,
                self.made,
                self.staged_tail,
            )

    def expand(self, tiles: ThreadTiles, step: Expr) -> None:
        """The chunk's channels of the convolution in front, at all pixels that the depthwise one reads; zeros outside
        of the picture, and in channels that only fill the last chunk: an infinite input times their weights is NaN."""
        shape, count = self.shape, self.shape.made_rows // tiles.height
        place = ThreadPlace(tiles, self.thread)
        with T.serial(0, count) as part, T.sblock("expand"):
            sums = registers(tiles.pixels * tiles.channels)
            zero(sums, tiles)

            def pixel(i: Expr) -> Expr:
                return part * tiles.height + place.pixel(i) if count > 1 else place.pixel(i)

            self.lead_products(sums, place, pixel)
            with T.unroll(0, tiles.pixels) as i, T.unroll(0, tiles.channels // QUAD) as j:
                at = i * tiles.channels + j * QUAD
                made = shape.made_rows == shape.lead_pixels or pixel(i) < shape.lead_pixels
                store_if([made], partial(self.expanded, pixel(i), place.quad(j), step, lambda v: sums[at + v]))

    def expanded(self, pixel: Expr, first: Expr, step: Expr, total: Callable[[Expr], Expr]) -> None:
        """Four channels of a pixel that the lead makes."""
        shape, lead, chunk = self.shape, self.spec.lead, self.tiles.chunk
        assert lead is not None
        inside = in_picture(shape, self.middle_begin(), pixel)
        (row, column), columns = lead_firsts(shape, self.middle_begin()), shape.lead_size[1]
        if columns < shape.middle[1]:
            apart = shape.layout.row, shape.layout.pitch
            start = ((pixel // columns + row) * apart[0] + (pixel % columns + column) * apart[1]) * QUAD
        else:
            start = self.middle_place(pixel + row * columns)
        full = lead.channels % chunk == 0
        with T.sblock("expanded"):
            bias = loaded(self.staged, first, QUAD)

            def element(v: Expr) -> Expr:
                value = finished(total(v) + bias[v], None, lead.activation, False)
                exists = all_of([inside, full or step * chunk + first + v < lead.channels])
                return value if exists is True else T.Select(exists, value, T.float32(0))

            stored(self.middle, start + first, QUAD, element)

    def lead_products(self, sums: Any, place: ThreadPlace, pixel: Callable[[Expr], Expr]) -> None:
        """The sums of the lead over its taps."""
        shape, lead = self.shape, self.spec.lead
        assert lead is not None

        def base(i: Expr) -> Expr:
            number = pixel(i)
            if shape.made_rows > shape.lead_pixels:
                number = T.min(number, shape.lead_pixels - 1)
            if lead.pointwise:
                return number
            row, column = number // shape.lead_size[1], number % shape.lead_size[1]
            return row * lead.stride[0] * shape.window[1] + column * lead.stride[1]

        with T.grid(*lead.kernel) as (y, x):
            shift = y * lead.dilation[0] * shape.window[1] + x * lead.dilation[1]
            tap = y * lead.kernel[1] + x
            multiply(
                sums,
                place,
                shape.depth,
                lambda i: (base(i) + shift) * shape.input_pitch,
                lambda k, n: (tap * shape.depth + k) * self.tiles.chunk + n,
                self.window,
                self.staged_lead,
            )

    def depthwise(self, step: Expr) -> None:
        """The chunk's depthwise convolution: a thread makes a run of pixels of four channels, loading each row of its
        window once."""
        shape, tiles = self.shape, self.tiles
        quads, runs = tiles.chunk // QUAD, tiles.cols // tiles.run
        with self.block.shared_out(quads * runs * tiles.rows, self.thread) as item, T.sblock("depthwise"):
            quad, run = item % quads * QUAD, item // quads
            row, run = (run % tiles.rows, run // tiles.rows) if shape.layout.by_rows else (run // runs, run % runs)
            column = run * tiles.run
            sums = registers(tiles.run * QUAD)
            self.taps(sums, quad, row, column)
            with T.unroll(0, tiles.run) as i:
                if self.made is not None:
                    start = (row * tiles.cols + column + i) * shape.layout.made * QUAD + quad
                    with T.sblock("acted"):
                        stored(self.made, start, QUAD, lambda v: self.acted(sums[i * QUAD + v]))
                else:
                    self.write_depthwise(step, row, column + i, quad, lambda v: sums[i * QUAD + v])

    def acted(self, value: Expr) -> Expr:
        """The depthwise stage's activation."""
        return finished(value, None, self.spec.depthwise.activation, False)

    def taps(self, sums: Any, quad: Expr, row: Expr, column: Expr) -> None:
        """The sums of a run of pixels."""
        shape, stage, run = self.shape, self.spec.depthwise, self.tiles.run
        layout = shape.layout
        taps_at, bias_at = (at - shape.weights.lead_bias for at in (shape.weights.taps, shape.weights.taps_bias))
        with T.unroll(0, run) as i:
            vector(QUAD, lambda v: T.buffer_store(sums, self.staged[bias_at + quad + v], [i * QUAD + v]))
        span = (run - 1) * stage.stride[1] + (stage.kernel[1] - 1) * stage.dilation[1] + 1
        with T.unroll(0, stage.kernel[0]) as y, T.sblock("taps"):
            line, taps = registers(span * QUAD), registers(stage.kernel[1] * QUAD)
            line_at = (row * stage.stride[0] + y * stage.dilation[0]) * layout.row * QUAD + quad
            with T.unroll(0, span) as x:
                start = line_at + (column * stage.stride[1] + x) * layout.pitch * QUAD
                vector(QUAD, lambda v: T.buffer_store(line, self.middle[start + v], [x * QUAD + v]))
            with T.unroll(0, stage.kernel[1]) as x:
                start = taps_at + (y * stage.kernel[1] + x) * self.tiles.chunk + quad
                vector(QUAD, lambda v: T.buffer_store(taps, self.staged[start + v], [x * QUAD + v]))
            with T.unroll(0, run) as i, T.unroll(0, stage.kernel[1]) as x, T.unroll(0, QUAD) as v:
                value = line[(i * stage.stride[1] + x * stage.dilation[1]) * QUAD + v]
                T.buffer_store(sums, sums[i * QUAD + v] + value * taps[x * QUAD + v], [i * QUAD + v])

    def write_depthwise(
        self, step: Expr, row: Expr, column: Expr, quad: Expr, value: Callable[[Expr], Expr]
    ) -> None:  # fmt: skip
        """Four channels of a pixel straight into the output."""
        last, tiles = self.spec.last, self.tiles
        row, column = self.row + row, self.column + column
        whole = last.height % tiles.rows == 0 and last.width % tiles.cols == 0
        inside = True if whole else tirx.all(row < last.height, column < last.width)
        epilogue = Epilogue(self.output, self.residual, self.spec.residual_first, last.activation, None)
        at = (self.image, row, column, step * tiles.chunk + quad)
        epilogue.write(at, [inside], last.channels % tiles.chunk == 0, value)

    def finish(self, tiles: ThreadTiles) -> None:
        """Every thread writes its sums of the projection."""
        last, shape, place = self.spec.last, self.shape, ThreadPlace(tiles, self.thread)
        whole = last.height % self.tiles.rows == 0 and last.width % self.tiles.cols == 0
        bias = (self.weights, shape.bias)
        epilogue = Epilogue(self.output, self.residual, self.spec.residual_first, last.activation, bias)
        with T.unroll(0, tiles.pixels) as i, T.unroll(0, tiles.channels // QUAD) as j:
            pixel, quad = place.pixel(i), place.quad(j)
            row, column = self.row + pixel // self.tiles.cols, self.column + pixel % self.tiles.cols
            inside = [
                tiles.height == shape.pixels or pixel < shape.pixels,
                whole or tirx.all(row < last.height, column < last.width),
            ]

            def total(v: Expr) -> Expr:
                return self.sums[i * tiles.channels + j * QUAD + v]

            full = last.channels % tiles.width == 0
            epilogue.write((self.image, row, column, self.panel * tiles.width + quad), inside, full, total)


def begin(begin: Sequence[Expr], stage: Stage) -> list[Expr]:
    """The first row and column of a stage's input behind an output position."""
    return [at * stride - pad[0] for at, stride, pad in zip(begin, stage.stride, stage.padding, strict=True)]


def lead_firsts(shape: FusedShape, begins: Sequence[Expr]) -> list[Expr]:
    """The first row and column that the lead makes of a middle window which begins at `begins`."""
    found: list[Expr] = []
    for at, axis in zip(begins, shape.lead_axes, strict=True):
        if isinstance(at, int):
            found.append(axis.first(at))
        else:
            found.append(T.min(T.max(0 - at, 0), axis.most) if axis.most else 0)
    return found


def in_picture(shape: FusedShape, begins: Sequence[Expr], pixel: Expr) -> Expr:
    """Whether a pixel that the lead makes lies in the picture, where the middle window begins at `begins`; True where
    all do."""
    conditions: list[Expr] = []
    position = pixel // shape.lead_size[1], pixel % shape.lead_size[1]
    wholes, firsts = shape.spec.in_shape(shape.spec.middle), lead_firsts(shape, begins)
    for at, begin, part, axis, whole in zip(position, begins, firsts, shape.lead_axes, wholes, strict=False):
        if not axis.inside:
            first = begin + part
            conditions += [first + at >= 0, first + at < whole]
    return all_of(conditions)
