"""The common activations, element by element."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mncc.network.ops._compute import sigmoid_te
from mncc.network.ops._rules import checked, expect_count
from mncc.network.ops.base import Op, ShapeError
from mncc.network.types import TensorType

if TYPE_CHECKING:
    import torch
    from tvm import te

KINDS = ("relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "swish", "leaky")


@dataclass(frozen=True)
class Activation(Op):
    """relu, relu6 = min(max(x, 0), 6), hard_sigmoid = relu6(x + 3) / 6, hard_swish = x * hard_sigmoid(x) (MobileNetV3,
    section 5.2), sigmoid, swish = x * sigmoid(x), leaky = x where x > 0 and slope * x elsewhere."""

    name: ClassVar[str] = "activation"

    kind: str
    slope: float = 0.01

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(self.kind, inputs, 1)
        if self.kind not in KINDS:
            raise ShapeError(f"there is no activation `{self.kind}`", f"the activations are {', '.join(KINDS)}")
        if not math.isfinite(self.slope):
            raise ShapeError(f"the slope of {self.kind} is {self.slope}, which is not a finite number")
        return checked(self.kind, inputs[0].shape, inputs[0].dtype)

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te

        x = inputs[0]
        return te.compute(x.shape, lambda *index: self.expression(x[index]), name=self.kind)

    def expression(self, x: Any, dtype: str = "float32") -> Any:
        """The activation of a TensorIR expression of `dtype`, float32 but for relu and relu6; for epilogues of other
        kernels too."""
        from tvm import te, tirx

        def const(value: float) -> Any:
            return tirx.const(value, dtype)

        # max(a, b) is `a > b ? a : b`, as the instruction is: the constant stands first, so that NaN stays.
        def clip(value: Any) -> Any:
            return te.min(const(6.0), te.max(const(0.0), value))

        if self.kind == "relu":
            return te.max(const(0.0), x)
        if self.kind == "relu6":
            return clip(x)
        if self.kind == "hard_sigmoid":
            return clip(x + const(3.0)) * const(1 / 6)
        if self.kind == "hard_swish":
            return x * (clip(x + const(3.0)) * const(1 / 6))
        if self.kind == "sigmoid":
            return sigmoid_te(x)
        if self.kind == "swish":
            return x * sigmoid_te(x)
        return tirx.Select(x > const(0.0), x, x * const(self.slope))

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        x = inputs[0]
        if self.kind == "leaky":
            return torch.nn.functional.leaky_relu(x, self.slope)
        if self.kind == "hard_sigmoid":
            return torch.clamp(x + 3, 0, 6) / 6
        if self.kind == "hard_swish":
            return x * torch.clamp(x + 3, 0, 6) / 6
        plain = {
            "relu": torch.relu,
            "relu6": torch.nn.functional.relu6,
            "sigmoid": torch.sigmoid,
            "swish": torch.nn.functional.silu,
        }
        return plain[self.kind](x)

    def describe(self) -> str:
        return f"{self.kind}(slope={self.slope})" if self.kind == "leaky" else self.kind
