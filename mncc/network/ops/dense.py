"""A fully connected layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mncc.network.ops._compute import add_bias
from mncc.network.ops._rules import checked, expect_count, positive
from mncc.network.ops.base import Op, ShapeError
from mncc.network.types import TensorType

if TYPE_CHECKING:
    import torch
    from tvm import te


@dataclass(frozen=True)
class Dense(Op):
    """(N, C) -> (N, units); kernel (C, units)."""

    name: ClassVar[str] = "dense"

    units: int
    bias: bool = True

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(self.name, inputs, 1)
        positive(self.name, units=self.units)
        if inputs[0].rank != 2:
            raise ShapeError(
                f"dense needs a vector, but gets {inputs[0]}", "flatten the value first, or pool it to one pixel"
            )
        n, c = inputs[0].shape
        checked(self.name, (c, self.units), inputs[0].dtype, "kernel")
        return checked(self.name, (n, self.units), inputs[0].dtype)

    def weights(self, *inputs: TensorType) -> Mapping[str, TensorType]:
        weights = {"kernel": TensorType((inputs[0].shape[-1], self.units))}
        if self.bias:
            weights["bias"] = TensorType((self.units,))
        return weights

    def macs(self, *inputs: TensorType) -> int:
        return inputs[0].elements * self.units

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te

        x, kernel = inputs[0], weights["kernel"]
        r = te.reduce_axis((0, int(x.shape[0])), "r")
        out = te.compute((self.units,), lambda o: te.sum(x[r] * kernel[r, o], axis=r), name="dense")
        return add_bias(out, weights["bias"]) if self.bias else out

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        y = inputs[0] @ weights["kernel"]
        return y + weights["bias"] if self.bias else y
