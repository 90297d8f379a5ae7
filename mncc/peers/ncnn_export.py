"""A network as ncnn's pair of files, in float32: `.param`, a line a layer, and `.bin`, the weights in that order.

Values are (C, H, W), (A, C) or (C,), without a batch: the engine takes one picture after the other. Source: ncnn's
wiki, "param and model file structure" and "operators".
"""

from __future__ import annotations

import struct
from collections import Counter
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
from mncc.peers.engines import PeerError
from mncc.peers.fold import Step, fold, split_parts
from mncc.peers.windows import counted_taps, covering_pads, nearest_is_exact

_MAGIC = 7767517
_FLOAT32 = struct.pack("<i", 0)
"""In front of weights: stored as they are."""
_SUM, _PRODUCT = 0, 2
_MEAN = 3
_REST = -233
"""A size of a split: what is left."""
_RIDING: Mapping[str, dict[str, Any]] = {
    "": {},
    "relu": {"p9": 1},
    "relu6": {"p9": 3, "p10": (0.0, 6.0)},
    "sigmoid": {"p9": 4},
    "hard_swish": {"p9": 6, "p10": (1 / 6, 0.5)},
}
"""Parameters of an activation inside of a layer with weights."""
_AXES = {4: {1: 1, 2: 2, 3: 0}, 3: {1: 0, 2: 1}, 2: {1: 0}}
"""Rank of the network's value -> its axis -> ncnn's."""
_TO_LAST, _TO_FIRST, _TURNED = 3, 4, 1
"""Orders of Permute: (C, H, W) to (H, W, C), back, and a matrix the other way round."""


def export_ncnn(network: Network, tensors: Mapping[tuple[str, str], np.ndarray], param: Path) -> None:
    """Writes `param` and, beside it, `param` with `.bin` behind its name. Inputs are in0, in1, ..., outputs out0, ...
    Raises PeerError where an operator or its form has no counterpart here."""
    for value in network.types.values():
        if not 2 <= value.rank <= 4:
            raise _refused(f"a value of shape {value.shape}")
    steps = fold(network, tensors, riding=_RIDING, on=(Conv2d, Depthwise, Dense))
    layers = Layers(network, steps)
    for index, given in enumerate(network.inputs):
        layers.add("Input", [], given.name, blob=f"in{index}")
    for step in steps:
        if type(step.op) not in _EXPORT:
            raise _refused(step.op.name)
        _EXPORT[type(step.op)](layers, step)
    for index, output in enumerate(network.outputs):
        layers.add("Noop", [layers.read(output.value)], f"output {index}", blob=f"out{index}")
    text = [str(_MAGIC), f"{len(layers.lines)} {layers.blobs}", *layers.lines]
    param.write_text("\n".join(text) + "\n", encoding="ascii")
    param.with_name(param.name + ".bin").write_bytes(b"".join(layers.weights))


def _refused(what: str) -> PeerError:
    return PeerError(f"{what} cannot be handed to ncnn yet")


class Layers:
    """The files while they grow. A blob is read once, so splits are made of a value that several steps read."""

    def __init__(self, network: Network, steps: Sequence[Step]) -> None:
        self.network = network
        self.lines: list[str] = []
        self.weights: list[bytes] = []
        self.blobs = 0
        self.parts = split_parts(network)
        # One layer makes all parts of a value.
        firsts = {id(parts): parts[0].name for parts in self.parts.values()}.values()
        reading = [step for step in steps if step.name not in self.parts or step.name in firsts]
        self._uses = Counter(name for step in reading for name in step.inputs)
        self._uses.update(output.value for output in network.outputs)
        self._unread: dict[str, list[str]] = {}

    def has(self, value: str) -> bool:
        """Whether a layer makes the value already."""
        return value in self._unread

    def read(self, value: str) -> str:
        """A blob of the value that nobody has read."""
        return self._unread[value].pop()

    def type(self, step: Step) -> TensorType:
        """The type of the step's first input."""
        return self.network.types[step.inputs[0]]

    def layer(self, kind: str, inputs: Sequence[str], blob: str = "", **parameters: object) -> str:
        """Adds a layer and answers the blob that it makes; `p4=1` is its parameter 4."""
        return self.several(kind, inputs, [blob or f"b{self.blobs}"], **parameters)[0]

    def several(self, kind: str, inputs: Sequence[str], blobs: Sequence[str], **parameters: object) -> Sequence[str]:
        """Adds a layer that makes all of these blobs and answers them."""
        words = [kind, f"l{len(self.lines)}", len(inputs), len(blobs), *inputs, *blobs]
        self.lines.append(" ".join(map(str, (*words, *_parameters(parameters)))))
        self.blobs += len(blobs)
        return blobs

    def fresh(self, count: int) -> list[str]:
        """Names of as many blobs that are not made yet."""
        return [f"b{self.blobs + part}" for part in range(count)]

    def add(self, kind: str, inputs: Sequence[str], value: str, blob: str = "", **parameters: object) -> None:
        """Adds the layer that makes a value of the network."""
        self.made(value, self.layer(kind, inputs, blob, **parameters))

    def made(self, value: str, blob: str) -> None:
        """A blob holds a value; it is split where several read it."""
        uses = self._uses[value]
        if uses < 2:
            self._unread[value] = [blob]
            return
        self._unread[value] = list(self.several("Split", [blob], self.fresh(uses)))


