"""What every operator answers: its shape rule, its weights, its cost, its compute definition and its torch twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mncc.network.types import TensorType

if TYPE_CHECKING:
    import torch
    from tvm import te


class ShapeError(ValueError):
    """An operator refuses its inputs. The message says what was expected and found, without a position;
    `help` is what to type instead, where that is known."""

    def __init__(self, message: str, help: str | None = None) -> None:
        self.message, self.help = message, help
        super().__init__(message)


@dataclass(frozen=True)
class Op:
    """Base of the operators: frozen dataclasses whose fields are their attributes.

    Values are NHWC (N, H, W, C) or vectors (N, C), float32. Weight roles and layouts:
    `kernel` (kh, kw, in_channels / groups, out_channels) for convolutions, (kh, kw, channels, multiplier) for
    depthwise ones, (in, out) for dense; `bias` (out,); `gamma`, `beta`, `mean`, `variance` (channels,) for norms.
    """

    name: ClassVar[str]
    """The word that diagnostics, cost tables and printed stages use."""

    def infer(self, *inputs: TensorType) -> TensorType:
        """The type of the result. Raises ShapeError where the inputs do not fit."""
        raise AssertionError(f"{type(self).__name__} has no shape rule")

    def weights(self, *inputs: TensorType) -> Mapping[str, TensorType]:
        """Role -> type of every weight tensor, in a fixed order; empty for operators without weights."""
        return {}

    def macs(self, *inputs: TensorType) -> int:
        """Multiply-adds of the whole batch; zero for everything but convolutions and dense layers."""
        return 0

    def params(self, *inputs: TensorType) -> int:
        """Trainable parameters: weights, biases, gamma and beta, as torch's `parameters()` counts them."""
        return sum(t.elements for role, t in self.weights(*inputs).items() if role not in ("mean", "variance"))

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        """The compute definition for one image (inputs without the batch axis: (H, W, C) or (C,)), float32."""
        raise AssertionError(f"{type(self).__name__} has no compute definition")

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The twin in torch, on NHWC tensors with their batch axis, in whatever dtype the inputs have."""
        raise AssertionError(f"{type(self).__name__} has no torch twin")

    def describe(self) -> str:
        """The operator with its attributes on one line, for printed stages."""
        fields: dict[str, Any] = vars(self)
        return f"{self.name}({', '.join(f'{k}={v}' for k, v in fields.items())})"
