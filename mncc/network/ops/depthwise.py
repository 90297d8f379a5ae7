"""Depthwise convolution: every channel has its own windows, `multiplier` of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mncc.network.ops._compute import add_bias, pad_torch, read_padded
from mncc.network.ops._rules import checked, expect_picture, positive, window_output
from mncc.network.ops.base import Op
from mncc.network.types import TensorType
from mncc.network.window import Pads, Pair

if TYPE_CHECKING:
    import torch
    from tvm import te


@dataclass(frozen=True)
class Depthwise(Op):
    """(N, H, W, C) -> (N, H', W', C * multiplier); kernel (kh, kw, C, multiplier).

    Output channel c * multiplier + m comes from input channel c, as in torch and TensorFlow.
    """

    name: ClassVar[str] = "depthwise"

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pads = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    multiplier: int = 1
    bias: bool = False

    def infer(self, *inputs: TensorType) -> TensorType:
        n, h, w, c = expect_picture(self.name, inputs)
        positive(self.name, multiplier=self.multiplier)
        size = window_output(self.name, (h, w), self.kernel, self.stride, self.padding, self.dilation)
        checked(self.name, (*self.kernel, c, self.multiplier), inputs[0].dtype, "kernel")
        return checked(self.name, (n, *size, c * self.multiplier), inputs[0].dtype)

    def weights(self, *inputs: TensorType) -> Mapping[str, TensorType]:
        c = inputs[0].shape[-1]
        weights = {"kernel": TensorType((*self.kernel, c, self.multiplier))}
        if self.bias:
            weights["bias"] = TensorType((c * self.multiplier,))
        return weights

    def macs(self, *inputs: TensorType) -> int:
        return self.infer(*inputs).elements * self.kernel[0] * self.kernel[1]

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te, tirx

        x, kernel = inputs[0], weights["kernel"]
        h, w, c = (int(size) for size in x.shape)
        out_h, out_w = window_output(self.name, (h, w), self.kernel, self.stride, self.padding, self.dilation)
        rh = te.reduce_axis((0, self.kernel[0]), "rh")
        rw = te.reduce_axis((0, self.kernel[1]), "rw")
        zero = tirx.const(0.0, "float32")

        def element(i: Any, j: Any, o: Any) -> Any:
            channel, copy = (o, 0) if self.multiplier == 1 else (o // self.multiplier, o % self.multiplier)
            value = read_padded(
                x,
                i * self.stride[0] + rh * self.dilation[0],
                j * self.stride[1] + rw * self.dilation[1],
                channel,
                self.padding,
                zero,
            )
            return te.sum(value * kernel[rh, rw, channel, copy], axis=[rh, rw])

        out = te.compute((out_h, out_w, c * self.multiplier), element, name="depthwise")
        return add_bias(out, weights["bias"]) if self.bias else out

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        x = pad_torch(inputs[0].permute(0, 3, 1, 2), self.padding)
        kh, kw, c, multiplier = weights["kernel"].shape
        kernel = weights["kernel"].permute(2, 3, 0, 1).reshape(c * multiplier, 1, kh, kw)
        y = torch.nn.functional.conv2d(
            x, kernel, weights.get("bias"), stride=self.stride, dilation=self.dilation, groups=c
        )
        return y.permute(0, 2, 3, 1)
