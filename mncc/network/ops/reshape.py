"""The same elements, in the same order, in another shape."""

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
class Reshape(Op):
    """`shape` is the new one without the batch; elements keep their row-major order (channels last)."""

    name: ClassVar[str] = "reshape"

    shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(self.name, inputs, 1)
        batch, *rest = inputs[0].shape
        if not self.shape:
            raise ShapeError("reshape needs at least one axis beside the batch")
        result = checked(self.name, (batch, *self.shape), inputs[0].dtype)
        if math.prod(rest) != math.prod(self.shape):
            raise ShapeError(
                f"reshape cannot make {result} of {inputs[0]}: {math.prod(self.shape):,} elements "
                f"instead of {math.prod(rest):,} a picture"
            )
        return result

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te

        x = inputs[0]
        old = [int(size) for size in x.shape]

        def element(*index: Any) -> Any:
            flat: Any = 0
            for i, size in zip(index, self.shape, strict=True):
                flat = flat * size + i
            place: list[Any] = []
            for size in reversed(old[1:]):
                place.insert(0, flat % size)
                flat = flat // size
            return x[(flat, *place)]

        return te.compute(self.shape, element, name="reshape")

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return inputs[0].reshape(inputs[0].shape[0], *self.shape)
