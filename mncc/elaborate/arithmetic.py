"""Arithmetic and comparison of numbers, words and sizes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from mncc.elaborate import errors
from mncc.elaborate.values import Value, as_tensor, describe
from mncc.language import tree as t
from mncc.language.diagnostic import DiagnosticError

LIMIT = 2**53
"""Beyond it floats skip whole numbers; no size comes near."""

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def unary(tree: t.Unary, value: Value) -> Value:
    """`-a` of a number, `not a` of a truth."""
    if tree.operator == "not":
        if not isinstance(value, bool):
            raise DiagnosticError([errors.WrongType(tree.span, "`not`", "true or false", describe(value))])
        return not value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DiagnosticError([errors.WrongType(tree.span, "`-`", "a number", describe(value))])
    return -value


def binary(tree: t.Binary, left: Value, right: Value) -> Value:
    """The value of an operator on anything but two tensors."""
    if tree.operator in ("==", "!="):
        _refuse_tensors(tree, left, right)
        return (left == right) == (tree.operator == "==")
    sides = ((tree.left, left), (tree.right, right))
    tensors = [as_tensor(value) is not None for _, value in sides]
    hint = "tensors are added with `+` and multiplied with `*`, each with another tensor" if any(tensors) else None
    if tree.operator in ("+", "*") and sum(tensors) == 1:
        side, value = sides[tensors.index(False)]
        wrong = errors.WrongType(side.span, f"`{tree.operator}`", "another tensor", describe(value), hint)
        raise DiagnosticError([wrong])
    numbers: list[int | float] = []
    for side, value in sides:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DiagnosticError(
                [errors.WrongType(side.span, f"`{tree.operator}`", "a number", describe(value), hint)]
            )
        numbers.append(value)
    return _arithmetic(tree, *numbers)


def _refuse_tensors(tree: t.Binary, left: Value, right: Value) -> None:
    for side, value in ((tree.left, left), (tree.right, right)):
        if as_tensor(value):
            hint = "compare sizes: `x.c == c`"
            raise DiagnosticError(
                [errors.WrongType(side.span, f"`{tree.operator}`", "a number, a size or a word", describe(value), hint)]
            )


def _arithmetic(tree: t.Binary, left: int | float, right: int | float) -> Value:
    if tree.operator in _COMPARE:
        return _COMPARE[tree.operator](left, right)
    if tree.operator in ("/", "//", "%") and right == 0:
        raise DiagnosticError([errors.DivisionByZero(tree.right.span)])
    result: int | float
    if tree.operator == "+":
        result = left + right
    elif tree.operator == "-":
        result = left - right
    elif tree.operator == "*":
        result = left * right
    elif tree.operator == "//":
        result = left // right
    elif tree.operator == "%":
        result = left % right
    elif isinstance(left, int) and isinstance(right, int) and left % right == 0:
        result = left // right
    else:
        result = left / right
    if not abs(result) <= LIMIT:
        raise DiagnosticError([errors.OutOfRange(tree.span, LIMIT)])
    return result
