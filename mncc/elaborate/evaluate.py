"""Expressions, pipelines and blocks to values and nodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from mncc.elaborate import arguments, errors, functions, shape_errors
from mncc.elaborate.arithmetic import binary, unary
from mncc.elaborate.builder import MAX_NODES, Builder, join_name, slug
from mncc.elaborate.primitives import PRIMITIVES, Defaults, Primitive, activation_word
from mncc.elaborate.values import (
    BodyResult,
    Declared,
    RowResult,
    Tensor,
    UsedNetwork,
    Value,
    as_tensor,
    as_whole,
    describe,
)
from mncc.language import tree as t
from mncc.language.cells import Words, words_of
from mncc.language.diagnostic import DiagnosticError
from mncc.language.source import Span
from mncc.network import ops
from mncc.network.graph import Origin

MAX_STEPS = 300_000
"""Expressions that one file may evaluate; blocks that call blocks twice each would else run for ever."""
MAX_DEPTH = 80
"""Levels of expressions and block calls together; keeps Python's own stack shallow."""

Place = tuple[Span, str]
"""A cell that decided a value, and what it says: `t is 0`."""


@dataclass(frozen=True)
class Scope:
    """Where an expression stands: its variables, the name of what it makes, and the row that it serves."""

    lookup: Callable[[t.Name], Value]
    """The value of a name that is no local variable; raises DiagnosticError for unknown ones."""
    names: Callable[[], tuple[str, ...]]
    """All names that `lookup` knows, for suggestions."""
    prefix: str
    origin: Origin
    local: dict[str, Value] = field(default_factory=dict)
    places: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    row: Place | None = None
    calls: tuple[t.Block, ...] = ()
    binding: str = ""


