"""Values and memory of different types: float16 where it is stored or added up, float32 elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.script.ir_builder import tirx as T

Expr = Any


def cast(value: Expr, dtype: str) -> Expr:
    """The value in another type; the same expression where it has it already."""
    return value if str(value.ty) == dtype else T.Cast(dtype, value)


def store(buffer: Any, value: Expr, index: Sequence[Expr]) -> None:
    """Writes a value in the type of the buffer."""
    T.buffer_store(buffer, cast(value, str(buffer.dtype)), list(index))
