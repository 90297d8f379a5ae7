"""Batch norm at inference, with its stored statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mncc.network.ops._rules import checked, expect_count
from mncc.network.ops.base import Op, ShapeError
from mncc.network.types import TensorType

if TYPE_CHECKING:
    import torch
    from tvm import te


@dataclass(frozen=True)
class Norm(Op):
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta along the last axis (Ioffe and Szegedy 2015, eq. 11)."""

    name: ClassVar[str] = "norm"

    epsilon: float = 1e-5

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(self.name, inputs, 1)
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ShapeError(f"norm needs a finite epsilon of at least 0, but gets {self.epsilon}")
        if inputs[0].rank < 2:
            raise ShapeError(f"norm needs a channel axis, but its input {inputs[0]} has only the batch")
        return checked(self.name, inputs[0].shape, inputs[0].dtype)

    def weights(self, *inputs: TensorType) -> Mapping[str, TensorType]:
        return dict.fromkeys(("gamma", "beta", "mean", "variance"), TensorType((inputs[0].shape[-1],)))

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te, tirx

        x = inputs[0]
        gamma, beta, mean, variance = (weights[role] for role in ("gamma", "beta", "mean", "variance"))
        epsilon = tirx.const(self.epsilon, "float32")

        def element(*index: Any) -> Any:
            c = index[-1]
            return (x[index] - mean[c]) * (gamma[c] / te.sqrt(variance[c] + epsilon)) + beta[c]

        return te.compute(x.shape, element, name="norm")

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        scale = weights["gamma"] / torch.sqrt(weights["variance"] + self.epsilon)
        return (inputs[0] - weights["mean"]) * scale + weights["beta"]
