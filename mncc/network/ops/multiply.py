"""The product of two values, element by element, with broadcasting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mncc.network.ops._compute import broadcast_te, broadcast_torch
from mncc.network.ops._rules import broadcast, expect_count
from mncc.network.ops.base import Op
from mncc.network.types import TensorType

if TYPE_CHECKING:
    import torch
    from tvm import te


@dataclass(frozen=True)
class Multiply(Op):
    """x * y; numpy's broadcasting over the axes behind the batch, so (N, C) meets (N, H, W, C) along C."""

    name: ClassVar[str] = "multiply"

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(self.name, inputs, 2)
        return broadcast(self.name, inputs[0], inputs[1])

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        return broadcast_te(inputs[0], inputs[1], lambda x, y: x * y, self.name)

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        x, y = broadcast_torch(inputs[0], inputs[1])
        return x * y
