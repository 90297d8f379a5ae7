"""Every operator's compute definition, compiled as it stands, against its torch twin in float64."""

from __future__ import annotations

import numpy as np
import pytest

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

CASES: list[tuple[str, Op, list[tuple[int, ...]]]] = [
    ("conv_1x1", Conv2d(5), [(5, 7, 3)]),
    ("conv_3x3_same", Conv2d(7, (3, 3), (2, 2), ((0, 1), (1, 1)), bias=True), [(8, 9, 3)]),
    ("conv_groups", Conv2d(6, (3, 1), (1, 2), ((1, 1), (0, 0)), groups=3), [(5, 7, 9)]),
    ("conv_dilated", Conv2d(4, (3, 3), (1, 1), ((2, 2), (2, 1)), (2, 2), groups=2, bias=True), [(7, 6, 4)]),
    ("depthwise_3x3", Depthwise((3, 3), (2, 2), ((1, 1), (1, 1))), [(7, 8, 5)]),
    ("depthwise_multiplier", Depthwise((3, 5), (1, 2), ((0, 2), (2, 1)), (2, 1), 3, bias=True), [(7, 8, 5)]),
    ("norm", Norm(1e-3), [(3, 5, 7)]),
    ("norm_vector", Norm(), [(9,)]),
    *[(kind, Activation(kind), [(5, 7, 9)]) for kind in ("relu", "relu6", "hard_swish", "hard_sigmoid")],
    *[(kind, Activation(kind, 0.2), [(5, 7, 9)]) for kind in ("sigmoid", "swish", "leaky")],
    ("add", Add(), [(3, 5, 7), (3, 5, 7)]),
    ("add_vector", Add(), [(3, 5, 7), (7,)]),
    ("multiply_gate", Multiply(), [(3, 5, 7), (1, 1, 7)]),
    ("multiply_both", Multiply(), [(3, 1, 7), (1, 5, 1)]),
    ("concat_channels", Concat(), [(3, 5, 2), (3, 5, 4), (3, 5, 1)]),
    ("concat_rows", Concat(1), [(3, 5, 2), (1, 5, 2)]),
    ("slice_channels", Slice(-1, 2, 5), [(3, 5, 7)]),
    ("slice_rows", Slice(1, 1, 3), [(3, 5, 7)]),
    ("maxpool", MaxPool((3, 3), (2, 2), ((1, 1), (1, 1))), [(7, 8, 3)]),
    ("maxpool_ceil", MaxPool((3, 3), (2, 2), ceil=True), [(8, 6, 3)]),
    ("avgpool", AvgPool((2, 3), (1, 2)), [(5, 7, 3)]),
    ("avgpool_padded", AvgPool((3, 3), (2, 2), ((1, 1), (0, 1)), True, True), [(6, 8, 3)]),
    ("avgpool_counted", AvgPool((3, 3), (2, 2), ((1, 1), (1, 0)), True, False), [(6, 8, 3)]),
    ("global_avg", GlobalPool(), [(5, 7, 3)]),
    ("global_max", GlobalPool("max"), [(5, 7, 3)]),
    ("mean_channels", Mean(-1), [(5, 7, 3)]),
    ("mean_rows", Mean(1), [(5, 7, 3)]),
    ("dense", Dense(5), [(37,)]),
    ("dense_plain", Dense(3, bias=False), [(8,)]),
    ("softmax", Softmax(), [(10,)]),
    ("softmax_picture", Softmax(), [(3, 2, 5)]),
    ("shuffle", ChannelShuffle(3), [(2, 3, 12)]),
    ("reshape", Reshape((10, 21)), [(5, 7, 6)]),
    ("flatten", Reshape((30,)), [(5, 3, 2)]),
    ("nearest", Upsample((11, 4)), [(5, 7, 3)]),
    ("bilinear", Upsample((11, 5), "bilinear"), [(5, 7, 3)]),
    ("bilinear_corners", Upsample((9, 1), "bilinear", True), [(5, 7, 3)]),
]
EXACT = ("relu", "relu6", "concat", "slice", "maxpool", "global_max", "shuffle", "reshape", "flatten", "nearest")
"""Operators that only move or compare elements."""


