"""The type of a value that flows between operators."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TensorType:
    """Shape and element type. Pictures are (N, H, W, C), vectors (N, C); the first axis is always the batch."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def rank(self) -> int:
        """Number of axes, the batch included."""
        return len(self.shape)

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in bytes without any padding."""
        return self.elements * {"float32": 4, "float16": 2}[self.dtype]

    def __str__(self) -> str:
        """As the papers write it: `112x112x32`; the batch stands in front only where it is not 1."""
        batch, *rest = self.shape
        text = "x".join(str(size) for size in rest) or "1"
        return text if batch == 1 else f"{batch}x{text}"
