"""The types that numbers are stored in, and products multiply in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StoredType = Literal["float32", "float16"]


@dataclass(frozen=True)
class Precision:
    """How the `weights` of convolutions are stored, and the `values` between kernels, which products multiply."""

    weights: StoredType = "float32"
    values: StoredType = "float32"


FULL = Precision()
"""All in float32."""