def _parameters(parameters: Mapping[str, object]) -> list[str]:
    """`0=3` of p0=3; an array stands as its length and elements under -23300 minus its number."""
    texts = []
    for name, value in parameters.items():
        number = int(name.removeprefix("p"))
        if isinstance(value, tuple):
            texts.append(f"{-23300 - number}={len(value)},{','.join(map(_number, value))}")
        else:
            texts.append(f"{number}={_number(value)}")
    return texts


def _number(value: object) -> str:
    """Only an `e` or a point tells a float from an integer."""
    return f"{value:.9e}" if isinstance(value, float) else str(value)


def _conv(layers: Layers, step: Step) -> None:
    op, kernel = step.op, step.kernel
    assert isinstance(op, Conv2d | Depthwise) and kernel is not None and step.bias is not None
    (_, h, w, depth), (_, _, _, channels) = layers.type(step).shape, layers.network.types[step.name].shape
    groups = depth if isinstance(op, Depthwise) else op.groups
    if isinstance(op, Depthwise):
        kernel = kernel.transpose(2, 3, 0, 1)
    elif h == w == 1 and op.kernel == (1, 1) and groups == 1:
        # A picture of one pixel is a vector: ncnn's own converter makes a dense layer of this.
        layers.made(step.name, _as_picture(layers, _inner_product(layers, step, kernel[0, 0]), channels))
        return
    else:
        kernel = kernel.transpose(3, 2, 0, 1)
    layers.weights += [_FLOAT32, kernel.astype("<f4").tobytes(), step.bias.astype("<f4").tobytes()]
    shape: dict[str, Any] = {"p1": op.kernel[1], "p11": op.kernel[0], "p2": op.dilation[1], "p12": op.dilation[0]}
    shape |= {"p3": op.stride[1], "p13": op.stride[0], "p4": op.padding[1][0], "p15": op.padding[1][1]}
    shape |= {"p14": op.padding[0][0], "p16": op.padding[0][1], "p5": 1, "p6": kernel.size}
    if groups > 1 or isinstance(op, Depthwise):
        shape["p7"] = groups
    kind = "ConvolutionDepthWise" if "p7" in shape else "Convolution"
    layers.add(kind, [layers.read(step.inputs[0])], step.name, p0=channels, **shape, **_RIDING[step.activation])


def _as_picture(layers: Layers, blob: str, channels: int) -> str:
    return layers.layer("Reshape", [blob], p0=1, p1=1, p2=channels)


def _inner_product(layers: Layers, step: Step, kernel: np.ndarray) -> str:
    """A dense layer; kernel (in, out)."""
    assert step.bias is not None
    layers.weights += [_FLOAT32, kernel.T.astype("<f4").tobytes(), step.bias.astype("<f4").tobytes()]
    inputs = [layers.read(step.inputs[0])]
    return layers.layer("InnerProduct", inputs, p0=kernel.shape[1], p1=1, p2=kernel.size, **_RIDING[step.activation])


def _dense(layers: Layers, step: Step) -> None:
    assert step.kernel is not None
    layers.made(step.name, _inner_product(layers, step, step.kernel))


