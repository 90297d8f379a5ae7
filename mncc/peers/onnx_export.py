"""A network with its weights as an ONNX model.

Pictures are (N, C, H, W), as ONNX's operators want them; values of other ranks keep their layout. Norms stay
operators of their own: folding them is the engine's work. The element order of what a program sees (reshapes, the
axes of slices) is translated, so the model computes the same numbers. Source: the ONNX operator documents, opset 17.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mncc.network.graph import Network, Node
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
from mncc.network.window import Pads
from mncc.peers.engines import PeerError
from mncc.peers.fold import split_parts
from mncc.peers.windows import covering_pads

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 17, 8
"""Old enough for every engine, new enough for HardSwish and for Resize without a region of interest."""

_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_AXES_FIRST = (0, 2, 3, 1)
"""Where an axis of (N, H, W, C) stands in (N, C, H, W)."""

Tensors = Mapping[tuple[str, str], np.ndarray]
"""(node name, role) -> float32 array, in the operators' layouts."""


def export_onnx(network: Network, tensors: Tensors) -> onnx.ModelProto:
    """The model. Inputs and outputs have the network's names. Raises PeerError where the package `onnx` is missing
    or an operator has no counterpart."""
    try:
        from onnx import checker, helper
    except ImportError as error:
        raise PeerError("networks are handed over as ONNX: pip install 'mncc[peers]'") from error
    graph = Graph(network, tensors)
    for node in network.nodes:
        if type(node.op) not in _EXPORT:
            raise PeerError(f"{node.op.name} has no counterpart in ONNX")
        _EXPORT[type(node.op)](graph, node)
    for output in network.outputs:
        # A value can be an output twice, or an input as well: the name of an output is always one more.
        graph.add("Identity", [graph.names[output.value]], output=f"output:{output.name}")
    made = helper.make_graph(
        graph.nodes,
        network.name,
        [_declared(graph.names[i.name], i.type) for i in network.inputs],
        [_declared(f"output:{o.name}", network.types[o.value]) for o in network.outputs],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="mncc")
    model.ir_version = IR_VERSION
    checker.check_model(model)
    return model


def shape_first(type: TensorType) -> tuple[int, ...]:
    """The shape of a value in the model."""
    return tuple(type.shape[axis] for axis in _TO_FIRST) if type.rank == 4 else type.shape


class Graph:
    """The model while it grows. `names` says what a network's value is called in it."""

    def __init__(self, network: Network, tensors: Tensors) -> None:
        self.network = network
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.names = {i.name: f"input:{i.name}" for i in network.inputs}
        self.parts = split_parts(network)
        self._tensors = tensors
        self._count = 0

    def inputs(self, node: Node) -> list[str]:
        """What the node's inputs are called in the model."""
        return [self.names[name] for name in node.inputs]

    def type(self, node: Node) -> TensorType:
        """The type of the node's first input."""
        return self.network.types[node.inputs[0]]

    def weight(self, node: Node, role: str) -> np.ndarray:
        """A weight tensor of the node in mncc's layout."""
        return self._tensors[node.name, role]

    def constant(self, array: np.ndarray) -> str:
        """The name of a constant of the model."""
        from onnx import numpy_helper

        name = self._fresh("constant")
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, values: Sequence[int]) -> str:
        """A constant of 64-bit integers: shapes, axes."""
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        """A constant number."""
        return self.constant(np.array(value, np.float32))

    def add(self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Adds an operator and answers the name of what it makes."""
        output = output or self._fresh(op)
        self.add_several(op, inputs, [output], **attributes)
        return output

    def add_several(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Adds an operator that makes all of `outputs`."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), **attributes))

    def make(self, node: Node, op: str, inputs: Sequence[str], **attributes: Any) -> None:
        """Adds the operator that makes the node's value."""
        self.names[node.name] = self.add(op, inputs, node.name, **attributes)

    def channels_last(self, name: str, type: TensorType) -> str:
        """A value with its elements in the network's order, whatever its rank; free where the order is the same."""
        return self.add("Transpose", [name], perm=_TO_LAST) if _order_matters(type) else name

    def _fresh(self, word: str) -> str:
        self._count += 1
        return f"{word}:{self._count}"


def _order_matters(type: TensorType) -> bool:
    return type.rank == 4 and type.shape[3] > 1 and type.shape[1] * type.shape[2] > 1


def _declared(name: str, type: TensorType) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape_first(type))


def _axis(axis: int, rank: int) -> int:
    resolved = axis % rank
    return _AXES_FIRST[resolved] if rank == 4 else resolved


def _pads(padding: Pads) -> list[int]:
    return [padding[0][0], padding[1][0], padding[0][1], padding[1][1]]


