"""A planned GPU product -> TensorIR: chunks of input channels through shared memory, sums in registers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import tirx as T

from mncc.kernels.gpu_join import join_of
from mncc.kernels.gpu_product import GpuProduct, ProductShape, ProductTiles
from mncc.kernels.gpu_tiles import QUAD
from mncc.schedules.cuda.epilogue import Epilogue, Meeting, finished
from mncc.schedules.cuda.groups import aligned_in_groups, block_channels
from mncc.schedules.cuda.writer import (
    BlockWriter,
    Expr,
    Part,
    TensorPlace,
    ThreadPlace,
    Transfer,
    kernel_function,
    loaded,
    multiply,
    registers,
    run_transfer,
    shared_array,
    store_if,
    tensor_argument,
    vector,
    window_transfer,
    zero,
)


def product_function(
    spec: GpuProduct, tiles: ProductTiles, places: Sequence[TensorPlace], symbol: str
) -> tirx.PrimFunc:
    """The scheduled function; parameters (weights, input, [residual], output). `places` are those of the tensors."""
    return kernel_function(lambda: _ProductWriter(spec, tiles, places), symbol, tiles.sums.kept)


class _ProductWriter:
    """Declares the parameters and writes the block."""

    def __init__(self, spec: GpuProduct, tiles: ProductTiles, places: Sequence[TensorPlace]) -> None:
        self.spec, self.tiles, images = spec, tiles, spec.images
        self.shape = ProductShape(spec, tiles)
        last = spec.last
        made = (1, 1, last.channels) if spec.pool else (last.height, last.width, last.channels)
        self.weights = T.arg("weights", T.buffer((self.shape.weight_floats,), "float32"))
        source = tensor_argument("input", images, (spec.height, spec.width, spec.channels), places[0])
        residual = tensor_argument("residual", images, made, places[1]) if spec.residual else None
        join = join_of(spec, tiles)
        self.meeting = Meeting(join, images, places[-2].stride) if join else None
        output = tensor_argument("output", images, made, places[-1])
        self.input, self.output, self.residual = aligned_in_groups(spec, source, output, residual)
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
            self.channels = block_channels(shape, self.panel)
            self.row = tile // columns * tiles.rows if rows > 1 else 0
            self.column = tile % columns * tiles.cols if columns > 1 else 0
            self.place = ThreadPlace(tiles.sums, thread)
            self.sums = registers(tiles.sums.pixels * tiles.sums.channels)
            zero(self.sums, tiles.sums)
            self.window = shared_array(shape.window_floats)
            self.staged = shared_array(shape.chunk_weights) if shape.stages_weights else None
            number = (lambda step: self.slice * shape.steps + step) if tiles.slices > 1 else (lambda step: step)
            self.block.steps(shape.steps, shape.held > 0, thread, number, [Part(self.transfers, self.chunk)])
            if shape.joins:
                self.join()
            elif self.meeting:
                group = self.panel * rows * columns + tile
                with self.meeting.last(self.sums, self.slice, (self.image, group), thread):
                    self.finish()
            else:
                self.finish()

    def transfers(self, step: Expr) -> list[Transfer]:
        """What a chunk of input channels needs from memory: the input, and its weights where threads share them."""
        shape, tiles, stage = self.shape, self.tiles, self.spec.last
        origin = [
            begin * stride - pad[0]
            for begin, stride, pad in zip((self.row, self.column), stage.stride, stage.padding, strict=True)
        ]
        pitches = shape.window[1] * shape.pitch, shape.pitch
        first, end = step * tiles.chunk, None
        if stage.groups > 1:
            first, end = self.channels.first_input + first, self.channels.first_input + self.channels.inputs
        channels = first, tiles.chunk
        found = [window_transfer(self.window, shape.window, pitches, self.input, self.image, origin, channels, end)]
        if self.staged is not None:
            found.append(run_transfer(self.staged, self.weights, self.weights_at(step), shape.chunk_weights))
        return found

    def weights_at(self, step: Expr) -> Expr:
        """Where the weights of a chunk begin."""
        return (self.panel * self.shape.chunks + step) * self.shape.chunk_weights

    def chunk(self, step: Expr) -> None:
        """Adds the products of a chunk of input channels."""
        shape, tiles, stage = self.shape, self.tiles, self.spec.last
        source, start = (self.weights, self.weights_at(step)) if self.staged is None else (self.staged, 0)
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
                self.window,
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
        full = self.spec.outputs % self.tiles.sums.width == 0
        self.epilogue().write(self.element(pixel, quad), inside, full, value)

    def write_one(self, pixel: Expr, channel: Expr, value: Any) -> None:
        """One channel of a pixel of the block, likewise."""
        full = self.spec.outputs % self.tiles.sums.width == 0
        write = partial(self.epilogue().piece, self.element(pixel, channel), 0, 1, full, lambda v: value)
        store_if([self.in_picture(pixel)], write)

    def epilogue(self) -> Epilogue:
        """What becomes of the sums."""
        bias, activation = (self.weights, self.shape.bias), self.spec.last.activation
        first = self.spec.residual_first
        return Epilogue(self.output, self.residual, first, activation, bias, end=self.channels.end)

    def element(self, pixel: Expr, channel: Expr) -> tuple[Expr, Expr, Expr, Expr]:
        """Where a pixel and channel of the block lie in the output."""
        row, column = self.row + pixel // self.tiles.cols, self.column + pixel % self.tiles.cols
        return self.image, row, column, self.channels.first_output + channel

    def in_picture(self, pixel: Expr) -> Expr:
        """Whether a pixel of the block is one of the output."""
        stage, (_, row, column, _) = self.spec.last, self.element(pixel, 0)
        whole = stage.height % self.tiles.rows == 0 and stage.width % self.tiles.cols == 0
        return whole or tirx.all(row < stage.height, column < stage.width)

    def join(self) -> None:
        """Sums of the same element meet in shared memory, and so do the pixels of a pool."""
        sums, shape, place = self.tiles.sums, self.shape, self.place
        met, apart = shared_array(shape.join_floats), shape.join_pitch
        with T.unroll(0, sums.pixels) as i, T.unroll(0, sums.channels // QUAD) as j:
            start = (place.part * sums.height + place.pixel(i)) * apart + place.quad(j)
            at = i * sums.channels + j * QUAD
            vector(QUAD, lambda v: T.buffer_store(met, self.sums[at + v], [start + v]))
        # Where elements are few every one is a thread's: a quarter of the instructions that quads would take.
        lanes = 1 if self.spec.pool or shape.pixels * sums.width <= sums.threads else QUAD
        if self.spec.pool:
            self.pool(met)
            return
        across = sums.width // lanes
        with self.block.shared_out(shape.pixels * across, place.thread) as item, T.sblock("joined"):
            pixel, channel = item // across, item % across * lanes
            total = self.total(met, pixel, channel, lanes)
            if lanes == QUAD:
                self.write_quad(pixel, channel, lambda v: total[v])
            else:
                self.write_one(pixel, channel, total[0])

    def total(self, met: Any, pixel: Expr, channel: Expr, lanes: int) -> Any:
        """The sums of all parts of the depth, of `lanes` channels of a pixel of the block."""
        sums, total = self.tiles.sums, registers(lanes)
        for part in range(sums.split):
            found = loaded(met, (part * sums.height + pixel) * self.shape.join_pitch + channel, lanes)
            with T.unroll(0, lanes) as v:
                T.buffer_store(total, total[v] + found[v] if part else found[v], [v])
        return total

    def pool(self, met: Any) -> None:
        """The mean over all pixels, which are one tile."""
        stage, shape, width = self.spec.last, self.shape, self.tiles.sums.width
        first, apart = self.panel * width, shape.join_pitch
        acted = shared_array(shape.pool_floats)
        with self.block.shared_out(shape.pixels * width, self.place.thread) as item, T.sblock("acted"):
            pixel, channel = item // width, item % width
            total = self.total(met, pixel, channel, 1)
            value = total[0] + self.weights[shape.bias + first + channel]
            T.buffer_store(acted, finished(value, None, stage.activation, False), [pixel * apart + channel])
        with self.block.shared_out(width, self.place.thread) as channel, T.sblock("pool"):
            mean = registers(1)
            T.buffer_store(mean, T.float32(0), [0])
            with T.serial(0, shape.pixels) as pixel:
                T.buffer_store(mean, mean[0] + acted[pixel * apart + channel], [0])
            value = mean[0] * T.float32(1.0 / shape.pixels)
            at = [self.output.at(self.image, 0, 0, first + channel)]
            store_if([first + channel < stage.channels], lambda: T.buffer_store(self.output.buffer, value, at))