def _norm(layers: Layers, step: Step) -> None:
    assert step.kernel is not None and step.bias is not None
    zeros, ones = np.zeros_like(step.bias), np.ones_like(step.bias)
    layers.weights += [array.astype("<f4").tobytes() for array in (step.kernel, zeros, ones, step.bias)]
    blob, matrix = layers.read(step.inputs[0]), layers.type(step).rank == 3
    # The channels of a matrix are its rows there.
    blob = layers.layer("Permute", [blob], p0=_TURNED) if matrix else blob
    blob = layers.layer("BatchNorm", [blob], p0=step.bias.size, p1=0.0)
    layers.made(step.name, layers.layer("Permute", [blob], p0=_TURNED) if matrix else blob)


def _elementwise(kind: int) -> Callable[[Layers, Step], None]:
    def export(layers: Layers, step: Step) -> None:
        rank = layers.network.types[step.name].rank
        layers.add("BinaryOp", [_aligned(layers, name, rank) for name in step.inputs], step.name, p0=kind)

    return export


def _aligned(layers: Layers, value: str, rank: int) -> str:
    """A value with ones in front until it has `rank` axes, as the network's broadcasting has it."""
    blob, type = layers.read(value), layers.network.types[value]
    if type.rank == rank:
        return blob
    if rank == 3:
        return layers.layer("Reshape", [blob], p0=type.shape[-1], p1=1)
    if type.rank == 2:
        return _as_picture(layers, blob, type.shape[-1])
    _, columns, channels = type.shape
    turned = layers.layer("Permute", [blob], p0=_TURNED)
    return layers.layer("Reshape", [turned], p0=columns, p1=1, p2=channels)


def _activated(layers: Layers, blob: str, kind: str, slope: float = 0.0) -> str:
    layers_of: dict[str, tuple[str, dict[str, Any]]] = {
        "relu": ("ReLU", {}),
        "leaky": ("ReLU", {"p0": slope}),
        "relu6": ("Clip", {"p0": 0.0, "p1": 6.0}),
        "sigmoid": ("Sigmoid", {}),
        "swish": ("Swish", {}),
        "hard_sigmoid": ("HardSigmoid", {"p0": 1 / 6, "p1": 0.5}),
        "hard_swish": ("HardSwish", {"p0": 1 / 6, "p1": 0.5}),
    }
    layer, parameters = layers_of[kind]
    return layers.layer(layer, [blob], **parameters)


def _activation(layers: Layers, step: Step) -> None:
    assert isinstance(step.op, Activation)
    layers.made(step.name, _activated(layers, layers.read(step.inputs[0]), step.op.kind, step.op.slope))


def _pool(layers: Layers, step: Step) -> None:
    op, given, made = step.op, layers.type(step), layers.network.types[step.name]
    assert isinstance(op, MaxPool | AvgPool)
    blob, pads, include = layers.read(step.inputs[0]), covering_pads(op, given, made), 0
    if isinstance(op, AvgPool) and op.count_include_pad and op.padding != ((0, 0), (0, 0)):
        if np.all(counted_taps(op, given, made, include_pad=True) == op.kernel[0] * op.kernel[1]):
            include = 1
        else:
            # Padding counts and what a window of ceil mode has beyond it does not: two kinds of padding, two layers.
            (top, bottom), (left, right) = op.padding
            blob = layers.layer("Padding", [blob], p0=top, p1=bottom, p2=left, p3=right, p4=0, p5=0.0)
            pads = ((0, max(pads[0][1] - bottom, 0)), (0, max(pads[1][1] - right, 0)))
    shape: dict[str, Any] = {"p1": op.kernel[1], "p11": op.kernel[0], "p2": op.stride[1], "p12": op.stride[0], "p5": 1}
    shape |= {"p3": pads[1][0], "p14": pads[1][1], "p13": pads[0][0], "p15": pads[0][1], "p6": include}
    layers.add("Pooling", [blob], step.name, p0=int(isinstance(op, AvgPool)), **shape)


def _global_pool(layers: Layers, step: Step) -> None:
    assert isinstance(step.op, GlobalPool)
    pooled = layers.layer("Pooling", [layers.read(step.inputs[0])], p0=int(step.op.kind == "avg"), p4=1)
    layers.made(step.name, _as_picture(layers, pooled, layers.type(step).shape[-1]))


