"""Every operator as ONNX, computed by ONNX itself and by onnxruntime where it is installed, against the twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from mncc.language.source import Source, Span
from mncc.network.graph import Input, Network, Node, Origin, Output
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
from mncc.peers import PeerError
from mncc.peers.onnx_export import _EXPORT, Tensors, export_onnx, shape_first
from mncc.reference import Twin
from mncc.weights import Weights

pytest.importorskip("onnx")

Evaluate = Callable[[object, dict[str, np.ndarray]], list[np.ndarray]]
"""An ONNX model and its inputs by name -> its outputs."""

PICTURE, SMALL, VECTOR, MATRIX = (2, 7, 6, 8), (2, 1, 1, 8), (2, 8), (2, 5, 8)
UNEVEN = ((0, 1), (2, 1))

CASES: dict[str, tuple[Op, list[tuple[int, ...]]]] = {
    "conv": (Conv2d(5, (3, 3), (2, 1), UNEVEN, bias=True), [PICTURE]),
    "grouped": (Conv2d(4, (3, 2), padding=((1, 1), (0, 0)), dilation=(2, 1), groups=2), [PICTURE]),
    "depthwise": (Depthwise((3, 3), (2, 2), UNEVEN, bias=True), [PICTURE]),
    "multiplier": (Depthwise((3, 3), multiplier=3), [PICTURE]),
    "dense": (Dense(3), [VECTOR]),
    "dense without bias": (Dense(3, bias=False), [VECTOR]),
    "norm": (Norm(1e-3), [PICTURE]),
    "norm of vectors": (Norm(), [VECTOR]),
    "norm of matrices": (Norm(), [MATRIX]),
    **{kind: (Activation(kind, 0.2), [PICTURE]) for kind in ("relu", "relu6", "sigmoid", "swish", "leaky")},
    **{kind: (Activation(kind), [PICTURE]) for kind in ("hard_swish", "hard_sigmoid")},
    "add": (Add(), [PICTURE, PICTURE]),
    "add a vector to a matrix": (Add(), [MATRIX, VECTOR]),
    "multiply by a column": (Multiply(), [PICTURE, (2, 7, 1, 1)]),
    "multiply by a vector": (Multiply(), [PICTURE, VECTOR]),
    "multiply by a pixel": (Multiply(), [SMALL, PICTURE]),
    "add a matrix": (Add(), [PICTURE, (2, 6, 1)]),
    "add a row": (Add(), [(2, 6, 8), PICTURE]),
    "concat channels": (Concat(-1), [PICTURE, (2, 7, 6, 3)]),
    "concat rows": (Concat(1), [PICTURE, (2, 2, 6, 8)]),
    "concat vectors": (Concat(1), [VECTOR, (2, 3)]),
    "slice channels": (Slice(-1, 2, 5), [PICTURE]),
    "slice columns": (Slice(2, 1, 4), [PICTURE]),
    "slice matrices": (Slice(-1, 1, 4), [MATRIX]),
    "concat matrices": (Concat(2), [MATRIX, (2, 5, 3)]),
    "concat columns": (Concat(2), [PICTURE, (2, 7, 2, 8)]),
    "softmax of matrices": (Softmax(), [MATRIX]),
    "softmax": (Softmax(), [PICTURE]),
    "softmax of vectors": (Softmax(), [VECTOR]),
    "mean of channels": (Mean(3), [PICTURE]),
    "mean of columns": (Mean(2), [PICTURE]),
    "mean of vectors": (Mean(1), [VECTOR]),
    "mean of matrices": (Mean(1), [MATRIX]),
    "global average": (GlobalPool(), [PICTURE]),
    "global largest": (GlobalPool("max"), [PICTURE]),
    "maxpool": (MaxPool((3, 3), (2, 2), ((1, 1), (1, 0))), [PICTURE]),
    "maxpool ceil": (MaxPool((3, 3), (2, 2), ceil=True), [PICTURE]),
    "maxpool same": (MaxPool((3, 3), (2, 2), ((1, 1), (0, 1))), [PICTURE]),
    "maxpool ceil and pad": (MaxPool((3, 3), (2, 2), ((1, 1), (0, 0)), ceil=True), [PICTURE]),
    "maxpool with pixels left": (MaxPool((2, 2), (4, 4)), [PICTURE]),
    "avgpool": (AvgPool((3, 3), (2, 2), ((1, 1), (1, 0))), [PICTURE]),
    "avgpool of pixels": (AvgPool((3, 3), (2, 2), ((1, 1), (1, 0)), count_include_pad=False), [PICTURE]),
    "avgpool ceil": (AvgPool((3, 3), (2, 2), ((1, 0), (0, 0)), ceil=True), [(2, 7, 6, 8)]),
    "avgpool of pixels ceil": (AvgPool((3, 3), (2, 2), ceil=True, count_include_pad=False), [PICTURE]),
    "avgpool same": (AvgPool((3, 3), (2, 2), ((1, 1), (0, 1)), count_include_pad=False), [PICTURE]),
    "avgpool uneven": (AvgPool((3, 2), (2, 1), ((0, 1), (1, 0))), [PICTURE]),
    "avgpool beyond its padding": (AvgPool((3, 3), (2, 2), ((1, 0), (1, 1)), ceil=True), [PICTURE]),
    "flatten": (Reshape((7 * 6 * 8,)), [PICTURE]),
    "flatten a pixel": (Reshape((8,)), [SMALL]),
    "to a matrix": (Reshape((42, 8)), [PICTURE]),
    "to a picture": (Reshape((2, 2, 10)), [MATRIX]),
    "picture to picture": (Reshape((6, 8, 7)), [PICTURE]),
    "shuffle": (ChannelShuffle(4), [PICTURE]),
    "nearest twice": (Upsample((14, 12)), [PICTURE]),
    "nearest thrice": (Upsample((21, 3)), [PICTURE]),
    "nearest odd": (Upsample((10, 4)), [PICTURE]),
    "bilinear": (Upsample((14, 9), "bilinear"), [PICTURE]),
    "bilinear corners": (Upsample((14, 11), "bilinear", align_corners=True), [PICTURE]),
}


def by_reference(model: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """ONNX's own, slow evaluator."""
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(model).run(None, feed))