def placeholders(op: Op, shapes: list[tuple[int, ...]]) -> tuple[list[TensorType], list[np.ndarray], dict]:
    """Types with the batch, inputs without it, and weights by role; the numbers depend on the case alone."""
    generator = np.random.Generator(np.random.PCG64(len(str(op)) + sum(map(sum, shapes))))
    types = [TensorType((1, *shape)) for shape in shapes]
    inputs = [generator.normal(0, 4, shape).astype(np.float32) for shape in shapes]
    weights = {
        role: np.abs(generator.normal(0, 1, t.shape) + (role == "variance")).astype(np.float32)
        if role == "variance"
        else generator.normal(0, 1, t.shape).astype(np.float32)
        for role, t in op.weights(*types).items()
    }
    return types, inputs, weights


@pytest.fixture(scope="module")
def compiled():
    """All cases compiled as one module: callable by name."""
    import tvm
    from tvm import te

    functions = {}
    for name, op, shapes in CASES:
        types, _, weights = placeholders(op, shapes)
        inputs = [te.placeholder(t.shape[1:], "float32", f"x{i}") for i, t in enumerate(types)]
        tensors = {role: te.placeholder(array.shape, "float32", role) for role, array in weights.items()}
        out = op.te(inputs, tensors)
        assert tuple(int(size) for size in out.shape) == op.infer(*types).shape[1:]
        function = te.create_prim_func([*inputs, *tensors.values(), out])
        functions[name] = function.with_attr("global_symbol", name)
    return tvm.compile(tvm.IRModule(functions), target="llvm")


@pytest.mark.parametrize(("name", "op", "shapes"), CASES, ids=[case[0] for case in CASES])
def test_compiled_agrees_with_twin(compiled, name: str, op: Op, shapes: list[tuple[int, ...]]) -> None:
    import torch
    import tvm

    types, inputs, weights = placeholders(op, shapes)
    out = tvm.runtime.empty(op.infer(*types).shape[1:], "float32")
    compiled[name](*[tvm.runtime.tensor(x) for x in (*inputs, *weights.values())], out)
    twin = op.torch(
        [torch.from_numpy(x).double()[None] for x in inputs],
        {role: torch.from_numpy(x).double() for role, x in weights.items()},
    )
    assert tuple(twin.shape) == op.infer(*types).shape
    expected = twin[0].numpy()
    if name.startswith(EXACT):
        np.testing.assert_array_equal(out.numpy(), expected)
    assert np.abs(out.numpy() - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["sigmoid", "swish"])
def test_sigmoid_is_accurate_everywhere(kind: str) -> None:
    """Relative to each element, over the arguments where float32 can hold the result, and finite beyond."""
    import torch
    import tvm
    from tvm import te

    x = np.concatenate([np.linspace(-86, 86, 20001), np.linspace(-1e-3, 1e-3, 101), [-1e4, 1e4, -200, 200]])
    x = x.astype(np.float32)
    tensor = te.placeholder(x.shape, "float32", "x")
    op = Activation(kind)
    function = te.create_prim_func([tensor, op.te([tensor], {})])
    out = tvm.runtime.empty(x.shape, "float32")
    tvm.compile(function, target="llvm")(tvm.runtime.tensor(x), out)
    expected = op.torch([torch.from_numpy(x).double()], {}).numpy()
    assert np.isfinite(out.numpy()).all()
    inside = np.abs(x) <= 86
    np.testing.assert_allclose(out.numpy()[inside], expected[inside], rtol=1e-6, atol=0)
    np.testing.assert_allclose(out.numpy()[~inside], expected[~inside], rtol=1e-6, atol=1e-33)


def test_softmax_survives_large_arguments(compiled) -> None:
    import tvm

    x = np.array([1e4, 1e4 - 1, -1e4, 0, 0, 0, 0, 0, 0, 9999], np.float32)
    out = tvm.runtime.empty(x.shape, "float32")
    compiled["softmax"](tvm.runtime.tensor(x), out)
    assert abs(out.numpy().sum() - 1) < 1e-6
    np.testing.assert_allclose(out.numpy()[:2], [1 / (1 + 2 / np.e), 1 / (2 + np.e)], rtol=1e-5)
