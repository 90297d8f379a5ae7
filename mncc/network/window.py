"""Arithmetic of sliding windows, shared by convolutions and pools."""

from __future__ import annotations

from typing import Literal

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]
"""((top, bottom), (left, right)), in pixels."""

PaddingMode = Literal["same", "symmetric", "valid"]


def output_size(size: int, kernel: int, stride: int, dilation: int, pad: Pair, ceil: bool = False) -> int:
    """Pixels that a window of `kernel` taps leaves of `size`; may be zero or negative where it does not fit.

    With `ceil` a last, partial window counts when it starts inside the input or its leading padding (torch's rule).
    """
    span = size + sum(pad) - dilation * (kernel - 1) - 1
    if not ceil:
        return span // stride + 1
    out = -(-span // stride) + 1
    return out - 1 if (out - 1) * stride >= size + pad[0] else out


def resolve_padding(mode: PaddingMode, size: int, kernel: int, stride: int, dilation: int = 1) -> Pair:
    """Padding before and after one axis.

    `same` is TensorFlow's rule (the odd pixel goes behind), `symmetric` torch's usual (k - 1) / 2 on both sides,
    `valid` none. The two give the same shape and different numbers where an even size meets a stride of 2.
    """
    if mode == "valid":
        return 0, 0
    reach = (kernel - 1) * dilation
    if mode == "symmetric":
        return reach // 2, reach // 2
    total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
    return total // 2, total - total // 2
