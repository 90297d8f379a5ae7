"""Softmax over the last axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mncc.network.ops._compute import exp_te
from mncc.network.ops._rules import checked, expect_count
from mncc.network.ops.base import Op, ShapeError
from mncc.network.types import TensorType

if TYPE_CHECKING:
    import torch
    from tvm import te


@dataclass(frozen=True)
class Softmax(Op):
    """e^(x - max) / sum of e^(x - max), over the last axis."""

    name: ClassVar[str] = "softmax"

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(self.name, inputs, 1)
        if inputs[0].rank < 2:
            raise ShapeError(f"softmax needs a channel axis, but its input {inputs[0]} has only the batch")
        return checked(self.name, inputs[0].shape, inputs[0].dtype)

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te

        x = inputs[0]
        channels = int(x.shape[-1])
        # A kept axis of size 1, so that a vector's reductions have an axis too.
        rows = [*x.shape[:-1], 1]
        r, s = te.reduce_axis((0, channels), "r"), te.reduce_axis((0, channels), "s")
        largest = te.compute(rows, lambda *index: te.max(x[(*index[:-1], r)], axis=r), name="largest")

        def power(*index: Any) -> Any:
            return exp_te(x[index] - largest[(*index[:-1], 0)])

        powers = te.compute(x.shape, power, name="powers")
        total = te.compute(rows, lambda *index: te.sum(powers[(*index[:-1], s)], axis=s), name="total")
        return te.compute(x.shape, lambda *index: powers[index] / total[(*index[:-1], 0)], name="softmax")

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return inputs[0].softmax(dim=-1)
