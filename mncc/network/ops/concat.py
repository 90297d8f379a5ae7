"""Values joined along one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mncc.network.ops._rules import checked, expect_axis, expect_count
from mncc.network.ops.base import Op, ShapeError
from mncc.network.types import TensorType

if TYPE_CHECKING:
    import torch
    from tvm import te


@dataclass(frozen=True)
class Concat(Op):
    """Any number of values whose shapes agree but for `axis`. Axes count with the batch; negative ones from the end."""

    name: ClassVar[str] = "concat"

    axis: int = -1

    def infer(self, *inputs: TensorType) -> TensorType:
        if not inputs:
            raise ShapeError("concat takes at least one input, but gets none")
        expect_count(self.name, inputs, len(inputs))
        first = inputs[0]
        axis = expect_axis(self.name, self.axis, first.rank)
        for other in inputs[1:]:
            rest = other.shape[:axis] + other.shape[axis + 1 :]
            if other.rank != first.rank or rest != first.shape[:axis] + first.shape[axis + 1 :]:
                raise ShapeError(f"concat along axis {self.axis} cannot join {first} with {other}: other sizes differ")
        shape = list(first.shape)
        shape[axis] = sum(t.shape[axis] for t in inputs)
        return checked(self.name, shape, first.dtype)

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te

        rank = len(inputs[0].shape)
        axis = (self.axis + rank + 1 if self.axis < 0 else self.axis) - 1
        sizes = [int(x.shape[axis]) for x in inputs]
        shape = [*inputs[0].shape]
        shape[axis] = sum(sizes)

        def element(*index: Any) -> Any:
            start = sum(sizes[:-1])
            value = inputs[-1][(*index[:axis], index[axis] - start, *index[axis + 1 :])]
            for x, size in reversed(list(zip(inputs[:-1], sizes[:-1], strict=True))):
                end, start = start, start - size
                here = x[(*index[:axis], index[axis] - start, *index[axis + 1 :])]
                value = te.if_then_else(index[axis] < end, here, value)
            return value

        return te.compute(shape, element, name="concat")

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        return torch.cat(list(inputs), dim=self.axis)
