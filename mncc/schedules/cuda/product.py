"""A planned GPU product -> TensorIR: chunks of input channels through shared memory, sums in registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import tirx as T

from mncc.kernels.gpu_join import join_of
from mncc.kernels.gpu_product import GpuProduct, ProductShape, ProductTiles
from mncc.kernels.gpu_tiles import QUAD, pitch
from mncc.schedules.cuda.epilogue import Epilogue, Meeting, finished
from mncc.schedules.cuda.writer import (
    BlockWriter,
    Expr,
    TensorPlace,
    ThreadPlace,
    kernel_function,
    multiply,
    registers,
    shared_array,
    store_if,
    tensor_argument,
    vector,
    zero,
)


def product_function(
    spec: GpuProduct, tiles: ProductTiles, places: Sequence[TensorPlace], symbol: str
) -> tirx.PrimFunc:
    """The scheduled function; parameters (weights, input, [residual], output). `places` are those of the tensors."""
    return kernel_function(lambda: _ProductWriter(spec, tiles, places), symbol)


class _ProductWriter:
    """Declares the parameters and writes the block."""

    def __init__(self, spec: GpuProduct, tiles: ProductTiles, places: Sequence[TensorPlace]) -> None:
        self.spec, self.tiles, images = spec, tiles, spec.images
        self.shape = ProductShape(spec, tiles)
        last = spec.last
        made = (1, 1, last.channels) if spec.pool else (last.height, last.width, last.channels)
        self.weights = T.arg("weights", T.buffer((self.shape.weight_floats,), "float32"))
        self.input = tensor_argument("input", images, (spec.height, spec.width, spec.channels), places[0])
        self.residual = tensor_argument("residual", images, made, places[1]) if spec.residual else None
        join = join_of(spec, tiles)
        self.meeting = Meeting(join, images, places[-2].stride) if join else None
        self.output = tensor_argument("output", images, made, places[-1])
        self.block = BlockWriter(tiles.sums.threads)

    def schedule(self, sch: Schedule) -> None:
        """Schedules everything that was written."""
        self.block.schedule(sch)

    def write(self) -> None:
        """One block."""
        shape, tiles = self.shape, self.tiles
        across, columns, rows = shape.grid
        with T.grid(self.spec.images, rows * columns, across, tiles.sums.threads) as indices, T.sblock("block"):
            image, tile, panel, thread = T.axis.remap("SSSS", list(indices))
            if self.meeting:
                self.meeting.declare(self.output)
            self.image, self.slice, self.panel = image, panel % tiles.slices, panel // tiles.slices
            self.row = tile // columns * tiles.rows if rows > 1 else 0
            self.column = tile % columns * tiles.cols if columns > 1 else 0
            self.place = ThreadPlace(tiles.sums, thread)
            self.sums = registers(tiles.sums.pixels * tiles.sums.channels)
            zero(self.sums, tiles.sums)
            window = shared_array(shape.window_floats)
            weights = shared_array(shape.chunk_weights) if shape.stages_weights else None
            with T.serial(0, shape.steps) as step, T.sblock("chunk"):
                step = T.axis.opaque(shape.steps, step) if shape.steps > 1 else 0
                self.chunk(self.slice * shape.steps + step if tiles.slices > 1 else step, window, weights)
            if shape.joins:
                self.join()
            elif self.meeting:
                group = self.panel * rows * columns + tile
                with self.meeting.last(self.sums, self.slice, (self.image, group), thread):
                    self.finish()
            else:
                self.finish()

    def chunk(self, step: Expr, window: Any, staged: Any) -> None:
        """Fetches a chunk of input channels and its weights and adds their products."""
        shape, tiles, stage = self.shape, self.tiles, self.spec.last
        origin = [
            begin * stride - pad[0]
            for begin, stride, pad in zip((self.row, self.column), stage.stride, stage.padding, strict=True)
        ]
        channels = (step * tiles.chunk, tiles.chunk)
        self.block.copy_window(window, shape.window, shape.pitch, self.input, self.image, origin, channels)
        start = (self.panel * shape.chunks + step) * shape.chunk_weights
        if staged is not None:
            self.block.copy_run(staged, self.weights, start, shape.chunk_weights)
            start = 0
        source = self.weights if staged is None else staged
        width = tiles.sums.width
        with T.serial(0, stage.kernel[0]) as y, T.serial(0, stage.kernel[1]) as x:
            tap = y * stage.kernel[1] + x
            shift = y * stage.dilation[0] * shape.window[1] + x * stage.dilation[1]
            multiply(
                self.sums,
                self.place,
                tiles.chunk,
                lambda i: (self.window_pixel(i) + shift) * shape.pitch,
                lambda k, n: start + (tap * tiles.chunk + k) * width + n,
                window,
                source,
            )

    def window_pixel(self, number: Expr) -> Expr:
        """Where in the window the first tap of a thread's pixel lies; pixels past the tile read the last one's."""
        pixel, stage = self.place.pixel(number), self.spec.last
        if self.tiles.sums.height > self.shape.pixels:
            pixel = T.min(pixel, self.shape.pixels - 1)
        row, column = pixel // self.tiles.cols, pixel % self.tiles.cols
        return row * stage.stride[0] * self.shape.window[1] + column * stage.stride[1]

    def finish(self) -> None:
        """Every thread writes what it has summed up."""
        sums = self.tiles.sums
        with T.unroll(0, sums.pixels) as i, T.unroll(0, sums.channels // QUAD) as j:
            at = i * sums.channels + j * QUAD
            self.write_quad(self.place.pixel(i), self.place.quad(j), lambda v: self.sums[at + v])

    def write_quad(self, pixel: Expr, quad: Expr, value: Any) -> None:
        """Four channels of a pixel of the block: bias, residual, activation, and out."""
        inside = [self.tiles.sums.height == self.shape.pixels or pixel < self.shape.pixels, self.in_picture(pixel)]
        full = self.spec.last.channels % self.tiles.sums.width == 0
        self.epilogue().write(self.element(pixel, quad), inside, full, value)

    def epilogue(self) -> Epilogue:
        """What becomes of the sums."""
        bias, activation = (self.weights, self.shape.bias), self.spec.last.activation
        return Epilogue(self.output, self.residual, self.spec.residual_first, activation, bias)

    def element(self, pixel: Expr, channel: Expr) -> tuple[Expr, Expr, Expr, Expr]:
        """Where a pixel and channel of the block lie in the output."""
        row, column = self.row + pixel // self.tiles.cols, self.column + pixel % self.tiles.cols
        return self.image, row, column, self.panel * self.tiles.sums.width + channel

    def in_picture(self, pixel: Expr) -> Expr:
        """Whether a pixel of the block is one of the output."""
        stage, (_, row, column, _) = self.spec.last, self.element(pixel, 0)
        whole = stage.height % self.tiles.rows == 0 and stage.width % self.tiles.cols == 0
        return whole or tirx.all(row < stage.height, column < stage.width)

    def join(self) -> None:
        """Sums of the same element meet in shared memory, and so do the pixels of a pool."""
        sums, shape, place = self.tiles.sums, self.shape, self.place
        met, apart = shared_array(shape.join_floats), pitch(sums.width)
        with T.unroll(0, sums.pixels) as i, T.unroll(0, sums.channels // QUAD) as j:
            start = (place.part * sums.height + place.pixel(i)) * apart + place.quad(j)
            at = i * sums.channels + j * QUAD
            vector(QUAD, lambda v: T.buffer_store(met, self.sums[at + v], [start + v]))
        parts = range(sums.split)

        def total(pixel: Expr, channel: Expr) -> Expr:
            first = met[pixel * apart + channel]
            return sum((met[(p * sums.height + pixel) * apart + channel] for p in parts[1:]), first)

        quads = sums.width // QUAD
        if self.spec.pool:
            self.pool(met, apart, total)
            return
        if shape.pixels * sums.width <= sums.threads:
            # So few that every one is a thread's: a quarter of the instructions that quads would take.
            with self.block.shared_out(shape.pixels * sums.width, place.thread) as item:
                pixel, channel = item // sums.width, item % sums.width
                full = self.spec.last.channels % sums.width == 0
                at = self.element(pixel, channel)

                def write() -> None:
                    self.epilogue().piece(at, 0, 1, full, lambda v: total(pixel, channel))

                store_if([self.in_picture(pixel)], write)
            return
        with self.block.shared_out(shape.pixels * quads, place.thread) as item:
            pixel, quad = item // quads, item % quads * QUAD
            self.write_quad(pixel, quad, lambda v: total(pixel, quad + v))

    def pool(self, met: Any, apart: int, total: Any) -> None:
        """The mean over all pixels, which are one tile."""
        stage, shape, width = self.spec.last, self.shape, self.tiles.sums.width
        first = self.panel * width

        def finish(pixel: Expr, channel: Expr) -> Expr:
            value = total(pixel, channel) + self.weights[shape.bias + first + channel]
            return finished(value, None, stage.activation, False)

        acted = shared_array(shape.pool_floats)
        with self.block.shared_out(shape.pixels * width, self.place.thread) as item:
            pixel, channel = item // width, item % width
            T.buffer_store(acted, finish(pixel, channel), [pixel * apart + channel])
        with self.block.shared_out(width, self.place.thread) as channel, T.sblock("pool"):
            mean = registers(1)
            T.buffer_store(mean, T.float32(0), [0])
            with T.serial(0, shape.pixels) as pixel:
                T.buffer_store(mean, mean[0] + acted[pixel * apart + channel], [0])
            value = mean[0] * T.float32(1.0 / shape.pixels)
            at = [self.output.at(self.image, 0, 0, first + channel)]
            store_if([first + channel < stage.channels], lambda: T.buffer_store(self.output.buffer, value, at))
