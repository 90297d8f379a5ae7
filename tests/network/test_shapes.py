"""What every shape rule makes, costs and refuses, and the words that it refuses with."""

from __future__ import annotations

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
    ShapeError,
    Slice,
    Softmax,
    Upsample,
)
from mncc.network.types import TensorType

ONE = ((1, 1), (1, 1))

REFUSED: list[tuple[Op, list[tuple[int, ...]], str]] = [
    (Conv2d(8), [(1, 10)], "conv needs an input of height x width x channels, but gets 10"),
    (Conv2d(8), [], "conv takes 1 input, but gets 0"),
    (Conv2d(0), [(1, 7, 7, 3)], "conv needs output channels of at least 1, but gets 0"),
    (Conv2d(8, groups=0), [(1, 7, 7, 3)], "conv needs groups of at least 1, but gets 0"),
    (Conv2d(8, groups=2), [(1, 7, 7, 3)], "3 input channels do not divide into 2 groups"),
    (Conv2d(8, groups=3), [(1, 7, 7, 3)], "8 output channels do not divide into 3 groups"),
    (Conv2d(8, (3, 0)), [(1, 7, 7, 3)], "conv needs kernel of at least 1, but gets 3x0"),
    (Conv2d(8, stride=(0, 1)), [(1, 7, 7, 3)], "conv needs stride of at least 1, but gets 0x1"),
    (Conv2d(8, (3, 3)), [(1, 2, 7, 3)], "the 3x3 window of conv is larger than its input of 2x7"),
    (
        Conv2d(8, (3, 3), padding=ONE, dilation=(4, 4)),
        [(1, 5, 7, 3)],
        "the 3x3 (reaching over 9x9) window of conv is larger than its input of 5x7 (padded to 7x9)",
    ),
    (
        Conv2d(8, padding=((0, -1), (0, 0))),
        [(1, 7, 7, 3)],
        "conv needs padding of at least 0, but gets ((0, -1), (0, 0))",
    ),
    (
        Conv2d(2**20),
        [(1, 64, 64, 3)],
        "the result of conv would be 64x64x1048576, 4,294,967,296 elements; at most 2,147,483,647 are allowed",
    ),
    (
        Conv2d(2**17),
        [(1, 1, 1, 2**17)],
        "the kernel of conv would be 1x131072x131072, 17,179,869,184 elements; at most 2,147,483,647 are allowed",
    ),
    (Depthwise((3, 3), multiplier=0), [(1, 7, 7, 3)], "depthwise needs multiplier of at least 1, but gets 0"),
    (Depthwise((9, 9)), [(1, 7, 7, 3)], "the 9x9 window of depthwise is larger than its input of 7x7"),
    (Norm(-1.0), [(1, 7)], "norm needs a finite epsilon of at least 0, but gets -1.0"),
    (Norm(), [(1,)], "norm needs a channel axis, but its input 1 has only the batch"),
    (Activation("gelu"), [(1, 7)], "there is no activation `gelu`"),
    (Activation("leaky", float("nan")), [(1, 7)], "the slope of leaky is nan, which is not a finite number"),
    (Add(), [(1, 7, 7, 3)], "add takes 2 inputs, but gets 1"),
    (
        Add(),
        [(1, 7, 7, 3), (1, 7, 7, 4)],
        "add cannot combine 7x7x3 with 7x7x4: sizes must agree or be 1, but 3 meets 4",
    ),
    (Multiply(), [(1, 7, 7, 3), (2, 7, 7, 3)], "the inputs of multiply have different batches: 1 and 2"),
    (Concat(), [], "concat takes at least one input, but gets none"),
    (
        Concat(0),
        [(1, 7), (1, 8)],
        "concat along axis 0 of a value with 2 axes; allowed: 1 to 1 (or -1 to -1); axis 0 is the batch",
    ),
    (Concat(), [(1, 7, 7, 3), (1, 7, 8, 3)], "concat along axis -1 cannot join 7x7x3 with 7x8x3: other sizes differ"),
    (Concat(), [(1, 7, 7, 3), (1, 3)], "concat along axis -1 cannot join 7x7x3 with 3: other sizes differ"),
    (Slice(-1, 2, 9), [(1, 7, 7, 3)], "slice takes 2:9 of axis -1, which has 3 elements in 7x7x3"),
    (Slice(-1, 2, 2), [(1, 7, 7, 3)], "slice takes 2:2 of axis -1, which has 3 elements in 7x7x3"),
    (MaxPool((2, 2), (2, 2)), [(1, 1, 4, 3)], "the 2x2 window of maxpool is larger than its input of 1x4"),
    (
        MaxPool((1, 1), (1, 1), ONE),
        [(1, 4, 4, 3)],
        "the padding of maxpool, 1 and 1, must be smaller than its 1x1 window",
    ),
    (AvgPool((7, 7), (1, 1), ceil=True), [(1, 4, 4, 3)], "the 7x7 window of avgpool is larger than its input of 4x4"),
    (GlobalPool("min"), [(1, 4, 4, 3)], "there is no global pooling `min`"),
    (Mean(0), [(2, 5)], "mean along axis 0 of a value with 2 axes; allowed: 1 to 1 (or -1 to -1); axis 0 is the batch"),
    (Dense(5), [(1, 7, 7, 3)], "dense needs a vector, but gets 7x7x3"),
    (Dense(0), [(1, 7)], "dense needs units of at least 1, but gets 0"),
    (Softmax(), [(1,)], "softmax needs a channel axis, but its input 1 has only the batch"),
    (ChannelShuffle(2), [(1, 4, 4, 3)], "3 channels do not divide into 2 groups"),
    (Reshape((10,)), [(1, 4, 4, 3)], "reshape cannot make 10 of 4x4x3: 10 elements instead of 48 a picture"),
    (Reshape((-1,)), [(1, 4, 4, 3)], "the result of reshape would be -1: every size must be at least 1"),
    (Reshape(()), [(1, 4, 4, 3)], "reshape needs at least one axis beside the batch"),
    (Upsample((0, 4)), [(1, 4, 4, 3)], "upsample needs size of at least 1, but gets 0x4"),
    (Upsample((8, 8), "cubic"), [(1, 4, 4, 3)], "there is no upsampling `cubic`"),
    (Upsample((8, 8), "nearest", True), [(1, 4, 4, 3)], "align_corners means nothing for nearest upsampling"),
    (Upsample((40000, 1)), [(1, 4, 4, 1)], "upsample from 4x4 to 40000x1: at most 32768 a side"),
]


