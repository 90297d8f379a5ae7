"""Channel shuffle (ShuffleNet, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mncc.network.ops._rules import checked, expect_picture, positive
from mncc.network.ops.base import Op, ShapeError
from mncc.network.types import TensorType

if TYPE_CHECKING:
    import torch
    from tvm import te


@dataclass(frozen=True)
class ChannelShuffle(Op):
    """Channels as a (groups, C / groups) matrix, transposed.

    Output channel j * groups + g comes from input channel g * C / groups + j.
    """

    name: ClassVar[str] = "shuffle"

    groups: int

    def infer(self, *inputs: TensorType) -> TensorType:
        channels = expect_picture(self.name, inputs)[-1]
        positive(self.name, groups=self.groups)
        if channels % self.groups:
            raise ShapeError(f"{channels} channels do not divide into {self.groups} groups")
        return checked(self.name, inputs[0].shape, inputs[0].dtype)

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te

        x = inputs[0]
        width = int(x.shape[-1]) // self.groups
        return te.compute(x.shape, lambda i, j, c: x[i, j, c % self.groups * width + c // self.groups], name="shuffle")

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        x = inputs[0]
        return x.unflatten(-1, (self.groups, -1)).transpose(-1, -2).flatten(-2)