def _conv(graph: Graph, node: Node) -> None:
    op, kernel = node.op, graph.weight(node, "kernel")
    if isinstance(op, Depthwise):
        kh, kw, channels, multiplier = kernel.shape
        kernel, groups = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, kh, kw), channels
    else:
        assert isinstance(op, Conv2d)
        kernel, groups = kernel.transpose(3, 2, 0, 1), op.groups
    inputs = [*graph.inputs(node), graph.constant(kernel)]
    if op.bias:
        inputs.append(graph.constant(graph.weight(node, "bias")))
    graph.make(
        node,
        "Conv",
        inputs,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=_pads(op.padding),
        dilations=op.dilation,
        group=groups,
    )


def _dense(graph: Graph, node: Node) -> None:
    assert isinstance(node.op, Dense)
    inputs = [*graph.inputs(node), graph.constant(graph.weight(node, "kernel"))]
    if node.op.bias:
        inputs.append(graph.constant(graph.weight(node, "bias")))
    graph.make(node, "Gemm", inputs)


def _norm(graph: Graph, node: Node) -> None:
    assert isinstance(node.op, Norm)
    roles = [graph.weight(node, role) for role in ("gamma", "beta", "mean", "variance")]
    if node.type.rank in (2, 4):
        constants = [graph.constant(array) for array in roles]
        graph.make(node, "BatchNormalization", graph.inputs(node) + constants, epsilon=node.op.epsilon)
        return
    # ONNX's channel axis is the second one; the network's is the last.
    gamma, beta, mean, variance = (array.astype(np.float64) for array in roles)
    scale = gamma / np.sqrt(variance + node.op.epsilon)
    scaled = graph.add("Mul", [*graph.inputs(node), graph.constant(scale.astype(np.float32))])
    graph.make(node, "Add", [scaled, graph.constant((beta - mean * scale).astype(np.float32))])


def _activation(graph: Graph, node: Node) -> None:
    op, inputs = node.op, graph.inputs(node)
    assert isinstance(op, Activation)
    if op.kind == "relu6":
        graph.make(node, "Clip", [*inputs, graph.scalar(0.0), graph.scalar(6.0)])
    elif op.kind == "hard_sigmoid":
        graph.make(node, "HardSigmoid", inputs, alpha=1 / 6, beta=0.5)
    elif op.kind == "swish":
        graph.make(node, "Mul", [*inputs, graph.add("Sigmoid", inputs)])
    elif op.kind == "leaky":
        graph.make(node, "LeakyRelu", inputs, alpha=op.slope)
    else:
        graph.make(node, {"relu": "Relu", "sigmoid": "Sigmoid", "hard_swish": "HardSwish"}[op.kind], inputs)


def _elementwise(op: str) -> Callable[[Graph, Node], None]:
    def export(graph: Graph, node: Node) -> None:
        graph.make(node, op, [_aligned(graph, name, node.type.rank) for name in node.inputs])

    return export


def _aligned(graph: Graph, value: str, rank: int) -> str:
    """A value with ones behind the batch until it has `rank` axes, as the network's broadcasting has it."""
    name, type = graph.names[value], graph.network.types[value]
    if type.rank == rank:
        return name
    shape = (type.shape[0], *[1] * (rank - type.rank), *type.shape[1:])
    return _reshaped(graph, name, type, TensorType(shape))


def _reshaped(graph: Graph, name: str, old: TensorType, new: TensorType, output: str | None = None) -> str:
    """The same elements in the network's order under another shape."""
    name = graph.channels_last(name, old)
    if not _order_matters(new):
        return graph.add("Reshape", [name, graph.integers(shape_first(new))], output)
    return graph.add("Transpose", [graph.add("Reshape", [name, graph.integers(new.shape)])], output, perm=_TO_FIRST)


def _concat(graph: Graph, node: Node) -> None:
    assert isinstance(node.op, Concat)
    graph.make(node, "Concat", graph.inputs(node), axis=_axis(node.op.axis, node.type.rank))


def _slice(graph: Graph, node: Node) -> None:
    op = node.op
    assert isinstance(op, Slice)
    if node.name in graph.parts:
        _split(graph, node)
        return
    bounds = [graph.integers([number]) for number in (op.start, op.stop, _axis(op.axis, node.type.rank))]
    graph.make(node, "Slice", graph.inputs(node) + bounds)


def _split(graph: Graph, node: Node) -> None:
    """All slices of a value at the first of them."""
    if node.name in graph.names:
        return
    parts = graph.parts[node.name]
    names = [part.name for part in parts]
    assert isinstance(node.op, Slice)
    sizes = [part.type.shape[node.op.axis] for part in parts]
    axis = _axis(node.op.axis, node.type.rank)
    graph.add_several("Split", [*graph.inputs(node), graph.integers(sizes)], names, axis=axis)
    graph.names.update((name, name) for name in names)