def _axis(axis: int, type: TensorType) -> int:
    return _AXES[type.rank][axis % type.rank]


def _mean(layers: Layers, step: Step) -> None:
    assert isinstance(step.op, Mean)
    axes = (_axis(step.op.axis, layers.type(step)),)
    layers.add("Reduction", [layers.read(step.inputs[0])], step.name, p0=_MEAN, p1=0, p3=axes, p4=1, p5=1)


def _concat(layers: Layers, step: Step) -> None:
    assert isinstance(step.op, Concat)
    axis = _axis(step.op.axis, layers.type(step))
    layers.add("Concat", [layers.read(name) for name in step.inputs], step.name, p0=axis)


def _slice(layers: Layers, step: Step) -> None:
    op = step.op
    assert isinstance(op, Slice)
    if layers.has(step.name):
        return  # made with the first slice of its value
    axis, blob = _axis(op.axis, layers.type(step)), layers.read(step.inputs[0])
    if step.name not in layers.parts:
        layers.add("Crop", [blob], step.name, p9=(op.start,), p10=(op.stop,), p11=(axis,))
        return
    parts = layers.parts[step.name]
    sizes = tuple(part.type.shape[op.axis] for part in parts)
    made = layers.several("Slice", [blob], layers.fresh(len(parts)), p0=(*sizes[:-1], _REST), p1=axis)
    for part, each in zip(parts, made, strict=True):
        layers.made(part.name, each)


def _reshape(layers: Layers, step: Step) -> None:
    old, new = layers.type(step), layers.network.types[step.name]
    blob = layers.read(step.inputs[0])
    if _order_matters(old):
        blob = layers.layer("Permute", [blob], p0=_TO_LAST)
    if _order_matters(new):
        _, h, w, c = new.shape
        blob = layers.layer("Reshape", [blob], p0=c, p1=w, p2=h)
        layers.add("Permute", [blob], step.name, p0=_TO_FIRST)
    elif new.rank == 4:
        _, h, w, c = new.shape
        layers.add("Reshape", [blob], step.name, p0=w, p1=h, p2=c)
    elif new.rank == 3:
        layers.add("Reshape", [blob], step.name, p0=new.shape[2], p1=new.shape[1])
    else:
        layers.add("Reshape", [blob], step.name, p0=new.shape[1])


def _order_matters(type: TensorType) -> bool:
    return type.rank == 4 and type.shape[3] > 1 and type.shape[1] * type.shape[2] > 1


def _shuffle(layers: Layers, step: Step) -> None:
    assert isinstance(step.op, ChannelShuffle)
    layers.add("ShuffleChannel", [layers.read(step.inputs[0])], step.name, p0=step.op.groups)


def _softmax(layers: Layers, step: Step) -> None:
    layers.add("Softmax", [layers.read(step.inputs[0])], step.name, p0=_axis(-1, layers.type(step)), p1=1)


def _upsample(layers: Layers, step: Step) -> None:
    op, size = step.op, layers.type(step).shape[1:3]
    assert isinstance(op, Upsample)
    if op.mode == "nearest" and not all(nearest_is_exact(old, new) for old, new in zip(size, op.size, strict=True)):
        raise _refused(f"upsample from {size[0]}x{size[1]} to {op.size[0]}x{op.size[1]}, whose scale rounds,")
    mode, corners = 1 if op.mode == "nearest" else 2, int(op.align_corners)
    layers.add("Interp", [layers.read(step.inputs[0])], step.name, p0=mode, p3=op.size[0], p4=op.size[1], p6=corners)


_EXPORT: Mapping[type[Op], Callable[[Layers, Step], None]] = {
    Activation: _activation,
    Add: _elementwise(_SUM),
    AvgPool: _pool,
    ChannelShuffle: _shuffle,
    Concat: _concat,
    Conv2d: _conv,
    Dense: _dense,
    Depthwise: _conv,
    GlobalPool: _global_pool,
    MaxPool: _pool,
    Mean: _mean,
    Multiply: _elementwise(_PRODUCT),
    Norm: _norm,
    Reshape: _reshape,
    Slice: _slice,
    Softmax: _softmax,
    Upsample: _upsample,
}