class Evaluator:
    """Evaluates trees of one file: its blocks, its defaults and the builder that takes the nodes."""

    def __init__(
        self, blocks: Mapping[Words, t.Block], defaults: Defaults, builder: Builder, broken: Collection[Words] = ()
    ) -> None:
        self.blocks, self.defaults, self.builder, self.broken = blocks, defaults, builder, broken
        self.steps = 0
        self.level = 0

    # ------------------------------------------------------------ expressions
    def value(self, tree: t.Expr, scope: Scope) -> Value:
        """The value of an expression; nodes that it makes go to the builder."""
        self.steps += 1
        if self.level >= MAX_DEPTH:
            raise DiagnosticError([errors.TooDeep(tree.span, MAX_DEPTH)])
        if self.steps > MAX_STEPS:
            raise DiagnosticError([errors.TooMany(tree.span, "steps", MAX_STEPS)])
        self.level += 1
        try:
            return self._value(tree, scope)
        finally:
            self.level -= 1

    def _value(self, tree: t.Expr, scope: Scope) -> Value:
        match tree:
            case t.Number() | t.Constant():
                return tree.value
            case t.Size():
                return tree.sizes
            case t.String():
                return tree.text
            case t.Name():
                return self.name(tree, scope)
            case t.Tuple() | t.Product():
                return tuple([self.value(item, scope) for item in tree.items])
            case t.Unary():
                return unary(tree, self.value(tree.operand, scope))
            case t.Binary():
                return self._binary(tree, scope)
            case t.Conditional():
                return self.value(tree.then if self.truth(tree.condition, scope) else tree.otherwise, scope)
            case t.Attribute():
                return self._attribute(tree, self.value(tree.value, scope))
            case t.Index():
                return self._index(tree, self.value(tree.value, scope), self.value(tree.index, scope))
            case t.Call():
                return self._call(tree, scope)
            case t.Pipeline():
                return self._pipeline(tree, scope)

    def name(self, tree: t.Name, scope: Scope) -> Value:
        """The value of a variable."""
        if tree.text in scope.local:
            return scope.local[tree.text]
        return scope.lookup(tree)

    def truth(self, tree: t.Expr, scope: Scope) -> bool:
        """The value of a condition, which is true or false."""
        value = self.value(tree, scope)
        if not isinstance(value, bool):
            raise DiagnosticError([errors.WrongType(tree.span, "a condition", "true or false", describe(value))])
        return value

    def tensor(self, tree: t.Expr, scope: Scope, place: str, hint: str | None = None) -> Tensor:
        """The value of an expression that must be a tensor; `hint` is what to type where it is none."""
        value = self.value(tree, scope)
        tensor = as_tensor(value)
        if tensor is None:
            raise DiagnosticError([errors.WrongType(tree.span, place, "a tensor", describe(value), hint)])
        return tensor

    def whole(self, tree: t.Expr, scope: Scope, place: str) -> int:
        """The value of an expression that must be a whole number."""
        value = self.value(tree, scope)
        whole = as_whole(value)
        if whole is None:
            raise DiagnosticError([errors.WrongType(tree.span, place, "a whole number", describe(value))])
        return whole

    def _binary(self, tree: t.Binary, scope: Scope) -> Value:
        if tree.operator in ("and", "or"):
            left = self.truth(tree.left, scope)
            return self.truth(tree.right, scope) if left == (tree.operator == "and") else left
        left_value, right_value = self.value(tree.left, scope), self.value(tree.right, scope)
        left_tensor, right_tensor = as_tensor(left_value), as_tensor(right_value)
        if left_tensor and right_tensor and tree.operator in ("+", "*"):
            op, word = (ops.Add(), "add") if tree.operator == "+" else (ops.Multiply(), "multiply")
            return self.node(op, (left_tensor, right_tensor), word, scope, tree)
        return binary(tree, left_value, right_value)

    def _attribute(self, tree: t.Attribute, value: Value) -> Value:
        if isinstance(value, UsedNetwork):
            known: dict[str, Value] = {**value.outputs, **value.bodies}
        elif isinstance(value, Declared):
            known = functions.sizes(value.type)
        else:
            tensor = as_tensor(value)
            if tensor is None:
                raise DiagnosticError([errors.WrongType(tree.span, f"`.{tree.name}`", "a tensor", describe(value))])
            known = {**tensor.exports, **functions.sizes(tensor.type)}
        if tree.name not in known:
            kind = "export" if not isinstance(value, UsedNetwork) else "output or body"
            near = errors.nearest(tree.name, known)
            hint = f"it has {', '.join(f'`{name}`' for name in known)}"
            raise DiagnosticError([errors.UnknownName(tree.span, kind, tree.name, near, hint)])
        return known[tree.name]

    def _index(self, tree: t.Index, value: Value, index: Value) -> Value:
        items: tuple[Value, ...] | None = value.repeats if isinstance(value, RowResult) else None
        if isinstance(value, tuple):
            items = value
        if items is None:
            raise DiagnosticError([errors.WrongType(tree.value.span, "an index", "a row or a tuple", describe(value))])
        number = as_whole(index)
        if number is None:
            raise DiagnosticError([errors.WrongType(tree.index.span, "an index", "a whole number", describe(index))])
        if not -len(items) <= number < len(items):
            what = "repeat" if isinstance(value, RowResult) else "item"
            raise DiagnosticError([errors.BadIndex(tree.index.span, what, number, 0, len(items) - 1)])
        return items[number]

    # ------------------------------------------------------------ calls
    def _call(self, tree: t.Call, scope: Scope) -> Value:
        if isinstance(tree.function, t.Attribute) and tree.function.name == "row":
            return self._row(tree, self.value(tree.function.value, scope), scope)
        if isinstance(tree.function, t.Name):
            word = tree.function.text
            items = tree.arguments.items
            if word in functions.FUNCTIONS:
                return self.function(word, tree.arguments, scope, ())
            if word in PRIMITIVES or words_of(word) in (*self.blocks, *self.broken):
                hint = f"a call begins with the tensor: `{word}(x, ...)`, which is `x -> {word} ...`"
                if not items or isinstance(items[0], t.Keyword):
                    found, span = "a parameter" if items else "nothing", tree.arguments.span
                    raise DiagnosticError([errors.WrongType(span, f"`{word}`", "a tensor first", found, hint)])
                rest = t.Arguments(tree.arguments.span, items[1:])
                stage = t.Stage(tree.span, tree.function, (rest,))
                return self.stage(stage, self.tensor(items[0], scope, f"`{word}`", hint), scope)
            near = errors.nearest(word, self.words())
            raise DiagnosticError([errors.UnknownName(tree.function.span, "function", word, near)])
        value = self.value(tree.function, scope)
        raise DiagnosticError([errors.WrongType(tree.function.span, "a call", "a function or block", describe(value))])

    def _row(self, tree: t.Call, value: Value, scope: Scope) -> Value:
        body = next(iter(value.bodies.values()), None) if isinstance(value, UsedNetwork) else value
        if not isinstance(body, BodyResult):
            found = describe(value)
            raise DiagnosticError([errors.WrongType(tree.function.span, "`.row`", "a body of rows", found)])
        items = tree.arguments.items
        if len(items) != 1 or isinstance(items[0], t.Keyword):
            raise DiagnosticError(
                [errors.Arity(tree.arguments.span, "`row`", "1 value", len(items), "body.row(NUMBER)")]
            )
        number = self.whole(items[0], scope, "`row`")
        index = number - 1 if number > 0 else number
        if number == 0 or not -len(body.rows) <= index < len(body.rows):
            raise DiagnosticError([errors.BadIndex(items[0].span, "row", number, 1, len(body.rows))])
        return body.rows[index]

    def function(self, word: str, given: t.Arguments, scope: Scope, first: tuple[Value, ...]) -> Value:
        """A built-in function of its arguments, with `first` (what an arrow brings) before them."""
        values = list(first)
        named: dict[str, Value] = {}
        for item in given.items:
            if isinstance(item, t.Keyword):
                named[item.name] = self.value(item.value, scope)
            else:
                values.append(self.value(item, scope))
        return functions.FUNCTIONS[word].compute(functions.Invocation(self, scope, given, word), values, named)

    # ------------------------------------------------------------ pipelines
    def _pipeline(self, tree: t.Pipeline, scope: Scope) -> Value:
        value: Value = self.tensor(tree.value, scope, "`->`")
        for stage in tree.stages:
            tensor = as_tensor(value)
            if tensor is None:
                raise DiagnosticError([errors.WrongType(stage.span, "this stage", "a tensor", describe(value))])
            value = self.stage(stage, tensor, scope)
        return value

    def stage(self, stage: t.Stage, x: Tensor, scope: Scope) -> Value:
        """What a stage makes of a tensor: a primitive, a function or a block, in this order."""
        word = stage.word.text
        primitive = PRIMITIVES.get(word) if isinstance(stage.word, t.Name) else None
        if primitive is not None:
            return self._primitive(primitive, stage, x, scope)
        if isinstance(stage.word, t.Name) and word in functions.FUNCTIONS:
            given = arguments.bracket(stage)
            return self.function(word, given, scope, (x,))
        if words_of(word) in self.broken:
            raise DiagnosticError([])
        block = self.blocks.get(words_of(word))
        if block is None:
            near = errors.nearest(word, self.words())
            raise DiagnosticError([errors.UnknownName(stage.word.span, "primitive or block", word, near)])
        return self.block(block, word, x, stage.arguments, scope, stage.span)

    def words(self) -> tuple[str, ...]:
        """Every word that a stage or a call can begin with."""
        return (*PRIMITIVES, *functions.FUNCTIONS, *(" ".join(words) for words in self.blocks))

    def _primitive(self, primitive: Primitive, stage: t.Stage, x: Tensor, scope: Scope) -> Tensor:
        given = arguments.bind_primitive(primitive, stage, lambda tree: self.value(tree, scope))
        if stage.word.text == "act" and activation_word(given, self.defaults).lower() == "none":
            return x
        try:
            op = primitive.make(x.type, given, self.defaults)
        except ops.ShapeError as error:
            raise self.refusal(error, stage, scope) from None
        return self.node(op, (x,), stage.word.text, scope, stage)

    def node(self, op: ops.Op, inputs: tuple[Tensor, ...], word: str, scope: Scope, tree: t.Tree) -> Tensor:
        """A node of the network, named after the place; `tree` is what an error points at."""
        if len(self.builder.nodes) >= MAX_NODES:
            span = scope.row[0] if scope.row else tree.span
            raise DiagnosticError([errors.TooMany(span, "operators", MAX_NODES)])
        try:
            return self.builder.add(op, inputs, join_name(scope.prefix, scope.binding, slug(word)), scope.origin)
        except ops.ShapeError as error:
            operands: tuple[t.Tree, ...] = _operands(tree)
            if isinstance(op, ops.Concat) and len(operands) == len(inputs) - 1:
                operands = (tree, *operands)  # `a -> concat(b)`
            if len(operands) != len(inputs) or len(inputs) < 2:
                raise self.refusal(error, tree, scope) from None
            places = (*self._cells(error, tree, scope), *([scope.row] if scope.row else []))[:1]
            shapes = tuple((part.span, each.type) for part, each in zip(operands, inputs, strict=True))
            joins = isinstance(op, ops.Concat)
            raise DiagnosticError([shape_errors.ShapesDiffer(error.message, places, shapes, joins)]) from None

    def _cells(self, error: ops.ShapeError, tree: t.Tree, scope: Scope) -> list[Place]:
        """The cells of the row whose values a refusal speaks of."""
        places: list[Place] = []
        for name in names_in(tree):
            cells = (place for place in scope.places.get(name, ()) if place not in places)
            places += [place for place in cells if _mentions(error.message, place)]
        return places

    def refusal(self, error: ops.ShapeError, tree: t.Tree, scope: Scope) -> DiagnosticError:
        """An operator's refusal as a diagnostic: first the cells that decide its arguments, last the place."""
        places = self._cells(error, tree, scope)
        hint = error.help
        if places and hint is None:
            hint = f"type another value for `{places[0][1].split()[0]}`"
        elif hint is None and isinstance(tree, t.Stage) and (primitive := PRIMITIVES.get(tree.word.text)):
            hint = f"the form is `{primitive.form(tree.word.text)}`"
        if not places and scope.row:
            places.append(scope.row)
        inside = bool(places)
        places.append((tree.span, "in this step" if inside else ""))
        return DiagnosticError([shape_errors.Refusal(error.message, hint, tuple(places))])

    # ------------------------------------------------------------ blocks
    def block(self, block: t.Block, word: str, x: Tensor, given: arguments.Given, scope: Scope, call: Span) -> Value:
        """What a block makes of a tensor and the arguments that a stage writes."""
        bound = arguments.bind_block(block, word, given, call)
        values = {name: self.value(tree, scope) for name, tree in bound.items()}
        places = {
            name: tuple(place for each in names_in(tree) for place in scope.places.get(each, ()))
            for name, tree in bound.items()
        }
        inner = replace(scope, prefix=self.builder.unique(join_name(scope.prefix, scope.binding, slug(word))))
        return self.apply(block, word, x, values, replace(inner, places=places), call)

    def apply(
        self, block: t.Block, word: str, x: Tensor, values: Mapping[str, Value], scope: Scope, call: Span
    ) -> Value:
        """Runs a block's statements with its parameters bound; the result carries its exports."""
        if block in scope.calls:
            chain = tuple(b.words[0].text for b in scope.calls[scope.calls.index(block) :])
            raise DiagnosticError([errors.BlockRecursion((*chain, word), call, block.span)])
        facts = {name: scope.local[name] for name in IMPLICIT if name in scope.local}
        inner = replace(scope, local={**facts, "x": x}, calls=(*scope.calls, block), binding="")
        for parameter in block.parameters:
            if parameter.name in values:
                inner.local[parameter.name] = values[parameter.name]
            elif parameter.default is not None:
                inner.local[parameter.name] = self.value(parameter.default, inner)
            else:
                form = arguments.block_form(block)
                raise DiagnosticError([errors.MissingArgument(call, word, parameter.name, form)])
        exports: dict[str, Value] = {}
        for statement in block.statements[:-1]:
            self._statement(statement, inner, exports)
        last = block.statements[-1]
        if not isinstance(last, t.Return):
            raise DiagnosticError([errors.NoReturn(last.span, block.words[0].text)])
        results = tuple([self.value(tree, inner) for tree in last.values])
        if len(results) > 1:
            return results
        return replace(results[0], exports=exports) if isinstance(results[0], Tensor) else results[0]

    def _statement(self, statement: t.Statement, scope: Scope, exports: dict[str, Value]) -> None:
        match statement:
            case t.Export():
                exports[statement.name] = self.value(statement.value, replace(scope, binding=statement.name))
            case t.Assign():
                names = [name.text for name in statement.names]
                value = self.value(statement.value, replace(scope, binding=slug(names[0])))
                if len(names) == 1:
                    scope.local[names[0]] = value
                    return
                if not isinstance(value, tuple) or len(value) != len(names):
                    found = f"{len(value)} values" if isinstance(value, tuple) else describe(value)
                    place = f"`{', '.join(names)} =`"
                    raise DiagnosticError(
                        [errors.WrongType(statement.value.span, place, f"{len(names)} values", found)]
                    )
                scope.local.update(zip(names, value, strict=True))
            case t.Return():
                raise DiagnosticError([errors.NoReturn(statement.span, scope.calls[-1].words[0].text)])


IMPLICIT = ("repeat", "declared", "classifier")
"""What every block knows of the row that it serves."""


def _operands(tree: t.Tree) -> tuple[t.Expr, ...]:
    """What an operator joins: both sides of `a + b`, the arguments of `concat(a, b)`."""
    if isinstance(tree, t.Binary):
        return (tree.left, tree.right)
    items = tree.items if isinstance(tree, t.Arguments) else ()
    return tuple(item for item in items if not isinstance(item, t.Keyword))


def _mentions(message: str, place: Place) -> bool:
    """Whether a refusal speaks of the value of a cell, so that the cell is worth pointing at."""
    value = place[1].rsplit(" ", 1)[-1]
    return re.search(rf"(?<![\w.]){re.escape(value)}(?![\w.])|x{re.escape(value)}(?!\d)", message) is not None


def names_in(tree: t.Tree) -> tuple[str, ...]:
    """The names that a tree mentions, in order, each once."""
    found: dict[str, None] = {}
    waiting: list[t.Tree] = [tree]
    while waiting:
        current = waiting.pop()
        if isinstance(current, t.Name):
            found[current.text] = None
        waiting.extend(reversed(list(t.children(current))))
    return tuple(found)
