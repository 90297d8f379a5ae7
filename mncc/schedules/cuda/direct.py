"""A planned direct GPU convolution -> TensorIR: an element of the output a thread."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import tirx as T

from mncc.kernels.gpu_direct import DirectTiles, GpuDirect, bias_offset, weight_floats
from mncc.kernels.tiles import stored_in_float
from mncc.schedules.cuda.epilogue import finished
from mncc.schedules.cuda.writer import (
    BlockWriter,
    Expr,
    TensorPlace,
    guarded,
    kernel_function,
    registers,
    tensor_argument,
)
from mncc.schedules.types import cast, store


def direct_function(
    spec: GpuDirect, tiles: DirectTiles, places: Sequence[TensorPlace], symbol: str
) -> tirx.PrimFunc:
    """The scheduled function; parameters (weights, input, [residual], output). `places` are those of the tensors."""
    return kernel_function(lambda: _DirectWriter(spec, tiles, places), symbol)


class _DirectWriter:
    """Declares the parameters and writes the block."""

    def __init__(self, spec: GpuDirect, tiles: DirectTiles, places: Sequence[TensorPlace]) -> None:
        self.spec, images, last = spec, spec.images, spec.last
        made = (last.height, last.width, last.channels)
        bias, each = bias_offset(spec), stored_in_float(spec.weights_dtype)
        self.weights = T.arg("weights", T.buffer((weight_floats(spec) * each,), spec.weights_dtype))
        self.bias = self.weights, bias
        if each > 1:
            self.bias = T.arg(f"weight{bias}", T.buffer((weight_floats(spec) - bias,), "float32")), 0
        whole = (spec.height, spec.width, spec.channels)
        self.input = tensor_argument("input", images, whole, places[0], spec.input_dtype)
        self.residual = None
        if spec.residual:
            self.residual = tensor_argument("residual", images, made, places[1], spec.residual_dtype)
        self.output = tensor_argument("output", images, made, places[-1], spec.output_dtype)
        self.block = BlockWriter(tiles.threads)

    def schedule(self, sch: Schedule) -> None:
        """Schedules everything that was written."""
        self.block.schedule(sch)

    def write(self) -> None:
        """One block."""
        last, threads = self.spec.last, self.block.threads
        elements = last.height * last.width * last.channels
        with T.grid(self.spec.images, -(-elements // threads), 1, threads) as indices, T.sblock("block"):
            image, block, _, thread = T.axis.remap("SSSS", list(indices))
            item = block * threads + thread
            with T.If(item < elements), T.Then(), T.sblock("element"):
                pixel, channel = item // last.channels, item % last.channels
                self.element(image, pixel // last.width, pixel % last.width, channel)

    def element(self, image: Expr, row: Expr, column: Expr, channel: Expr) -> None:
        """The sum over taps and the group's channels in float32, and its epilogue."""
        spec, stage = self.spec, self.spec.last
        depthwise = stage.kind == "depthwise"
        group_in = 1 if depthwise else spec.channels // stage.groups
        first = channel if depthwise else channel // (stage.channels // stage.groups) * group_in
        total = registers(1)
        T.buffer_store(total, self.bias[0][self.bias[1] + channel], [0])
        with T.grid(*stage.kernel, group_in) as (y, x, k):
            in_row = row * stage.stride[0] + y * stage.dilation[0] - stage.padding[0][0]
            in_column = column * stage.stride[1] + x * stage.dilation[1] - stage.padding[1][0]
            inside = [in_row >= 0, in_row < spec.height, in_column >= 0, in_column < spec.width]
            source = self.input.at(image, in_row, in_column, self.input.shuffled(first + k, stage.shuffle))
            weight = self.weights[((y * stage.kernel[1] + x) * group_in + k) * stage.channels + channel]
            value = cast(guarded(inside, self.input.buffer[source]), "float32")
            T.buffer_store(total, total[0] + value * cast(weight, "float32"), [0])
        residual = None
        if self.residual is not None:
            residual = cast(self.residual.buffer[self.residual.at(image, row, column, channel)], "float32")
        value = finished(total[0], residual, stage.activation, spec.residual_first)
        store(self.output.buffer, value, [self.output.at(image, row, column, channel)])
