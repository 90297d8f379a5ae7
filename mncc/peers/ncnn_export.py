"""A network as ncnn's pair of files, in float32: `.param`, a line a layer, and `.bin`, the weights in that order.

Values are (C, H, W) or (C,), without a batch. Source: ncnn's wiki, "param and model file structure" and "operators".
"""

from __future__ import annotations

import struct
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
    Multiply,
    Norm,
    Op,
    Reshape,
    Softmax,
)
from mncc.network.types import TensorType
from mncc.peers.engines import PeerError
from mncc.peers.fold import Step, fold

_MAGIC = 7767517
_FLOAT32 = struct.pack("<i", 0)
"""In front of weights: stored as they are."""
_SUM, _PRODUCT = 0, 2
_RELU, _CLIP = 1, 3


def export_ncnn(network: Network, tensors: Mapping[tuple[str, str], np.ndarray], param: Path) -> None:
    """Writes `param` and, beside it, `param` with `.bin` behind its name. Inputs are in0, in1, ..., outputs out0, ...
    Raises PeerError where an operator or its form has no counterpart here."""
    for value in network.types.values():
        if value.shape[0] != 1 or value.rank not in (2, 4):
            raise _refused(f"a value of shape {value.shape}")
    steps = fold(network, tensors)
    readers = [name for step in steps for name in step.inputs] + [output.value for output in network.outputs]
    layers = Layers(network, {name: readers.count(name) for name in network.types})
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
    """The files while they grow. A blob is read once; `uses` says how often a value is, and splits are made of it."""

    def __init__(self, network: Network, uses: Mapping[str, int]) -> None:
        self.network = network
        self.lines: list[str] = []
        self.weights: list[bytes] = []
        self.blobs = 0
        self._uses = uses
        self._unread: dict[str, list[str]] = {}

    def read(self, value: str) -> str:
        """A blob of the value that nobody has read."""
        return self._unread[value].pop()

    def type(self, step: Step) -> TensorType:
        """The type of the step's first input."""
        return self.network.types[step.inputs[0]]

    def layer(self, kind: str, inputs: Sequence[str], blob: str = "", **parameters: object) -> str:
        """Adds a layer and answers the blob that it makes; `p4=1` is its parameter 4."""
        blob = blob or f"b{self.blobs}"
        words = [kind, f"l{len(self.lines)}", len(inputs), 1, *inputs, blob]
        self.lines.append(" ".join(map(str, (*words, *_parameters(parameters)))))
        self.blobs += 1
        return blob

    def add(self, kind: str, inputs: Sequence[str], value: str, blob: str = "", **parameters: object) -> None:
        """Adds the layer that makes a value of the network."""
        self.made(value, self.layer(kind, inputs, blob, **parameters))

    def made(self, value: str, blob: str) -> None:
        """A blob holds a value; it is split where several read it."""
        uses = self._uses.get(value, 1)
        if uses < 2:
            self._unread[value] = [blob]
            return
        parts = [f"b{self.blobs + part}" for part in range(uses)]
        self.lines.append(" ".join(map(str, ("Split", f"l{len(self.lines)}", 1, uses, blob, *parts))))
        self.blobs += uses
        self._unread[value] = parts


def _parameters(parameters: Mapping[str, object]) -> list[str]:
    """`0=3` of p0=3; an array of floats stands as its length and elements under -23300 minus its number."""
    texts = []
    for name, value in parameters.items():
        number = int(name.removeprefix("p"))
        if isinstance(value, tuple):
            texts.append(f"{-23300 - number}={len(value)},{','.join(f'{each:e}' for each in value)}")
        else:
            texts.append(f"{number}={value:e}" if isinstance(value, float) else f"{number}={value}")
    return texts


def _riding(step: Step) -> dict[str, Any]:
    """Parameters of an activation inside of a layer."""
    if step.activation == "relu6":
        return {"p9": _CLIP, "p10": (0.0, 6.0)}
    return {"p9": _RELU} if step.activation == "relu" else {}


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
    layers.add(kind, [layers.read(step.inputs[0])], step.name, p0=channels, **shape, **_riding(step))


def _as_picture(layers: Layers, blob: str, channels: int) -> str:
    return layers.layer("Reshape", [blob], p0=1, p1=1, p2=channels)


