"""lark's parse trees to the dataclasses of `tree`, bottom up and without recursion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lark

from mncc.language import errors
from mncc.language import tree as t
from mncc.language.diagnostic import DiagnosticError
from mncc.language.source import Source, Span

MAX_NUMBER = 2**31 - 1
MAX_DEPTH = 60


def build(parsed: lark.Tree, source: Source, offset: int, whole: Span) -> Any:
    """The dataclass of a parse tree whose positions start at `offset` of the source; `whole` is the line.

    Raises DiagnosticError for what is grammatical but cannot be meant: numbers and nesting without measure.
    """
    builder = _Builder(source, offset, whole)
    order: list[tuple[lark.Tree, int]] = []
    waiting = [(parsed, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise DiagnosticError([errors.NestedTooDeeply(builder.span_of(node), MAX_DEPTH)])
        order.append((node, depth))
        waiting.extend((child, depth + 1) for child in node.children if isinstance(child, lark.Tree))
    results: dict[int, Any] = {}
    for node, _ in reversed(order):
        parts = [results.pop(id(child)) if isinstance(child, lark.Tree) else child for child in node.children]
        results[id(node)] = builder.make(node, parts)
    return results[id(parsed)]


class _Builder:
    """One function a rule of the grammar: the children's dataclasses (or tokens, or None) in, a dataclass out."""

    def __init__(self, source: Source, offset: int, whole: Span) -> None:
        self.source, self.offset, self.whole = source, offset, whole

    def span_of(self, node: lark.Tree | lark.Token) -> Span:
        """Where a node of the parse tree stands in the source."""
        place = node if isinstance(node, lark.Token) else node.meta
        if isinstance(node, lark.Tree) and node.meta.empty:
            return self.whole
        return Span(self.source, self.offset + (place.start_pos or 0), self.offset + (place.end_pos or 0))

    def make(self, node: lark.Tree, parts: list[Any]) -> Any:
        """The dataclass of a node whose children are made already."""
        rule = str(node.data)
        method: Callable[[Span, list[Any]], Any] = getattr(self, f"_{rule}")
        return method(self.span_of(node), parts)

    # ------------------------------------------------------------ values
    def _number(self, span: Span, parts: list[Any]) -> t.Number:
        return t.Number(span, self._literal(str(parts[0]), span))

    def _literal(self, text: str, span: Span) -> int | float:
        value = float(text)
        if not value <= MAX_NUMBER:
            raise DiagnosticError([errors.NumberTooLarge(span, MAX_NUMBER)])
        return int(text) if text.isdigit() else value

    def _size(self, span: Span, parts: list[Any]) -> t.Size:
        sizes = tuple(int(self._literal(p, span)) for p in str(parts[0]).replace("×", "x").split("x"))
        return t.Size(span, sizes)

    def _string(self, span: Span, parts: list[Any]) -> t.String:
        return t.String(span, str(parts[0])[1:-1])

    def _name(self, span: Span, parts: list[Any]) -> t.Name:
        return t.Name(span, str(parts[0]))

    def _constant(self, span: Span, parts: list[Any]) -> t.Constant:
        return t.Constant(span, {"true": True, "false": False, "none": None}[str(parts[0])])

    def _tuple(self, span: Span, parts: list[Any]) -> t.Tuple:
        return t.Tuple(span, tuple(parts))

    # ------------------------------------------------------------ expressions
    def _conditional(self, span: Span, parts: list[Any]) -> t.Conditional:
        return t.Conditional(span, *parts)

    def _pipeline(self, span: Span, parts: list[Any]) -> t.Pipeline:
        return t.Pipeline(span, parts[0], tuple(parts[1:]))

    def _stage(self, span: Span, parts: list[Any]) -> t.Stage:
        return t.Stage(span, parts[0], tuple(parts[1:]))

    def _stride(self, span: Span, parts: list[Any]) -> t.Stride:
        return t.Stride(span, parts[-1])

    def _attribute(self, span: Span, parts: list[Any]) -> t.Attribute:
        return t.Attribute(span, parts[0], str(parts[1]))

    def _index(self, span: Span, parts: list[Any]) -> t.Index:
        return t.Index(span, *parts)

    def _call(self, span: Span, parts: list[Any]) -> t.Call:
        return t.Call(span, *parts)

    def _arguments(self, span: Span, parts: list[Any]) -> t.Arguments:
        return t.Arguments(span, tuple(part for part in parts if part is not None))

    def _keyword(self, span: Span, parts: list[Any]) -> t.Keyword:
        return t.Keyword(span, str(parts[0]), parts[1])

    def _either(self, span: Span, parts: list[Any]) -> Any:
        return self._joined("or", parts)

    def _both(self, span: Span, parts: list[Any]) -> Any:
        return self._joined("and", parts)

    def _joined(self, operator: str, parts: Sequence[Any]) -> Any:
        result = parts[0]
        for part in parts[1:]:
            result = t.Binary(result.span.to(part.span), operator, result, part)
        return result

    def _negate(self, span: Span, parts: list[Any]) -> t.Unary:
        return t.Unary(span, "not", parts[-1])

    def _negative(self, span: Span, parts: list[Any]) -> t.Unary:
        return t.Unary(span, "-", parts[-1])

    def _compare(self, span: Span, parts: list[Any]) -> t.Binary:
        return t.Binary(span, str(parts[1]), parts[0], parts[2])

    _binary = _compare

    # ------------------------------------------------------------ lines
    def _parameters(self, span: Span, parts: list[Any]) -> tuple[t.Parameter, ...]:
        return tuple(parts)

    def _parameter(self, span: Span, parts: list[Any]) -> t.Parameter:
        return t.Parameter(span, str(parts[0]), parts[1])

    def _network(self, span: Span, parts: list[Any]) -> t.NetworkHeader:
        return t.NetworkHeader(span, str(parts[0]), parts[1] or ())

    def _dims(self, span: Span, parts: list[Any]) -> t.Product:
        items: list[t.Expr] = []
        for part in parts:
            if isinstance(part, t.Size):
                items.extend(t.Number(part.span, size) for size in part.sizes)
            else:
                items.extend(part.items if isinstance(part, t.Product) else (part,))
        return t.Product(span, tuple(items))

    def _square_dim(self, span: Span, parts: list[Any]) -> t.Product:
        return t.Product(span, (parts[0], parts[0]))

    def _clause(self, span: Span, parts: list[Any]) -> t.Clause:
        return t.Clause(span, str(parts[0]), parts[1])

    def _input(self, span: Span, parts: list[Any]) -> t.InputLine:
        return t.InputLine(span, str(parts[0]), parts[1], tuple(parts[2:]))

    def _channels(self, span: Span, parts: list[Any]) -> t.ChannelsLine:
        return t.ChannelsLine(span, parts[0], tuple(parts[1:]))

    def _round_to(self, span: Span, parts: list[Any]) -> t.Rounding:
        return t.Rounding(span, "round", parts[-1])

    def _keep(self, span: Span, parts: list[Any]) -> t.Rounding:
        return t.Rounding(span, "keep", parts[-1])

    def _minimum(self, span: Span, parts: list[Any]) -> t.Rounding:
        return t.Rounding(span, "min", parts[-1])

    def _truncate(self, span: Span, parts: list[Any]) -> t.Rounding:
        return t.Rounding(span, "truncate", None)

    def _last_minimum(self, span: Span, parts: list[Any]) -> t.Rounding:
        return t.Rounding(span, "last", parts[-1])

    def _defaults(self, span: Span, parts: list[Any]) -> t.DefaultsLine:
        return t.DefaultsLine(span, tuple(parts))

    def _let(self, span: Span, parts: list[Any]) -> t.Let:
        return t.Let(span, str(parts[0]), parts[1])

    def _use(self, span: Span, parts: list[Any]) -> t.Use:
        return t.Use(span, parts[0], parts[1], parts[2], None if parts[3] is None else str(parts[3]))

    def _body(self, span: Span, parts: list[Any]) -> t.BodyLine:
        return t.BodyLine(span, None if parts[0] is None else str(parts[0]), parts[1])

    def _output(self, span: Span, parts: list[Any]) -> t.OutputLine:
        return t.OutputLine(span, str(parts[0]), parts[1])

    def _block(self, span: Span, parts: list[Any]) -> t.Block:
        words = tuple(part for part in parts if isinstance(part, t.Name | t.String))
        parameters = next((part for part in parts if isinstance(part, tuple)), ())
        return t.Block(span, words, parameters, ())

    def _return(self, span: Span, parts: list[Any]) -> t.Return:
        return t.Return(span, tuple(parts))

    def _export(self, span: Span, parts: list[Any]) -> t.Export:
        return t.Export(span, str(parts[0]), parts[1])

    def _assign(self, span: Span, parts: list[Any]) -> t.Assign:
        names = tuple(t.Name(self.span_of(part), str(part)) for part in parts[:-1])
        return t.Assign(span, names, parts[-1])

    # ------------------------------------------------------------ rows
    def _row(self, span: Span, parts: list[Any]) -> t.Row:
        return t.Row(span, tuple(part for part in parts if part is not None), 0)

    def _row_token(self, span: Span, parts: list[Any]) -> t.RowToken | None:
        token = parts[0]
        if token.type == "_NOISE":
            return None
        text = str(token)
        if token.type == "ROW_NUMBER":
            self._literal(text, span)
        return t.RowToken(self.span_of(token), token.type.removeprefix("ROW_"), text)

    def _row_group(self, span: Span, parts: list[Any]) -> t.RowGroup:
        return t.RowGroup(span, parts[0])
