"""A network as a LiteRT (TensorFlow Lite) program in float32: the operators in the format's own words.

What is written is not a .tflite yet but all that goes into one, in an .npz: the engine's own package has the tables of
its file format, and the worker makes the file with them. Pictures are (N, H, W, C), as in the network. Source: the
schema of TensorFlow Lite, `schema.fbs`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mncc.network.graph import Network
from mncc.network.ops import (
    Activation,
    Add,
    AvgPool,
    ChannelShuffle,
    Concat,
    Conv2d,
    Dense,
    Depthwise,
    GlobalPool,
    MaxPool,
    Mean,
    Multiply,
    Norm,
    Op,
    Reshape,
    Slice,
    Softmax,
    Upsample,
)
from mncc.network.types import TensorType
from mncc.network.window import Pads, resolve_padding
from mncc.peers.engines import PeerError
from mncc.peers.fold import Step, fold
from mncc.peers.windows import counted_taps, covering_pads, nearest_is_exact

SAME, VALID = 0, 1
_ACTIVATIONS = {"": 0, "relu": 1, "relu6": 3}
_NO_PADS = ((0, 0), (0, 0))
_NEVER_NEGATIVE = ("relu", "relu6", "sigmoid", "hard_sigmoid")
_KEEPS_SIGN = (AvgPool, ChannelShuffle, Concat, GlobalPool, MaxPool, Mean, Reshape, Slice, Upsample)
_LOWEST = float(np.finfo(np.float32).min)


def export_litert(network: Network, tensors: Mapping[tuple[str, str], np.ndarray], file: Path) -> None:
    """Writes the .npz: `program` (JSON: tensors, operators, inputs, outputs) and an array a constant, named by the
    number of its tensor. Raises PeerError where an operator has no counterpart."""
    program = Program(network)
    for step in fold(network, tensors):
        if type(step.op) not in _EXPORT:
            raise PeerError(f"{step.op.name} cannot be handed to LiteRT yet")
        _EXPORT[type(step.op)](program, step)
        program.see_sign(step)
    content = {
        "tensors": program.tensors,
        "operators": program.operators,
        "inputs": [program.number[i.name] for i in network.inputs],
        "outputs": [program.number[o.value] for o in network.outputs],
    }
    text = np.frombuffer(json.dumps(content).encode(), np.uint8)
    with file.open("wb") as out:
        np.savez(out, allow_pickle=False, program=text, **program.constants)


class Program:
    """The program while it grows. `number` says which tensor a network's value is."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.tensors: list[dict[str, Any]] = []
        self.operators: list[dict[str, Any]] = []
        self.constants: dict[str, np.ndarray] = {}
        self.number = {i.name: self.tensor(i.name, i.type.shape) for i in network.inputs}
        self._never_negative: set[str] = set()

    def tensor(self, name: str, shape: Sequence[int], type: str = "FLOAT32") -> int:
        """A new tensor's number."""
        self.tensors.append({"name": name, "shape": list(shape), "type": type})
        return len(self.tensors) - 1

    def constant(self, array: np.ndarray) -> int:
        """The number of a constant: float32, or 32-bit integers."""
        number = self.tensor(f"constant:{len(self.tensors)}", array.shape, array.dtype.name.upper())
        self.constants[str(number)] = np.ascontiguousarray(array)
        return number

    def integers(self, values: Sequence[Any]) -> int:
        """A constant of 32-bit integers."""
        return self.constant(np.array(values, np.int32))

    def inputs(self, step: Step) -> list[int]:
        """The numbers of a step's inputs."""
        return [self.number[name] for name in step.inputs]

    def type(self, step: Step) -> TensorType:
        """The type of a step's first input."""
        return self.network.types[step.inputs[0]]

    def add(self, op: str, inputs: Sequence[int], shape: Sequence[int], options: str = "", **fields: Any) -> int:
        """Adds an operator and answers the number of what it makes."""
        made = self.tensor(f"{op}:{len(self.tensors)}", shape)
        self.operators.append({"op": op, "inputs": list(inputs), "output": made, "options": options, "fields": fields})
        return made

    def make(self, step: Step, op: str, inputs: Sequence[int], options: str = "", **fields: Any) -> None:
        """Adds the operator that makes a step's value."""
        self.number[step.name] = self.add(op, inputs, self.network.types[step.name].shape, options, **fields)

    def see_sign(self, step: Step) -> None:
        """Remembers a step's value where it is never negative."""
        clamped = step.activation or (step.op.kind if isinstance(step.op, Activation) else "")
        kept = isinstance(step.op, _KEEPS_SIGN) and self._never_negative.issuperset(step.inputs)
        if clamped in _NEVER_NEGATIVE or kept:
            self._never_negative.add(step.name)

    def padded(self, step: Step, pads: Pads, below: bool = False) -> int:
        """A step's input with zeros around it, by an operator of its own: the format's padding knows two words.
        With `below` the pixels around are below all others, or as low as the lowest."""
        n, h, w, c = self.type(step).shape
        inputs = [*self.inputs(step), self.integers([(0, 0), *pads, (0, 0)])]
        shape = (n, h + sum(pads[0]), w + sum(pads[1]), c)
        if below and step.inputs[0] not in self._never_negative:
            return self.add("PADV2", [*inputs, self.number_of(_LOWEST)], shape, "PadV2Options")
        # Zeros are what XNNPACK pads with; everything else it leaves to the interpreter.
        return self.add("PAD", inputs, shape, "PadOptions")

    def number_of(self, value: float) -> int:
        """A constant number."""
        return self.constant(np.array([value], np.float32))