def _inner_product(layers: Layers, step: Step, kernel: np.ndarray) -> str:
    """A dense layer; kernel (in, out)."""
    assert step.bias is not None
    layers.weights += [_FLOAT32, kernel.T.astype("<f4").tobytes(), step.bias.astype("<f4").tobytes()]
    inputs = [layers.read(step.inputs[0])]
    return layers.layer("InnerProduct", inputs, p0=kernel.shape[1], p1=1, p2=kernel.size, **_riding(step))


def _dense(layers: Layers, step: Step) -> None:
    assert step.kernel is not None
    layers.made(step.name, _inner_product(layers, step, step.kernel))


def _norm(layers: Layers, step: Step) -> None:
    assert step.kernel is not None and step.bias is not None
    zeros, ones = np.zeros_like(step.bias), np.ones_like(step.bias)
    layers.weights += [array.astype("<f4").tobytes() for array in (step.kernel, zeros, ones, step.bias)]
    layers.add("BatchNorm", [layers.read(step.inputs[0])], step.name, p0=step.bias.size, p1=0.0)


def _elementwise(kind: int) -> Callable[[Layers, Step], None]:
    def export(layers: Layers, step: Step) -> None:
        types = [layers.network.types[name] for name in step.inputs]
        blobs = [layers.read(name) for name in step.inputs]
        for index, type in enumerate(types):
            if type.rank < layers.network.types[step.name].rank:
                blobs[index] = _as_picture(layers, blobs[index], type.shape[-1])
        blob = layers.layer("BinaryOp", blobs, p0=kind)
        layers.made(step.name, _activated(layers, blob, step.activation) if step.activation else blob)

    return export


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
    op = step.op
    assert isinstance(op, MaxPool | AvgPool)
    if op.ceil or (isinstance(op, AvgPool) and op.padding != ((0, 0), (0, 0))):
        raise _refused(f"{op.name} with padding {op.padding}, ceil {op.ceil},")
    shape: dict[str, Any] = {"p1": op.kernel[1], "p11": op.kernel[0], "p2": op.stride[1], "p12": op.stride[0], "p5": 1}
    shape |= {"p3": op.padding[1][0], "p14": op.padding[1][1], "p13": op.padding[0][0], "p15": op.padding[0][1]}
    layers.add("Pooling", [layers.read(step.inputs[0])], step.name, p0=int(isinstance(op, AvgPool)), **shape)


def _global_pool(layers: Layers, step: Step) -> None:
    assert isinstance(step.op, GlobalPool)
    pooled = layers.layer("Pooling", [layers.read(step.inputs[0])], p0=int(step.op.kind == "avg"), p4=1)
    layers.made(step.name, _as_picture(layers, pooled, layers.type(step).shape[-1]))


def _concat(layers: Layers, step: Step) -> None:
    assert isinstance(step.op, Concat)
    axis, rank = step.op.axis % layers.type(step).rank, layers.type(step).rank
    position = {1: 1, 2: 2, 3: 0}[axis] if rank == 4 else 0
    layers.add("Concat", [layers.read(name) for name in step.inputs], step.name, p0=position)


def _reshape(layers: Layers, step: Step) -> None:
    (_, *old), (_, *new) = layers.type(step).shape, layers.network.types[step.name].shape
    if len(new) != 1:
        raise _refused(f"reshape to {new}")
    blob = layers.read(step.inputs[0])
    if len(old) == 3 and old[0] * old[1] > 1 and old[2] > 1:
        blob = layers.layer("Permute", [blob], p0=3)  # (C, H, W) to (H, W, C)
    layers.add("Reshape", [blob], step.name, p0=new[0])


def _shuffle(layers: Layers, step: Step) -> None:
    assert isinstance(step.op, ChannelShuffle)
    layers.add("ShuffleChannel", [layers.read(step.inputs[0])], step.name, p0=step.op.groups)


def _softmax(layers: Layers, step: Step) -> None:
    layers.add("Softmax", [layers.read(step.inputs[0])], step.name, p0=0, p1=1)


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
    Multiply: _elementwise(_PRODUCT),
    Norm: _norm,
    Reshape: _reshape,
    Softmax: _softmax,
}
