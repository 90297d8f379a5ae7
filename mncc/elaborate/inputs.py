"""What an `input` line says beside the shape: how a picture becomes the tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mncc.elaborate import errors
from mncc.elaborate.values import Value, describe
from mncc.language import tree as t
from mncc.language.diagnostic import Diagnostic, DiagnosticError

MAX_COLOURS = 1024
ORDERS = ("RGB", "BGR")


@dataclass(frozen=True)
class Picture:
    """Mean and standard deviation per channel, and the order of the channels."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    order: str = "RGB"


def read_picture(line: t.InputLine, channels: int, value_of: Callable[[t.Expr], Value]) -> Picture:
    """The clauses of an input of so many channels. Raises DiagnosticError for unknown words and wrong numbers."""
    numbers: dict[str, tuple[float, ...]] = {"mean": (), "std": ()}
    order = ORDERS[0]
    found: list[Diagnostic] = []
    for clause in line.clauses:
        try:
            if clause.name in numbers:
                numbers[clause.name] = _per_channel(clause, value_of(clause.value), channels)
            else:
                order = _order(clause, value_of)
        except DiagnosticError as error:
            found += error.diagnostics
    if found:
        raise DiagnosticError(found)
    return Picture(numbers["mean"], numbers["std"], order)


def _order(clause: t.Clause, value_of: Callable[[t.Expr], Value]) -> str:
    """The order of the channels, the only clause beside mean and std."""
    if clause.name != "channels":
        known = ("mean", "std", "channels")
        near, hint = errors.nearest(clause.name, known), "an input line takes mean, std and channels"
        raise DiagnosticError([errors.UnknownName(clause.span, "word", clause.name, near, hint, "input")])
    value = value_of(clause.value)
    if isinstance(value, str) and value in ORDERS:
        return value
    expected = " or ".join(ORDERS)
    raise DiagnosticError([errors.WrongType(clause.value.span, "`channels`", expected, describe(value))])


def _per_channel(clause: t.Clause, value: Value, channels: int) -> tuple[float, ...]:
    """One number a channel; a single one counts for all."""
    items = value if isinstance(value, tuple) else (value,) * min(channels, MAX_COLOURS)
    numbers = tuple(float(v) for v in items if isinstance(v, int | float) and not isinstance(v, bool))
    positive = clause.name == "std"
    if len(numbers) != channels or len(numbers) != len(items) or (positive and min(numbers) <= 0):
        expected = f"{channels} number{'s' if channels != 1 else ''}" + (" larger than 0" if positive else "")
        found = f"`{clause.value.span.text}`"
        raise DiagnosticError([errors.WrongType(clause.value.span, f"`{clause.name}`", expected, found)])
    return numbers