def _conv(program: Program, step: Step) -> None:
    op, kernel = step.op, step.kernel
    assert isinstance(op, Conv2d | Depthwise) and kernel is not None and step.bias is not None
    pads, (given,) = op.padding, program.inputs(step)
    size = program.type(step).shape[1:3]
    same = tuple(resolve_padding("same", size[i], op.kernel[i], op.stride[i], op.dilation[i]) for i in range(2))
    if pads not in (_NO_PADS, same):
        given = program.padded(step, pads)
    fields = {
        "padding": SAME if pads == same else VALID,
        "strideH": op.stride[0],
        "strideW": op.stride[1],
        "dilationHFactor": op.dilation[0],
        "dilationWFactor": op.dilation[1],
        "fusedActivationFunction": _ACTIVATIONS[step.activation],
    }
    if isinstance(op, Depthwise):
        kernel = kernel.reshape(1, *op.kernel, -1)
        word, options, fields["depthMultiplier"] = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", op.multiplier
    else:
        kernel = kernel.transpose(3, 0, 1, 2)
        word, options = "CONV_2D", "Conv2DOptions"
    inputs = [given, program.constant(kernel), program.constant(step.bias)]
    program.make(step, word, inputs, options, **fields)


def _dense(program: Program, step: Step) -> None:
    assert step.kernel is not None and step.bias is not None
    inputs = [*program.inputs(step), program.constant(step.kernel.T), program.constant(step.bias)]
    activation = _ACTIVATIONS[step.activation]
    program.make(step, "FULLY_CONNECTED", inputs, "FullyConnectedOptions", fusedActivationFunction=activation)


def _norm(program: Program, step: Step) -> None:
    assert step.kernel is not None and step.bias is not None
    inputs, shape = [*program.inputs(step), program.constant(step.kernel)], program.type(step).shape
    scaled = program.add("MUL", inputs, shape, "MulOptions")
    program.make(step, "ADD", [scaled, program.constant(step.bias)], "AddOptions")


def _elementwise(word: str, options: str) -> Callable[[Program, Step], None]:
    def export(program: Program, step: Step) -> None:
        rank = program.network.types[step.name].rank
        inputs = [_aligned(program, name, rank) for name in step.inputs]
        program.make(step, word, inputs, options, fusedActivationFunction=_ACTIVATIONS[step.activation])

    return export


def _aligned(program: Program, value: str, rank: int) -> int:
    """A value with ones behind the batch until it has `rank` axes, as the network's broadcasting has it."""
    type = program.network.types[value]
    if type.rank == rank:
        return program.number[value]
    shape = (type.shape[0], *[1] * (rank - type.rank), *type.shape[1:])
    return _reshaped(program, program.number[value], shape)


def _reshaped(program: Program, given: int, shape: Sequence[int]) -> int:
    inputs = [given, program.integers(shape)]
    return program.add("RESHAPE", inputs, shape, "ReshapeOptions", newShape=list(shape))


def _activation(program: Program, step: Step) -> None:
    op, inputs, shape = step.op, program.inputs(step), program.type(step).shape
    assert isinstance(op, Activation)
    if op.kind == "leaky":
        program.make(step, "LEAKY_RELU", inputs, "LeakyReluOptions", alpha=op.slope)
    elif op.kind == "swish":
        program.make(step, "MUL", [*inputs, program.add("LOGISTIC", inputs, shape)], "MulOptions")
    elif op.kind == "hard_sigmoid":
        three, sixth = program.number_of(3.0), program.number_of(1 / 6)
        held = program.add("ADD", [*inputs, three], shape, "AddOptions", fusedActivationFunction=_ACTIVATIONS["relu6"])
        program.make(step, "MUL", [held, sixth], "MulOptions")
    else:
        words = {"relu": "RELU", "relu6": "RELU6", "sigmoid": "LOGISTIC", "hard_swish": "HARD_SWISH"}
        program.make(step, words[op.kind], inputs, "HardSwishOptions" if op.kind == "hard_swish" else "")


