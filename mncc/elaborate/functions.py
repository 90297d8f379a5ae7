"""The functions that expressions call: on numbers, and those on tensors that are no stages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mncc.elaborate import errors
from mncc.elaborate.arguments import count_of
from mncc.elaborate.channels import make_divisible
from mncc.elaborate.values import Tensor, Value, as_tensor, as_whole, describe
from mncc.language import tree as t
from mncc.language.diagnostic import DiagnosticError
from mncc.network import ops
from mncc.network.types import TensorType

if TYPE_CHECKING:
    from mncc.elaborate.evaluate import Evaluator, Scope

MAX_PARTS = 256


@dataclass(frozen=True)
class Invocation:
    """Where a function is called, for its nodes and its errors."""

    evaluator: Evaluator
    scope: Scope
    arguments: t.Arguments
    word: str

    def refuse(self, expected: str, found: str) -> DiagnosticError:
        """The arguments are of another kind or number."""
        forms = " or ".join(f"`{form}`" for form in FUNCTIONS[self.word].forms)
        wrong = errors.WrongType(self.arguments.span, f"`{self.word}`", expected, found, f"the form is {forms}")
        return DiagnosticError([wrong])

    def node(self, op: ops.Op, inputs: tuple[Tensor, ...]) -> Tensor:
        """A node named after the function."""
        return self.evaluator.node(op, inputs, self.word, self.scope, self.arguments)


Compute = Callable[[Invocation, list[Value], dict[str, Value]], Value]


@dataclass(frozen=True)
class Function:
    """What a function computes of its values, how it is written, and what it is for."""

    compute: Compute
    forms: tuple[str, ...]
    summary: str


def sizes(shape: TensorType) -> dict[str, Value]:
    """What `x.c`, `x.h`, `x.w` and `x.size` are; a vector is 1x1 in height and width."""
    h, w = shape.shape[1:3] if shape.rank == 4 else (1, 1)
    return {"c": shape.shape[-1], "h": h, "w": w, "size": (h, w)}


def _numbers(call: Invocation, values: list[Value], named: dict[str, Value], count: int | None) -> list[Any]:
    if named or not values or (count is not None and len(values) != count):
        expected = "numbers" if count is None else f"{count} number{'s' if count != 1 else ''}"
        raise call.refuse(expected, count_of(len(values) + len(named)))
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise call.refuse("numbers", describe(value))
    return values


def _extreme(pick: Callable[..., Any]) -> Compute:
    return lambda call, values, named: pick(_numbers(call, values, named, None))


def _on_one(compute: Callable[[Any], Any]) -> Compute:
    return lambda call, values, named: compute(_numbers(call, values, named, 1)[0])


def _make_divisible(call: Invocation, values: list[Value], named: dict[str, Value]) -> Value:
    numbers = _numbers(call, values, named, None)
    if len(numbers) > 3:
        raise call.refuse("a number, its divisor (8) and the share to keep (0.9)", count_of(len(values)))
    value = numbers[0]
    divisor = numbers[1] if len(numbers) > 1 else 8
    keep = numbers[2] if len(numbers) > 2 else 0.9
    whole = as_whole(divisor)
    if whole is None or whole < 1:
        raise call.refuse("a divisor of at least 1", describe(divisor))
    return make_divisible(value, whole, keep)


def _concat(call: Invocation, values: list[Value], named: dict[str, Value]) -> Value:
    tensors = [as_tensor(value) for value in values]
    if named or len(tensors) < 2 or len(tensors) > MAX_PARTS:
        raise call.refuse(f"2 to {MAX_PARTS} tensors", count_of(len(values) + len(named)))
    parts = []
    for tensor, value in zip(tensors, values, strict=True):
        if tensor is None:
            raise call.refuse("tensors", describe(value))
        parts.append(tensor)
    return call.node(ops.Concat(-1), tuple(parts))


def _split(call: Invocation, values: list[Value], named: dict[str, Value]) -> Value:
    tensor = as_tensor(values[0]) if values else None
    if named or len(values) != 2 or tensor is None:
        raise call.refuse("a tensor and a number of parts or their channels", count_of(len(values) + len(named)))
    channels = tensor.type.shape[-1]
    parts = as_whole(values[1])
    if parts is not None:
        if not 1 <= parts <= MAX_PARTS or channels % parts:
            raise call.refuse(f"a number of equal parts of {channels} channels", describe(values[1]))
        widths = [channels // parts] * parts
    else:
        given = values[1] if isinstance(values[1], tuple) else ()
        widths = [whole for value in given if (whole := as_whole(value)) is not None]
        if not given or len(widths) != len(given) or min(widths) < 1 or sum(widths) != channels:
            raise call.refuse(f"sizes that add up to {channels} channels", describe(values[1]))
    results: list[Value] = []
    start = 0
    for width in widths:
        results.append(call.node(ops.Slice(tensor.type.rank - 1, start, start + width), (tensor,)))
        start += width
    return tuple(results)


FUNCTIONS: Mapping[str, Function] = {
    "min": Function(_extreme(min), ("min(a, ...)",), "the smallest"),
    "max": Function(_extreme(max), ("max(a, ...)",), "the largest"),
    "round": Function(_on_one(lambda value: math.floor(value + 0.5)), ("round(a)",), "a whole number; halves round up"),
    "floor": Function(_on_one(math.floor), ("floor(a)",), "the whole number below"),
    "ceil": Function(_on_one(math.ceil), ("ceil(a)",), "the whole number above"),
    "make_divisible": Function(
        _make_divisible, ("make_divisible(a, 8, 0.9)",),
        "a rounded as `round 8 keep 0.9` does; the last two can be left out",
    ),
    "concat": Function(_concat, ("concat(a, b, ...)",), "one tensor with the channels of all; other sizes are equal"),
    "split": Function(
        _split, ("split(a, 2)", "split(a, (16, 48))"), "a tuple of tensors: equal parts, or parts of these channels"
    ),
}  # fmt: skip
"""Function name -> function."""
