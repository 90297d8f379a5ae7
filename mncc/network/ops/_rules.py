"""Checks that shape rules share. Each raises ShapeError, with what was expected and what was found."""

from __future__ import annotations

from collections.abc import Sequence

from mncc.network.ops.base import ShapeError
from mncc.network.types import TensorType
from mncc.network.window import Pads, Pair, output_size

MAX_ELEMENTS = 2**31 - 1
"""Kernels index with 32-bit integers."""


def expect_count(op: str, inputs: Sequence[TensorType], count: int) -> None:
    """`count` inputs, all of one element type."""
    if len(inputs) != count:
        raise ShapeError(f"{op} takes {count} input{'s' if count != 1 else ''}, but gets {len(inputs)}")
    kinds = sorted({t.dtype for t in inputs})
    if len(kinds) > 1:
        raise ShapeError(f"the inputs of {op} have different element types: {' and '.join(kinds)}")


def expect_picture(op: str, inputs: Sequence[TensorType]) -> tuple[int, int, int, int]:
    """Exactly one input, of shape (N, H, W, C), which is returned."""
    expect_count(op, inputs, 1)
    if inputs[0].rank != 4:
        raise ShapeError(f"{op} needs an input of height x width x channels, but gets {inputs[0]}")
    n, h, w, c = inputs[0].shape
    return n, h, w, c


def expect_axis(op: str, axis: int, rank: int) -> int:
    """`axis` as a non-negative number; the batch (axis 0) is not allowed."""
    resolved = axis + rank if axis < 0 else axis
    if not 1 <= resolved < rank:
        allowed = f"1 to {rank - 1} (or -{rank - 1} to -1); axis 0 is the batch" if rank > 1 else "none"
        raise ShapeError(f"{op} along axis {axis} of a value with {rank} axes; allowed: {allowed}")
    return resolved


def positive(op: str, **values: int | Sequence[int]) -> None:
    """Every value, or every element of it, is at least 1."""
    for name, value in values.items():
        for each in (value,) if isinstance(value, int) else value:
            if each < 1:
                raise ShapeError(f"{op} needs {name} of at least 1, but gets {pair_text(value)}")


def pair_text(value: int | Sequence[int]) -> str:
    """`3x3` for (3, 3), `3` for 3."""
    return str(value) if isinstance(value, int) else "x".join(str(v) for v in value)


def checked(op: str, shape: Sequence[int], dtype: str, what: str = "result") -> TensorType:
    """The type of this shape; refuses sizes below 1 and more than 2^31 - 1 elements."""
    result = TensorType(tuple(shape), dtype)
    if any(size < 1 for size in shape):
        raise ShapeError(f"the {what} of {op} would be {result}: every size must be at least 1")
    if result.elements > MAX_ELEMENTS:
        raise ShapeError(
            f"the {what} of {op} would be {result}, {result.elements:,} elements; at most {MAX_ELEMENTS:,} are allowed"
        )
    return result


def window_output(
    op: str, size: Pair, kernel: Pair, stride: Pair, padding: Pads, dilation: Pair = (1, 1), ceil: bool = False
) -> Pair:
    """Height and width that a window leaves of `size`; refuses windows that do not fit."""
    positive(op, kernel=kernel, stride=stride, dilation=dilation)
    if any(pad < 0 for pads in padding for pad in pads):
        raise ShapeError(f"{op} needs padding of at least 0, but gets {padding}")
    out = tuple(output_size(size[i], kernel[i], stride[i], dilation[i], padding[i], ceil) for i in range(2))
    if min(out) < 1:
        reach = tuple((kernel[i] - 1) * dilation[i] + 1 for i in range(2))
        padded = tuple(size[i] + sum(padding[i]) for i in range(2))
        window = pair_text(kernel) + (f" (reaching over {pair_text(reach)})" if reach != kernel else "")
        with_padding = f" (padded to {pair_text(padded)})" if padded != size else ""
        raise ShapeError(f"the {window} window of {op} is larger than its input of {pair_text(size)}{with_padding}")
    return out[0], out[1]


def broadcast(op: str, a: TensorType, b: TensorType) -> TensorType:
    """numpy's broadcasting over all axes but the batch, which has to agree."""
    if a.shape[0] != b.shape[0]:
        raise ShapeError(f"the inputs of {op} have different batches: {a.shape[0]} and {b.shape[0]}")
    rank = max(a.rank, b.rank)
    left, right = aligned(a.shape, rank), aligned(b.shape, rank)
    sizes = []
    for x, y in zip(left, right, strict=True):
        if x != y and 1 not in (x, y):
            raise ShapeError(f"{op} cannot combine {a} with {b}: sizes must agree or be 1, but {x} meets {y}")
        sizes.append(max(x, y) if 0 not in (x, y) else 0)
    return checked(op, sizes, a.dtype)


def aligned(shape: Sequence[int], rank: int) -> tuple[int, ...]:
    """The shape with ones behind the batch until it has `rank` axes."""
    return (shape[0], *[1] * (rank - len(shape)), *shape[1:])
