"""What a stage writes behind its word, matched with what the word takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mncc.elaborate import errors
from mncc.elaborate.primitives import REQUIRED, Primitive, Slot
from mncc.elaborate.values import Value, as_size, as_whole, describe
from mncc.language import tree as t
from mncc.language.diagnostic import DiagnosticError
from mncc.language.source import Span

Given = Sequence["t.Expr | t.Arguments | t.Stride"]
Evaluate = Callable[[t.Expr], Value]


def bracket(stage: t.Stage) -> t.Arguments:
    """The arguments of a function in stage position, `-> split(2)` or `-> split 2`."""
    items: list[t.Expr | t.Keyword] = []
    for each in stage.arguments:
        if isinstance(each, t.Stride):
            raise DiagnosticError([errors.WrongType(each.span, f"`{stage.word.text}`", "no stride", "one")])
        items += each.items if isinstance(each, t.Arguments) else [each]
    return t.Arguments(stage.span, tuple(items))


# ---------------------------------------------------------------- blocks
def block_form(block: t.Block) -> str:
    """How a block is called: `bottleneck(t, c, s = 1)`."""
    parts = [p.name if p.default is None else f"{p.name} = {p.default.span.text}" for p in block.parameters]
    return f"{block.words[0].text}({', '.join(parts)})"


def count_of(number: int, what: str = "value") -> str:
    """`1 value`, `2 values`."""
    return f"{number} {what}{'s' if number != 1 else ''}"


def bind_block(block: t.Block, word: str, given: Given, call: Span) -> dict[str, t.Expr]:
    """Parameter -> expression. Raises DiagnosticError for unknown, repeated and surplus arguments."""
    names = [parameter.name for parameter in block.parameters]
    free = iter(names)
    bound: dict[str, t.Expr] = {}
    for name, tree in _flat(given):
        if name == "/":
            name = "s"
        elif name is None:
            name = next((each for each in free if each not in bound), None)
            if name is None:
                expected = count_of(len(names))
                raise DiagnosticError(
                    [errors.Arity(tree.span, f"`{word}`", expected, len(bound) + 1, block_form(block))]
                )
        if name not in names:
            near, form = errors.nearest(name, names), f"the form is `{block_form(block)}`"
            raise DiagnosticError([errors.UnknownName(tree.span, "parameter", name, near, form, word)])
        if name in bound:
            raise DiagnosticError([errors.DuplicateName("argument", name, bound[name].span, tree.span)])
        bound[name] = tree
    return bound


def _flat(given: Given) -> Iterator[tuple[str | None, t.Expr]]:
    for each in given:
        if isinstance(each, t.Stride):
            yield "/", each.value
        elif isinstance(each, t.Arguments):
            for item in each.items:
                yield (item.name, item.value) if isinstance(item, t.Keyword) else (None, item)
        else:
            yield None, each


# ---------------------------------------------------------------- primitives
def bind_primitive(primitive: Primitive, stage: t.Stage, evaluate: Evaluate) -> dict[str, Any]:
    """Slot -> value of the slot's kind, defaults included; flags are true or false."""
    return _Binding(primitive, stage, evaluate).values()


