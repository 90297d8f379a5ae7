"""Reductions of whole axes: global pooling over (H, W) and the mean along one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mncc.network.ops._compute import largest_te
from mncc.network.ops._rules import checked, expect_axis, expect_count, expect_picture
from mncc.network.ops.base import Op, ShapeError
from mncc.network.types import TensorType

if TYPE_CHECKING:
    import torch
    from tvm import te


@dataclass(frozen=True)
class GlobalPool(Op):
    """(N, H, W, C) -> (N, 1, 1, C): the average ("avg") or the largest element ("max") of every channel."""

    name: ClassVar[str] = "globalpool"

    kind: str = "avg"

    def infer(self, *inputs: TensorType) -> TensorType:
        n, _, _, c = expect_picture(self.name, inputs)
        if self.kind not in ("avg", "max"):
            raise ShapeError(f"there is no global pooling `{self.kind}`", "the kinds are avg and max")
        return checked(self.name, (n, 1, 1, c), inputs[0].dtype)

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te, tirx

        x = inputs[0]
        h, w, channels = (int(size) for size in x.shape)
        rh, rw = te.reduce_axis((0, h), "rh"), te.reduce_axis((0, w), "rw")
        combine = te.sum if self.kind == "avg" else largest_te
        pooled = te.compute((1, 1, channels), lambda i, j, c: combine(x[rh, rw, c], axis=[rh, rw]), name="globalpool")
        if self.kind == "max":
            return pooled
        share = tirx.const(1 / (h * w), "float32")
        return te.compute(pooled.shape, lambda i, j, c: pooled[i, j, c] * share, name="average")

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if self.kind == "avg":
            return inputs[0].mean(dim=(1, 2), keepdim=True)
        return inputs[0].amax(dim=(1, 2), keepdim=True)


@dataclass(frozen=True)
class Mean(Op):
    """The mean along `axis`, which stays with size 1. Axes count with the batch; negative ones from the end."""

    name: ClassVar[str] = "mean"

    axis: int

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(self.name, inputs, 1)
        shape = list(inputs[0].shape)
        shape[expect_axis(self.name, self.axis, inputs[0].rank)] = 1
        return checked(self.name, shape, inputs[0].dtype)

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te, tirx

        x = inputs[0]
        axis = (self.axis + len(x.shape) + 1 if self.axis < 0 else self.axis) - 1
        shape = [*x.shape]
        shape[axis] = 1
        r = te.reduce_axis((0, int(x.shape[axis])), "r")

        def element(*index: Any) -> Any:
            return te.sum(x[(*index[:axis], r, *index[axis + 1 :])], axis=r)

        total = te.compute(shape, element, name="total")
        share = tirx.const(1 / int(x.shape[axis]), "float32")
        return te.compute(shape, lambda *index: total[index] * share, name="mean")

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return inputs[0].mean(dim=self.axis, keepdim=True)