def _softmax(graph: Graph, node: Node) -> None:
    graph.make(node, "Softmax", graph.inputs(node), axis=_axis(-1, node.type.rank))


def _mean(graph: Graph, node: Node) -> None:
    assert isinstance(node.op, Mean)
    graph.make(node, "ReduceMean", graph.inputs(node), axes=[_axis(node.op.axis, node.type.rank)], keepdims=1)


def _global_pool(graph: Graph, node: Node) -> None:
    assert isinstance(node.op, GlobalPool)
    graph.make(node, "GlobalAveragePool" if node.op.kind == "avg" else "GlobalMaxPool", graph.inputs(node))


def _covering(graph: Graph, node: Node) -> Pads:
    """The padding that a pool's windows need; ceil mode is said this way, for engines disagree about ONNX's."""
    assert isinstance(node.op, MaxPool | AvgPool)
    return covering_pads(node.op, graph.type(node), node.type)


def _max_pool(graph: Graph, node: Node) -> None:
    assert isinstance(node.op, MaxPool)
    pads = _pads(_covering(graph, node))
    graph.make(node, "MaxPool", graph.inputs(node), kernel_shape=node.op.kernel, strides=node.op.stride, pads=pads)


def _avg_pool(graph: Graph, node: Node) -> None:
    op, inputs, pads = node.op, graph.inputs(node), _covering(graph, node)
    assert isinstance(op, AvgPool)
    include = 0
    if op.count_include_pad:
        beyond = [max(pads[axis][1] - op.padding[axis][1], 0) for axis in range(2)]
        if not any(beyond):
            include = 1
        else:
            # Padding counts and what a partial window has beyond it does not: two kinds of padding, two operators.
            (top, bottom), (left, right) = op.padding
            around = graph.integers([0, 0, top, left, 0, 0, bottom, right])
            inputs = [graph.add("Pad", [*inputs, around, graph.scalar(0.0)])]
            pads = ((0, beyond[0]), (0, beyond[1]))
    graph.make(
        node,
        "AveragePool",
        inputs,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=_pads(pads),
        count_include_pad=include,
    )


def _reshape(graph: Graph, node: Node) -> None:
    (given,) = graph.inputs(node)
    graph.names[node.name] = _reshaped(graph, given, graph.type(node), node.type, node.name)


def _shuffle(graph: Graph, node: Node) -> None:
    assert isinstance(node.op, ChannelShuffle)
    n, h, w, channels = node.type.shape
    split = graph.integers([n, node.op.groups, channels // node.op.groups, h, w])
    parts = graph.add("Transpose", [graph.add("Reshape", [*graph.inputs(node), split])], perm=[0, 2, 1, 3, 4])
    graph.make(node, "Reshape", [parts, graph.integers([n, channels, h, w])])


def _upsample(graph: Graph, node: Node) -> None:
    op, inputs = node.op, graph.inputs(node)
    assert isinstance(op, Upsample)
    size = graph.type(node).shape[1:3]
    if op.mode == "bilinear":
        mode, coordinates = "linear", "align_corners" if op.align_corners else "half_pixel"
    elif all(new % old == 0 for new, old in zip(op.size, size, strict=True)):
        mode, coordinates = "nearest", "asymmetric"
    else:
        # Engines divide by a rounded scale and would pick other pixels here and there.
        rows, columns = (
            graph.integers([i * old // new for i in range(new)]) for new, old in zip(op.size, size, strict=True)
        )
        graph.make(node, "Gather", [graph.add("Gather", [*inputs, rows], axis=2), columns], axis=3)
        return
    graph.make(
        node,
        "Resize",
        [*inputs, "", "", graph.integers(shape_first(node.type))],
        mode=mode,
        coordinate_transformation_mode=coordinates,
        nearest_mode="floor",
    )


_EXPORT: Mapping[type[Op], Callable[[Graph, Node], None]] = {
    Activation: _activation,
    Add: _elementwise("Add"),
    AvgPool: _avg_pool,
    ChannelShuffle: _shuffle,
    Concat: _concat,
    Conv2d: _conv,
    Dense: _dense,
    Depthwise: _conv,
    GlobalPool: _global_pool,
    MaxPool: _max_pool,
    Mean: _mean,
    Multiply: _elementwise("Mul"),
    Norm: _norm,
    Reshape: _reshape,
    Slice: _slice,
    Softmax: _softmax,
    Upsample: _upsample,
}
