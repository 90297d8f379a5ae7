"""A range along one axis; a split is several of them."""

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
class Slice(Op):
    """Elements `start` to `stop` (exclusive) along `axis`, which counts with the batch; a negative one from the end."""

    name: ClassVar[str] = "slice"

    axis: int
    start: int
    stop: int

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(self.name, inputs, 1)
        axis = expect_axis(self.name, self.axis, inputs[0].rank)
        size = inputs[0].shape[axis]
        if not 0 <= self.start < self.stop <= size:
            raise ShapeError(
                f"slice takes {self.start}:{self.stop} of axis {self.axis}, which has {size} elements in {inputs[0]}"
            )
        shape = list(inputs[0].shape)
        shape[axis] = self.stop - self.start
        return checked(self.name, shape, inputs[0].dtype)

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te

        x = inputs[0]
        axis = (self.axis + len(x.shape) + 1 if self.axis < 0 else self.axis) - 1
        shape = [*x.shape]
        shape[axis] = self.stop - self.start

        def element(*index: Any) -> Any:
            return x[(*index[:axis], index[axis] + self.start, *index[axis + 1 :])]

        return te.compute(shape, element, name="slice")

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return inputs[0].narrow(self.axis, self.start, self.stop - self.start)