@pytest.mark.parametrize(("op", "shapes", "message"), REFUSED, ids=[case[2][:40] for case in REFUSED])
def test_refused(op: Op, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        op.infer(*map(TensorType, shapes))
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("op", "shapes", "result", "macs", "params"),
    [
        (Conv2d(32, (3, 3), (2, 2), ONE), [(1, 224, 224, 3)], "112x112x32", 112 * 112 * 32 * 27, 864),
        (Conv2d(240, groups=3, bias=True), [(2, 7, 7, 24)], "2x7x7x240", 2 * 49 * 240 * 8, 240 * 8 + 240),
        (Depthwise((3, 3), (2, 2), ((0, 1), (0, 1))), [(1, 112, 112, 96)], "56x56x96", 56 * 56 * 96 * 9, 864),
        (Depthwise((3, 3), multiplier=2, bias=True), [(1, 5, 5, 4)], "3x3x8", 9 * 8 * 9, 72 + 8),
        (Norm(), [(1, 7, 7, 3)], "7x7x3", 0, 6),
        (Dense(1000), [(4, 1280)], "4x1000", 4 * 1280 * 1000, 1281000),
        (Multiply(), [(1, 7, 7, 3), (1, 3)], "7x7x3", 0, 0),
        (Concat(), [(1, 7, 7, 3), (1, 7, 7, 5)], "7x7x8", 0, 0),
        (MaxPool((3, 3), (2, 2), ceil=True), [(1, 112, 112, 64)], "56x56x64", 0, 0),
        (GlobalPool(), [(3, 7, 7, 1280)], "3x1x1x1280", 0, 0),
        (Mean(-1), [(1, 7, 7, 1280)], "7x7x1", 0, 0),
        (Reshape((1280,)), [(1, 1, 1, 1280)], "1280", 0, 0),
    ],
)
def test_results_and_costs(op: Op, shapes: list[tuple[int, ...]], result: str, macs: int, params: int) -> None:
    types = [TensorType(shape) for shape in shapes]
    assert str(op.infer(*types)) == result
    assert op.macs(*types) == macs
    assert op.params(*types) == params


def test_one_element_type() -> None:
    with pytest.raises(ShapeError, match="different element types: float16 and float32"):
        Add().infer(TensorType((1, 3)), TensorType((1, 3), "float16"))


def test_operators_need_neither_tvm_nor_torch() -> None:
    import subprocess
    import sys

    code = "import sys, mncc.network.ops; assert not {'tvm', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("op", "text"), [(Activation("relu6"), "relu6"), (Activation("leaky", 0.2), "leaky(slope=0.2)"), (Add(), "add()")]
)
def test_describe(op: Op, text: str) -> None:
    assert op.describe() == text
