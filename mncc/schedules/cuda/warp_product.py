"""A planned GPU product of float16 -> TensorIR: chunks of the unrolled depth through shared memory to tensor cores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from mncc.kernels.chain import Stage
from mncc.kernels.gpu_join import join_of
from mncc.kernels.gpu_product import ProductTiles
from mncc.kernels.gpu_tiles import OCTET, QUAD
from mncc.kernels.gpu_warp_product import WarpProduct, WarpProductShape
from mncc.schedules.cuda.epilogue import Epilogue, Meeting, finished
from mncc.schedules.cuda.fragments import FRAGMENTS, Matrix, WarpSums, met_place, opaque
from mncc.schedules.cuda.groups import aligned_in_groups, block_channels
from mncc.schedules.cuda.writer import (
    BlockWriter,
    Expr,
    Tensor,
    TensorPlace,
    guarded,
    kernel_function,
    registers,
    shared_array,
    store_if,
    tensor_argument,
)
from mncc.schedules.types import store


def warp_product_function(
    spec: WarpProduct, tiles: ProductTiles, places: Sequence[TensorPlace], symbol: str
) -> tirx.PrimFunc:
    """The scheduled function; parameters (weights, biases, input, [residual], output). `places` are those of the
    tensors."""
    return kernel_function(lambda: _WarpProductWriter(spec, tiles, places), symbol).with_attr(FRAGMENTS, True)


class _WarpProductWriter:
    """Declares the parameters and writes the block."""

    def __init__(self, spec: WarpProduct, tiles: ProductTiles, places: Sequence[TensorPlace]) -> None:
        self.spec, self.tiles, images = spec, tiles, spec.images
        self.shape = shape = WarpProductShape(spec, tiles)
        last = spec.last
        made = (1, 1, last.channels) if spec.pool else (last.height, last.width, last.channels)
        self.weights = T.arg("weights", T.buffer((2 * shape.bias,), "float16"))
        self.biases = T.arg(f"weight{shape.bias}", T.buffer((shape.weight_floats - shape.bias,), "float32"))
        whole = (spec.height, spec.width, spec.channels)
        source, residual = tensor_argument("input", images, whole, places[0], spec.input_dtype), None
        if spec.residual:
            residual = tensor_argument("residual", images, made, places[1], spec.residual_dtype)
        join = join_of(spec, tiles)
        self.meeting = Meeting(join, images, places[-2].stride) if join else None
        output = tensor_argument("output", images, made, places[-1], spec.output_dtype)
        self.input, self.output, self.residual = aligned_in_groups(spec, source, output, residual)
        self.block = BlockWriter(shape.sums.threads)

    def schedule(self, sch: Any) -> None:
        """Schedules everything that was written."""
        self.block.schedule(sch)

    def write(self) -> None:
        """One block."""
        shape, tiles = self.shape, self.tiles
        across, columns, rows = shape.grid
        with T.grid(self.spec.images, rows * columns, across, self.block.threads) as indices, T.sblock("block"):
            image, tile, panel, self.thread = T.axis.remap("SSSS", list(indices))
            if self.meeting:
                self.meeting.declare(self.output)
            else:
                opaque(self.output.buffer)
            self.image, self.slice, self.panel = image, panel % tiles.slices, panel // tiles.slices
            self.channels = block_channels(shape, self.panel)
            self.row = tile // columns * tiles.rows if rows > 1 else 0
            self.column = tile % columns * tiles.cols if columns > 1 else 0
            self.sums = WarpSums(shape.sums, self.thread)
            self.sums.zero()
            window = shared_array(shape.window_halves, "float16")
            weights = shared_array(shape.staged_halves, "float16")
            with T.serial(0, shape.steps) as step, T.sblock("chunk"):
                opaque()
                step = T.axis.opaque(shape.steps, step) if shape.steps > 1 else 0
                self.chunk(self.slice * shape.steps + step if tiles.slices > 1 else step, window, weights)
            if self.spec.pool:
                self.pool()
                return
            if shape.joins:
                kept = self.sums.joined(shared_array(shape.join_floats), shape.join_pitch)
            else:
                kept = self.sums.unloaded(shared_array(shape.staged_floats))
            if self.meeting:
                group = self.panel * rows * columns + tile
                with self.meeting.last(kept, self.slice, (image, group), self.thread):
                    self.finish(kept)
            else:
                self.finish(kept)

    def chunk(self, step: Expr, window: Any, staged: Any) -> None:
        """Fetches a chunk of the unrolled input and its weights and adds their products."""
        shape, tiles, stage = self.shape, self.tiles, self.spec.last
        origin = [
            begin * stride - pad[0]
            for begin, stride, pad in zip((self.row, self.column), stage.stride, stage.padding, strict=True)
        ]
        # Pixels that only fill the fragments lie on in the one row, or in rows below.
        width = shape.sums.height if stage.height == 1 else tiles.cols
        size, depth = (shape.sums.height, width), (step * tiles.chunk, tiles.chunk)
        group = (self.channels.first_input, self.channels.inputs) if stage.groups > 1 else None
        copy_unrolled(
            self.block, window, shape.pitch, self.input, self.image, stage, origin, size, depth, group=group
        )  # fmt: skip
        start = (self.panel * shape.chunks + step) * shape.chunk_weights
        self.block.copy_matrix(staged, shape.weights_pitch, self.weights, start, (tiles.chunk, shape.sums.width))
        self.sums.multiply(Matrix(window, shape.pitch), Matrix(staged, shape.weights_pitch), tiles.chunk)

    def finish(self, sums: Any) -> None:
        """Every thread writes its sums: bias, residual, activation, and out."""
        stage, shape, tiles = self.spec.last, self.shape, self.tiles
        whole = stage.height % tiles.rows == 0 and stage.width % tiles.cols == 0
        full, first = self.spec.outputs % shape.sums.width == 0, self.spec.residual_first
        epilogue = Epilogue(
            self.output, self.residual, first, stage.activation, (self.biases, 0), OCTET, self.channels.end
        )
        with self.sums.octets() as (number, pixel, octet):
            row, column = self.row + pixel // tiles.cols, self.column + pixel % tiles.cols
            inside = [
                shape.sums.height == shape.pixels or pixel < shape.pixels,
                whole or tirx.all(row < stage.height, column < stage.width),
            ]
            at = (self.image, row, column, self.channels.first_output + octet)
            epilogue.write(at, inside, full, lambda v: sums[number + v])

    def pool(self) -> None:
        """The mean over all pixels, which are one tile."""
        stage, shape, width = self.spec.last, self.shape, self.shape.sums.width
        first, apart = self.panel * width, shape.join_pitch
        met, biases = shared_array(shape.join_floats), shared_array(shape.pool_floats)

        def place(pixel: Expr, channel: Expr) -> Expr:
            column, quad = channel // OCTET * OCTET, channel % OCTET // QUAD
            return met_place(pixel, column, quad, width, apart) + channel % QUAD

        self.block.copy_run(biases, self.biases, first, width)
        self.sums.store(met, apart)
        with self.block.shared_out(shape.pixels * width, self.thread) as item:
            pixel, channel = item // width, item % width
            at, total = place(pixel, channel), biases[channel]
            for part in range(shape.sums.split):
                total = total + met[part * shape.sums.height * apart + at]
            value = finished(total, None, stage.activation, False)
            T.buffer_store(met, value, [at])
        with self.block.shared_out(width, self.thread) as channel, T.sblock("pool"):
            mean = registers(1)
            T.buffer_store(mean, T.float32(0), [0])
            with T.serial(0, shape.pixels) as pixel:
                T.buffer_store(mean, mean[0] + met[place(pixel, channel)], [0])
            value = mean[0] * T.float32(1.0 / shape.pixels)
            at = [self.output.at(self.image, 0, 0, first + channel)]
            store_if([first + channel < stage.channels], lambda: store(self.output.buffer, value, at))


def copy_unrolled(
    block: BlockWriter, target: Any, pitch: int, source: Tensor, image: Expr, stage: Stage, origin: Sequence[Expr],
    size: tuple[int, int], depth: tuple[Expr, int], real: int | None = None, group: tuple[Expr, int] | None = None,
) -> None:  # fmt: skip
    """The windows of pixels, each a row of (tap, channel): `size` is (pixels, pixels of a row of the picture), `origin`
    the first tap's place for the first of them, `depth` the (first, count) of the unrolled depth. Zeros outside of the
    picture, behind the last tap, and behind the `real` pixels where others only fill fragments. A `group` are the
    (first, count) of the channels that are read, where not all are."""
    (first, count), (begin, channels) = depth, group or (0, source.channels)
    lanes = source.place.lanes
    if count % lanes or channels % lanes or source.buffer.dtype != target.dtype:
        lanes = 1
    whole = stage.kernel[0] * stage.kernel[1] * channels

    def move(pixel: Expr, quad: Expr, lane: Expr) -> None:
        at = first + quad * lanes
        tap, channel = (at // channels, at % channels) if stage.kernel != (1, 1) else (0, at)
        line, place = pixel // size[1], pixel % size[1]
        y = origin[0] + line * stage.stride[0] + tap // stage.kernel[1] * stage.dilation[0]
        x = origin[1] + place * stage.stride[1] + tap % stage.kernel[1] * stage.dilation[1]
        inside = [y >= 0, y < source.height, x >= 0, x < source.width]
        if real is not None and real < size[0]:
            inside.append(pixel < real)
        if not (isinstance(first, int) and first + count <= whole):
            inside.append(at < whole)
        value = guarded(inside, source.buffer[source.at(image, y, x, begin + channel + lane)])
        store(target, value, [pixel * pitch + quad * lanes + lane])

    block.copy(target, size[0], count // lanes, lanes, move)