def by_onnxruntime(model: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The engine."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


EVALUATORS = [by_reference, *([by_onnxruntime] if find_spec("onnxruntime") else [])]


def single(op: Op, shapes: Sequence[tuple[int, ...]]) -> tuple[Network, Tensors]:
    """A network of one operator, with weights."""
    random = np.random.default_rng(7)
    types = [TensorType(shape) for shape in shapes]
    origin = Origin(Span(Source("one.mn", "one\n"), 0, 3), "one", 0)
    inputs = tuple(Input(f"x{index}", type) for index, type in enumerate(types))
    node = Node("y", op, tuple(i.name for i in inputs), op.infer(*types), origin)
    network = Network("one", inputs, (node,), (Output("scores", "y"),))
    tensors = {}
    for role, type in network.weights(node).items():
        array = random.normal(size=type.shape).astype(np.float32)
        tensors["y", role] = np.abs(array) + 0.5 if role == "variance" else array
    return network, tensors


def computed(network: Network, tensors: Tensors, inputs: Sequence[np.ndarray], evaluate: Evaluate) -> list[np.ndarray]:
    """The model's outputs in the network's layout."""
    pairs = zip(network.inputs, inputs, strict=True)
    feed = {f"input:{i.name}": a.transpose(0, 3, 1, 2) if a.ndim == 4 else a for i, a in pairs}
    outputs = evaluate(export_onnx(network, tensors), feed)
    for output, array in zip(network.outputs, outputs, strict=True):
        assert array.shape == shape_first(network.types[output.value])
    return [array.transpose(0, 2, 3, 1) if array.ndim == 4 else array for array in outputs]


@pytest.mark.parametrize("evaluate", EVALUATORS)
@pytest.mark.parametrize("name", CASES)
def test_operators(name: str, evaluate: Evaluate) -> None:
    op, shapes = CASES[name]
    network, tensors = single(op, shapes)
    random = np.random.default_rng(1)
    inputs = [4 * random.standard_normal(shape, dtype=np.float32) for shape in shapes]
    expected = Twin(network, Weights(tensors, "")).run(inputs)["y"]
    (got,) = computed(network, tensors, inputs, evaluate)
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


def test_every_exporter_has_a_case() -> None:
    assert set(_EXPORT) == {type(op) for op, _ in CASES.values()}


@pytest.mark.parametrize("evaluate", EVALUATORS)
def test_networks(evaluate: Evaluate) -> None:
    from mncc.elaborate import load
    from mncc.weights import load_weights

    network = load(Path(__file__).resolve().parents[2] / "docs" / "tiny.mn", {"batch": "2"})
    weights = load_weights(network, "random:3")
    inputs = [np.random.default_rng(2).standard_normal(i.type.shape, dtype=np.float32) for i in network.inputs]
    values = Twin(network, weights).run(inputs)
    for output, got in zip(network.outputs, computed(network, weights.tensors, inputs, evaluate), strict=True):
        expected = values[output.value]
        assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


def test_an_operator_without_a_counterpart() -> None:
    class Hamster(Activation):
        name = "hamster"

    network, tensors = single(Hamster("relu"), [VECTOR])
    with pytest.raises(PeerError, match="hamster has no counterpart in ONNX"):
        export_onnx(network, tensors)
