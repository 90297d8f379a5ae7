"""The GPU family for everything that is not a convolution: an operator and the element-wise ones behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mncc.kernels.plain import Plain


@dataclass(frozen=True)
class GpuPlain(Plain):
    """As its base; the weights are packed alike."""

    family: ClassVar[str] = "gpu_plain"


@dataclass(frozen=True)
class GpuPlainTiles:
    """The knob: threads of a block."""

    threads: int
