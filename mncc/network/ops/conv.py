"""Convolution over (H, W), in groups, with stride, dilation and explicit padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mncc.network.ops._compute import add_bias, pad_torch, read_padded
from mncc.network.ops._rules import checked, expect_picture, positive, window_output
from mncc.network.ops.base import Op, ShapeError
from mncc.network.types import TensorType
from mncc.network.window import Pads, Pair

if TYPE_CHECKING:
    import torch
    from tvm import te


@dataclass(frozen=True)
class Conv2d(Op):
    """(N, H, W, C) -> (N, H', W', channels); kernel (kh, kw, C / groups, channels)."""

    name: ClassVar[str] = "conv"

    channels: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pads = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = False

    def infer(self, *inputs: TensorType) -> TensorType:
        n, h, w, c = expect_picture(self.name, inputs)
        positive(self.name, groups=self.groups)
        positive(self.name, **{"output channels": self.channels})
        if c % self.groups:
            raise ShapeError(f"{c} input channels do not divide into {self.groups} groups")
        if self.channels % self.groups:
            raise ShapeError(f"{self.channels} output channels do not divide into {self.groups} groups")
        size = window_output(self.name, (h, w), self.kernel, self.stride, self.padding, self.dilation)
        checked(self.name, (*self.kernel, c // self.groups, self.channels), inputs[0].dtype, "kernel")
        return checked(self.name, (n, *size, self.channels), inputs[0].dtype)

    def weights(self, *inputs: TensorType) -> Mapping[str, TensorType]:
        depth = inputs[0].shape[-1] // self.groups
        weights = {"kernel": TensorType((*self.kernel, depth, self.channels))}
        if self.bias:
            weights["bias"] = TensorType((self.channels,))
        return weights

    def macs(self, *inputs: TensorType) -> int:
        return self.infer(*inputs).elements * self.kernel[0] * self.kernel[1] * (inputs[0].shape[-1] // self.groups)

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te, tirx

        x, kernel = inputs[0], weights["kernel"]
        h, w, c = (int(size) for size in x.shape)
        out_h, out_w = window_output(self.name, (h, w), self.kernel, self.stride, self.padding, self.dilation)
        depth, width = c // self.groups, self.channels // self.groups
        rh = te.reduce_axis((0, self.kernel[0]), "rh")
        rw = te.reduce_axis((0, self.kernel[1]), "rw")
        rc = te.reduce_axis((0, depth), "rc")
        zero = tirx.const(0.0, "float32")

        def element(i: Any, j: Any, o: Any) -> Any:
            channel = rc if self.groups == 1 else o // width * depth + rc
            value = read_padded(
                x,
                i * self.stride[0] + rh * self.dilation[0],
                j * self.stride[1] + rw * self.dilation[1],
                channel,
                self.padding,
                zero,
            )
            return te.sum(value * kernel[rh, rw, rc, o], axis=[rh, rw, rc])

        out = te.compute((out_h, out_w, self.channels), element, name="conv")
        return add_bias(out, weights["bias"]) if self.bias else out

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        x = pad_torch(inputs[0].permute(0, 3, 1, 2), self.padding)
        kernel = weights["kernel"].permute(3, 2, 0, 1)
        y = torch.nn.functional.conv2d(
            x, kernel, weights.get("bias"), stride=self.stride, dilation=self.dilation, groups=self.groups
        )
        return y.permute(0, 2, 3, 1)
