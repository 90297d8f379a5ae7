"""Small pieces of compute definitions (tvm.te) and of torch twins that operators share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mncc.network.window import Pads, Pair

if TYPE_CHECKING:
    import torch
    from tvm import te


def read_padded(x: te.Tensor, h: Any, w: Any, c: Any, padding: Pads, outside: Any, open_end: bool = False) -> Any:
    """`x[h, w, c]` where h and w count from the padded corner; `outside` where they fall on padding.

    Axes without padding get no condition at all, so that the usual kernel has none. `open_end` says that windows
    may reach past the trailing padding as well (ceil mode).
    """
    from tvm import te

    conditions = []
    for index, pads, size in ((h, padding[0], x.shape[0]), (w, padding[1], x.shape[1])):
        if pads[0]:
            conditions.append(index >= pads[0])
        if pads[1] or pads[0] or open_end:
            conditions.append(index < size + pads[0])
    value = x[h - padding[0][0], w - padding[1][0], c]
    if not conditions:
        return value
    return te.if_then_else(te.all(*conditions), value, outside)


def add_bias(x: te.Tensor, bias: te.Tensor) -> te.Tensor:
    """`x` with `bias` added along its last axis."""
    from tvm import te

    return te.compute(x.shape, lambda *index: x[index] + bias[index[-1]], name="biased")


def broadcast_te(a: te.Tensor, b: te.Tensor, combine: Callable[[Any, Any], Any], name: str) -> te.Tensor:
    """`combine` element by element with numpy's broadcasting; one stage, for inputs without a batch axis."""
    from tvm import te

    rank = max(len(a.shape), len(b.shape))
    shapes = [[1] * (rank - len(t.shape)) + [int(size) for size in t.shape] for t in (a, b)]

    def read(tensor: te.Tensor, shape: list[int], index: Sequence[Any]) -> Any:
        own = [0 if size == 1 else i for i, size in zip(index, shape, strict=True)]
        return tensor[tuple(own[rank - len(tensor.shape) :])]

    def element(*index: Any) -> Any:
        return combine(read(a, shapes[0], index), read(b, shapes[1], index))

    return te.compute([max(x, y) for x, y in zip(*shapes, strict=True)], element, name=name)


def broadcast_torch(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both tensors with ones behind the batch axis until their ranks agree."""
    rank = max(a.ndim, b.ndim)

    def align(t: torch.Tensor) -> torch.Tensor:
        return t.reshape(t.shape[0], *[1] * (rank - t.ndim), *t.shape[1:])

    return align(a), align(b)


def pad_torch(x: torch.Tensor, padding: Pads, value: float = 0.0) -> torch.Tensor:
    """An (N, C, H, W) tensor with explicit padding; negative padding crops."""
    import torch

    if padding == ((0, 0), (0, 0)):
        return x
    (top, bottom), (left, right) = padding
    return torch.nn.functional.pad(x, (left, right, top, bottom), value=value)


def covering(size: Pair, out: Pair, kernel: Pair, stride: Pair, padding: Pads) -> Pads:
    """The padding that makes the windows of `out` cover the padded input exactly: ceil mode as plain padding."""
    after = [(out[i] - 1) * stride[i] + kernel[i] - size[i] - padding[i][0] for i in range(2)]
    return (padding[0][0], after[0]), (padding[1][0], after[1])


def largest_te(x: Any, axis: Any) -> Any:
    """The largest element along reduction axes, NaN where there is one. A plain maximum takes the second where two
    cannot be compared, and so forgets NaN at the next step."""
    from tvm import te, tirx

    def larger(a: Any, b: Any) -> Any:
        return tirx.Select(b <= tirx.const(math.inf, "float32"), te.max(b, a), b)

    return te.comm_reducer(larger, te.min_value, name="largest")(x, axis=axis)


def exp_te(x: Any) -> Any:
    """e^x in float32, from operations that vectorise; relative error below 3e-7 for x from -87 to 88.3, e^-87 below
    that, infinity above, and NaN where x is NaN.

    Cephes' expf: x = n ln 2 + f with ln 2 in two pieces, so that n ln 2 is exact, and a polynomial in f.
    """
    from tvm import te, tirx

    def const(value: float) -> Any:
        return tirx.const(value, "float32")

    x = te.min(const(89.0), te.max(const(-87.0), x))  # the constants first: NaN stays
    n = te.floor(x * const(1.44269504088896341) + const(0.5))
    f = x - n * const(0.693359375) - n * const(-2.12194440e-4)
    p = const(1.9875691500e-4)
    for coefficient in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = p * f + const(coefficient)
    mantissa = p * f * f + f + const(1.0)
    # 89 has n = 128, whose power is infinity. No integer is NaN's: here the constant stands last, so that it goes.
    power = tirx.reinterpret("float32", (te.max(n, const(-126.0)).astype("int32") + 127) << 23)
    return mantissa * power


def sigmoid_te(x: Any) -> Any:
    """1 / (1 + e^-x), vectorisable."""
    from tvm import tirx

    one = tirx.const(1.0, "float32")
    return one / (one + exp_te(tirx.const(0.0, "float32") - x))