def _pool(program: Program, step: Step) -> None:
    op, given, made = step.op, program.type(step), program.network.types[step.name]
    assert isinstance(op, MaxPool | AvgPool)
    same = tuple(resolve_padding("same", given.shape[1 + i], op.kernel[i], op.stride[i]) for i in range(2))
    pads, (source,) = covering_pads(op, given, made), program.inputs(step)
    padding, correction = VALID, None
    if isinstance(op, AvgPool):
        taps = counted_taps(op, given, made, op.count_include_pad)
        # What is beyond the picture does not count where the format pads, and counts as zeros where a PAD does.
        fits = np.array_equal(taps, counted_taps(op, given, made, include_pad=False))
        if taps.min() < op.kernel[0] * op.kernel[1] and not (fits and pads == same):
            correction = (op.kernel[0] * op.kernel[1] / taps).astype(np.float32).reshape(1, *taps.shape, 1)
    else:
        fits = True
    if pads == same and pads != _NO_PADS and fits:
        padding = SAME
    elif pads != _NO_PADS:
        source = program.padded(step, pads, below=isinstance(op, MaxPool))
    window = {"strideH": op.stride[0], "strideW": op.stride[1], "filterHeight": op.kernel[0]}
    window |= {"filterWidth": op.kernel[1], "padding": padding}
    word = "MAX_POOL_2D" if isinstance(op, MaxPool) else "AVERAGE_POOL_2D"
    if correction is None:
        program.make(step, word, [source], "Pool2DOptions", **window)
        return
    pooled = program.add(word, [source], made.shape, "Pool2DOptions", **window)
    program.make(step, "MUL", [pooled, program.constant(correction)], "MulOptions")


def _reduce(program: Program, step: Step) -> None:
    op = step.op
    assert isinstance(op, GlobalPool | Mean)
    axes = [1, 2] if isinstance(op, GlobalPool) else [op.axis % program.type(step).rank]
    word = "REDUCE_MAX" if isinstance(op, GlobalPool) and op.kind == "max" else "MEAN"
    program.make(step, word, [*program.inputs(step), program.integers(axes)], "ReducerOptions", keepDims=True)


def _reshape(program: Program, step: Step) -> None:
    (given,) = program.inputs(step)
    program.number[step.name] = _reshaped(program, given, program.network.types[step.name].shape)


def _shuffle(program: Program, step: Step) -> None:
    assert isinstance(step.op, ChannelShuffle)
    n, h, w, channels = program.type(step).shape
    groups, width = step.op.groups, channels // step.op.groups
    (given,) = program.inputs(step)
    split = _reshaped(program, given, (n * h * w, groups, width))
    turned = program.add("TRANSPOSE", [split, program.integers([0, 2, 1])], (n * h * w, width, groups))
    program.number[step.name] = _reshaped(program, turned, (n, h, w, channels))


def _concat(program: Program, step: Step) -> None:
    assert isinstance(step.op, Concat)
    axis = step.op.axis % program.type(step).rank
    program.make(step, "CONCATENATION", program.inputs(step), "ConcatenationOptions", axis=axis)


def _slice(program: Program, step: Step) -> None:
    op, shape = step.op, program.network.types[step.name].shape
    assert isinstance(op, Slice)
    begin = [0] * len(shape)
    begin[op.axis] = op.start
    inputs = [*program.inputs(step), program.integers(begin), program.integers(shape)]
    program.make(step, "SLICE", inputs, "SliceOptions")


def _softmax(program: Program, step: Step) -> None:
    program.make(step, "SOFTMAX", program.inputs(step), "SoftmaxOptions", beta=1.0)


def _upsample(program: Program, step: Step) -> None:
    op, inputs, size = step.op, program.inputs(step), program.type(step).shape[1:3]
    assert isinstance(op, Upsample)
    if op.mode == "bilinear":
        fields = {"alignCorners": op.align_corners, "halfPixelCenters": not op.align_corners}
        inputs.append(program.integers(op.size))
        program.make(step, "RESIZE_BILINEAR", inputs, "ResizeBilinearOptions", **fields)
    elif all(nearest_is_exact(old, new) for old, new in zip(size, op.size, strict=True)):
        inputs.append(program.integers(op.size))
        program.make(step, "RESIZE_NEAREST_NEIGHBOR", inputs, "ResizeNearestNeighborOptions")
    else:
        # The engine's rounded scale would pick other pixels here and there.
        rows, columns = ([i * old // new for i in range(new)] for old, new in zip(size, op.size, strict=True))
        n, _, w, c = program.type(step).shape
        inputs.append(program.integers(rows))
        tall = program.add("GATHER", inputs, (n, op.size[0], w, c), "GatherOptions", axis=1)
        program.make(step, "GATHER", [tall, program.integers(columns)], "GatherOptions", axis=2)


_EXPORT: Mapping[type[Op], Callable[[Program, Step], None]] = {
    Activation: _activation,
    Add: _elementwise("ADD", "AddOptions"),
    AvgPool: _pool,
    ChannelShuffle: _shuffle,
    Concat: _concat,
    Conv2d: _conv,
    Dense: _dense,
    Depthwise: _conv,
    GlobalPool: _reduce,
    MaxPool: _pool,
    Mean: _reduce,
    Multiply: _elementwise("MUL", "MulOptions"),
    Norm: _norm,
    Reshape: _reshape,
    Slice: _slice,
    Softmax: _softmax,
    Upsample: _upsample,
}
