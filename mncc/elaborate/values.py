"""What an expression can be worth while a network is elaborated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mncc.network.types import TensorType


@dataclass(frozen=True)
class Tensor:
    """A value of the graph, and what the block that made it exports."""

    name: str
    type: TensorType
    exports: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Declared:
    """The shape that a row's input has in the printed table; asked for sizes only."""

    type: TensorType


@dataclass(frozen=True)
class RowResult:
    """What a row made: one tensor a repeat. As a tensor it is the last."""

    repeats: tuple[Tensor, ...]


@dataclass(frozen=True)
class BodyResult:
    """What a table made: its rows, and the value of the last. `start` is what an empty table passes on."""

    start: Tensor
    rows: tuple[RowResult, ...]

    @property
    def value(self) -> Tensor:
        """The tensor that the table leaves."""
        return self.rows[-1].repeats[-1] if self.rows else self.start


@dataclass(frozen=True)
class UsedNetwork:
    """Another network after `use`: its bodies and outputs by name."""

    name: str
    bodies: Mapping[str, BodyResult]
    outputs: Mapping[str, Tensor]


Value = int | float | bool | str | None | tuple["Value", ...] | Tensor | Declared | RowResult | BodyResult | UsedNetwork


def as_tensor(value: Value) -> Tensor | None:
    """The tensor that a value stands for, None where it stands for none."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, RowResult):
        return value.repeats[-1]
    if isinstance(value, BodyResult):
        return value.value
    if isinstance(value, UsedNetwork) and value.bodies:
        return next(iter(value.bodies.values())).value
    return None


def as_whole(value: Value) -> int | None:
    """The whole number that a value is, None where it is none. 4.0 is one: `c / x.c` may be exact."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def as_size(value: Value) -> tuple[int, int] | None:
    """Height and width: from `3x3`, `(h, w)`, or one number for both."""
    if isinstance(value, tuple) and len(value) == 2:
        first, second = as_whole(value[0]), as_whole(value[1])
        return None if first is None or second is None else (first, second)
    both = as_whole(value)
    return None if both is None else (both, both)


def describe(value: Value) -> str:
    """A value as diagnostics show it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, str):
        return f"the word `{value}`"
    if isinstance(value, tuple):
        if value and all(isinstance(item, int) for item in value):
            return "x".join(str(item) for item in value)
        return f"({', '.join(describe(item) for item in value)})"
    if isinstance(value, Declared):
        return f"the declared shape {value.type}"
    tensor = as_tensor(value)
    return f"a tensor of {tensor.type}" if tensor else "a network without rows"