class _Binding:
    def __init__(self, primitive: Primitive, stage: t.Stage, evaluate: Evaluate) -> None:
        self.primitive, self.stage, self.evaluate = primitive, stage, evaluate
        self.word = stage.word.text
        self.form = f"the form is `{primitive.form(self.word)}`"
        self.bound: dict[str, Any] = dict.fromkeys(primitive.flags, False)
        self.places: dict[str, Span] = {}

    def values(self) -> dict[str, Any]:
        waiting = list(self.stage.arguments)
        keywords = {slot.name for slot in self.primitive.keywords}
        while waiting:
            each = waiting.pop(0)
            if isinstance(each, t.Stride):
                self._set("stride", each.value)
            elif isinstance(each, t.Arguments):
                self._group(each)
            elif isinstance(each, t.Name) and each.text in self.primitive.flags:
                self._flag(each)
            elif isinstance(each, t.Name) and each.text in keywords:
                self._keyword(each, waiting)
            else:
                self._positional(each)
        for name, slot in self.primitive.slots.items():
            if name not in self.bound:
                if slot.default is REQUIRED:
                    form = self.primitive.form(self.word)
                    raise DiagnosticError([errors.MissingArgument(self.stage.span, self.word, name, form)])
                self.bound[name] = slot.default
        return self.bound

    def _flag(self, name: t.Name) -> None:
        self.bound[name.text] = True

    def _keyword(self, name: t.Name, waiting: list[Any]) -> None:
        following = waiting.pop(0) if waiting else None
        if following is None or isinstance(following, t.Stride):
            raise DiagnosticError(
                [errors.MissingArgument(name.span, self.word, name.text, self.primitive.form(self.word))]
            )
        if isinstance(following, t.Arguments):
            items = [item for item in following.items if not isinstance(item, t.Keyword)]
            if len(items) != len(following.items) or not items:
                raise self._wrong(following.span, name.text, "a value", "other arguments")
            following = items[0] if len(items) == 1 else t.Tuple(following.span, tuple(items))
        self._set(name.text, following)

    def _group(self, group: t.Arguments) -> None:
        """A bracket: `name=value` pairs and positional values; several of these make a size where one is due."""
        plain = [item for item in group.items if not isinstance(item, t.Keyword)]
        slot = self._next()
        if slot is not None and slot.kind in ("size", "shape") and len(plain) > 1 and len(plain) == len(group.items):
            self._set(slot.name, t.Tuple(group.span, tuple(plain)))
            return
        for item in group.items:
            if not isinstance(item, t.Keyword):
                self._positional(item)
            elif item.name in self.primitive.flags:
                value = self.evaluate(item.value)
                if not isinstance(value, bool):
                    raise self._wrong(item.value.span, item.name, "true or false", describe(value))
                self.bound[item.name] = value
            elif item.name in self.primitive.slots:
                self._set(item.name, item.value)
            else:
                near = errors.nearest(item.name, (*self.primitive.slots, *self.primitive.flags))
                wrong = errors.UnknownName(item.span, "argument", item.name, near, self.form, self.word)
                raise DiagnosticError([wrong])

    def _next(self) -> Slot | None:
        return next((slot for slot in self.primitive.positional if slot.name not in self.bound), None)

    def _positional(self, tree: t.Expr) -> None:
        slot = self._next()
        if slot is None:
            if isinstance(tree, t.Name):
                near = errors.nearest(tree.text, (*self.primitive.slots, *self.primitive.flags))
                wrong = errors.UnknownName(tree.span, "argument", tree.text, near, self.form, self.word)
                raise DiagnosticError([wrong])
            count = len(self.primitive.positional)
            form = self.primitive.form(self.word)
            raise DiagnosticError([errors.Arity(tree.span, f"`{self.word}`", count_of(count), count + 1, form)])
        self._set(slot.name, tree)

    def _set(self, name: str, tree: t.Expr) -> None:
        slot = self.primitive.slots.get(name)
        if slot is None:
            wrong = errors.WrongType(tree.span, f"`{self.word}`", "no stride", "one", self.form)
            raise DiagnosticError([wrong])
        if name in self.places:
            raise DiagnosticError([errors.DuplicateName("argument", name, self.places[name], tree.span)])
        self.places[name] = tree.span
        self.bound[name] = self._value(slot, tree)

    def _value(self, slot: Slot, tree: t.Expr) -> Any:
        if isinstance(tree, t.Name | t.String) and tree.text in slot.words:
            return tree.text
        value = self.evaluate(tree)
        if value is None and slot.default is None:
            return None
        convert: dict[str, Callable[[Value], Any]] = {
            "int": as_whole, "float": _as_float, "size": as_size, "shape": _as_shape, "padding": _as_padding,
            "word": lambda word: word if isinstance(word, str) or as_whole(word) is not None else None,
        }  # fmt: skip
        expected = {
            "int": "a whole number", "float": "a number", "size": "a size such as 3x3",
            "shape": "sizes such as (7, 7, 16)",
            "padding": "same, symmetric, valid, a number or ((top, bottom), (left, right))",
            "word": f"one of {', '.join(slot.words)}",
        }  # fmt: skip
        converted = convert[slot.kind](value)
        if converted is None:
            raise self._wrong(tree.span, slot.name, expected[slot.kind], describe(value))
        return converted

    def _wrong(self, span: Span, name: str, expected: str, found: str) -> DiagnosticError:
        return DiagnosticError([errors.WrongType(span, f"`{name}` of `{self.word}`", expected, found, self.form)])


def _as_float(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _as_shape(value: Value) -> tuple[int, ...] | None:
    items = value if isinstance(value, tuple) else (value,)
    sizes = [as_whole(item) for item in items]
    return None if not sizes or None in sizes else tuple(size for size in sizes if size is not None)


def _as_padding(value: Value) -> Any:
    """A mode, or ((top, bottom), (left, right)) from one number, (vertical, horizontal) or the four."""
    if isinstance(value, str):
        return value if value in ("same", "symmetric", "valid") else None
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(item, tuple) for item in value):
        first, second = as_size(value[0]), as_size(value[1])
        return None if first is None or second is None else (first, second)
    size = as_size(value)
    return None if size is None else ((size[0], size[0]), (size[1], size[1]))
